"""The list of sections says which programs declare each."""

import pathlib
import re
import subprocess

import pytest

DECLARED = re.compile(r'DeclaredSection\{"(\w+)", "([\w* -]+)"\}')


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


def sections_of(program):
    """The sections that --print-config tells."""
    done = subprocess.run([program, "--print-config"], capture_output=True, text=True, check=True)
    return set(re.findall(r"^\[(\w+)\]$", done.stdout, re.M))


def test_every_program_declares_the_sections_that_the_list_gives_it(built, declared):
    for verb, program in built.items():
        expected = {name for name, verbs in declared.items() if verbs == ["*"] or verb in verbs}
        assert sections_of(program) == expected, verb
    assert {verb for verbs in declared.values() for verb in verbs} <= {*built, "*"}


def test_a_section_of_another_program_is_skipped_and_one_of_nobody_refused(built, tmp_path):
    (tmp_path / "anothers.ini").write_text("[head]\nepochs = 3\n")
    (tmp_path / "nobodys.ini").write_text("[haed]\nepochs = 3\n")
    for verb in ("ingest", "report"):
        codes = {}
        for name in ("anothers", "nobodys"):
            command = [built[verb], "--config", tmp_path / f"{name}.ini", "--print-config"]
            codes[name] = subprocess.run(command, capture_output=True).returncode
        assert codes == {"anothers": 0, "nobodys": 2}, verb
