"""The list of sections says which programs declare each, and messages name settings that there are."""

import pathlib
import re
import subprocess

import pytest

DECLARED = re.compile(r'DeclaredSection\{"(\w+)", "([\w* -]+)"\}')
TOKENS = re.compile(r"""//[^\n]*|#[^\n]*|'(?:\\.|[^'\\\n])'|"((?:\\.|[^"\\\n])*)\"""")  # only literals have a group


@pytest.fixture(scope="module")
def built(programs):
    """Every program's path by its verb."""
    found = {file.name.removeprefix("retort-"): file for file in sorted(pathlib.Path(programs).glob("retort-*"))}
    assert len(found) >= 12, found
    return found


@pytest.fixture(scope="module")
def declared(source):
    """The programs that declare each section, by the list."""
    header = (source / "include/retort/programs/sections.hpp").read_text(encoding="utf-8")
    sections = {name: verbs.split() for name, verbs in DECLARED.findall(header)}
    assert len(sections) >= 15, sections
    return sections


def settings_of(program):
    """section.key of every setting, as --print-config tells them."""
    done = subprocess.run([program, "--print-config"], capture_output=True, text=True, check=True)
    settings, section = set(), ""
    for line in done.stdout.splitlines():
        if found := re.fullmatch(r"\[(\w+)\]", line):
            section = found[1]
        elif not line.startswith("#") and " =" in line:
            settings.add(f"{section}.{line.split(' =')[0]}")
    return settings


def literals_of(text):
    """String literals, those that stand side by side as one."""
    literals, end = [], None
    for token in TOKENS.finditer(text):
        if token[1] is None:
            continue
        if end is not None and not text[end : token.start()].strip():
            literals[-1] += token[1]
        else:
            literals.append(token[1])
        end = token.end()
    return literals


def test_every_program_declares_the_sections_that_the_list_gives_it(built, declared):
    for verb, program in built.items():
        expected = {name for name, verbs in declared.items() if verbs == ["*"] or verb in verbs}
        assert {setting.split(".")[0] for setting in settings_of(program)} == expected, verb
    assert {verb for verbs in declared.values() for verb in verbs} <= {*built, "*"}


def test_a_section_of_another_program_is_skipped_and_one_of_nobody_refused(built, tmp_path):
    (tmp_path / "anothers.ini").write_text("[head]\nepochs = 3\n")
    (tmp_path / "nobodys.ini").write_text("[haed]\nepochs = 3\n")
    for verb, program in built.items():
        codes = {}
        for name in ("anothers", "nobodys"):
            command = [program, "--config", tmp_path / f"{name}.ini", "--print-config"]
            codes[name] = subprocess.run(command, capture_output=True).returncode
        assert codes == {"anothers": 0, "nobodys": 2}, verb


def test_messages_name_settings_that_there_are(source, built, declared):
    settings = set().union(*(settings_of(program) for program in built.values()))
    named = re.compile(rf"(?<![\w./])(?:{'|'.join(declared)})\.[a-z_0-9]+(?![\w{{])")
    found = set()
    for file in [*source.glob("src/**/*.cpp"), *source.glob("include/**/*.hpp")]:
        for literal in literals_of(file.read_text(encoding="utf-8")):
            if " " in literal:  # a sentence; others name tensors and files too
                found |= {(setting, file.name) for setting in named.findall(literal)}
    assert len(found) > 100, found
    assert not {(setting, file) for setting, file in found if setting not in settings}
