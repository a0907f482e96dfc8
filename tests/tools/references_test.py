"""What texts refer to is there: sections of docs/methods.md, settings of programs, files and links.

python -m pytest -q tests/tools/references_test.py      RETORT_PROGRAMS=FOLDER, else build/cpu/bin
"""

import configparser
import os
import pathlib
import re
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
ROOMS = [
    room for line in (ROOT / "src/rooms.txt").read_text().splitlines() if line[:1].islower() for room in line.split()
]
FOLDERS = ("src", "include", "tests", "tools", "bench", "docs", "configs", "jobs", "cmake", "packaging")

# Written like a setting, but names of weights in a file; and what a newcomer adds by CONTRIBUTING.md.
NO_SETTINGS = {"head.in", "head.norm", "head.out", "head.weight", "head.bias", "embed.batch"}
# Written like a path, but a place in an h5ad; and what a newcomer adds.
NO_PATHS = {"layers/counts", "src/programs/count.cpp", "tests/programs/count_test.py"}
FILE_ENDINGS = {"cpp", "hpp", "py", "sh", "ini", "json", "jsonl", "html", "h5ad", "tsv", "md", "txt", "sbatch"}


def files(*patterns, under=FOLDERS):
    """Text files of the tree, by path."""
    found = [path for pattern in patterns for path in ROOT.glob(pattern)]
    found += [path for folder in under for pattern in patterns for path in (ROOT / folder).rglob(pattern)]
    return sorted({path for path in found if path.is_file() and "__pycache__" not in path.parts})


def without_code_blocks(markdown):
    return re.sub(r"^```.*?^```", "", markdown, flags=re.M | re.S)


def headings(markdown):
    return re.findall(r"^#+ +(.+?) *$", without_code_blocks(markdown), re.M)


def anchors(markdown):
    named = set(re.findall(r'<a id="([^"]+)">', markdown))
    return named | {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings(markdown)}


def section_numbers(markdown):
    numbers = (re.match(r"(\d+(?:\.\d+)*)\.? ", heading) for heading in headings(markdown))
    return {number[1] for number in numbers if number}


def cited_sections(text):
    """1.2 and 1.4.6 of "methods 1.2, 1.4.6", also where a comment breaks the line."""
    number, gap = r"\d+(?:\.\d+)*", r"[\s/#]+"
    lists = re.findall(rf"\bmethods:?{gap}({number}(?:(?:,| to| and){gap}\d+\.{number})*)", text)
    return [cited for one in lists for cited in re.findall(number, one)]


def texts_of_cpp(source):
    """Comments and string literals."""
    return "\n".join(re.findall(r'//[^\n]*|"(?:\\.|[^"\\\n])*"', source))


def named_settings(text, sections, with_dashes_only=False):
    before = r"--" if with_dashes_only else r"(?:--|(?<![\w./-]))"
    names = re.findall(rf"{before}((?:{'|'.join(sorted(sections))})\.([a-z]\w*))\b(?![(/\[]|\.\w)", text)
    return [name for name, key in names if key not in FILE_ENDINGS and name not in NO_SETTINGS]


def is_in_tree(path):
    """Of the tree, or of a room: models/scdg.hpp and models/scdg are include/retort/models/scdg.hpp."""
    places = ["", "src/", "include/retort/", "tests/"] if path.split("/")[0] in ROOMS else [""]
    return any(any(ROOT.glob(place + path)) or any(ROOT.glob(f"{place}{path}.*")) for place in places)


def missing_paths(markdown):
    """Paths in backticks that begin with a folder of the tree or with a room. CAPITALS stand for a name."""
    for code in re.findall(r"`([^`\n]+)`", without_code_blocks(markdown)):
        path = code.split()[0].removeprefix("./").rstrip("/,:")
        top, _, rest = path.partition("/")
        is_path = rest and (top in FOLDERS or top in ROOMS) and re.fullmatch(r"[\w./*-]+", path)
        stands_for_a_name = any(re.fullmatch(r"[A-Z]{2,}", word) for word in re.split(r"[/._-]", path))
        if is_path and not is_in_tree(path) and not stands_for_a_name and path not in NO_PATHS:
            yield path


def missing_links(markdown, page):
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code_blocks(markdown)):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        to = page.parent / file if file else page
        leads_somewhere = to.exists()
        if leads_somewhere and anchor and to.suffix == ".md":
            leads_somewhere = anchor in anchors(markdown if to == page else to.read_text())
        if not leads_somewhere:
            yield target


@pytest.fixture(scope="session")
def settings():
    """All section.key that some program knows."""
    folder = pathlib.Path(os.environ.get("RETORT_PROGRAMS", ROOT / "build/cpu/bin"))
    programs = sorted(path for path in folder.glob("retort-*") if os.access(path, os.X_OK))
    if not programs and "RETORT_PROGRAMS" not in os.environ:
        pytest.skip(f"no programs in {folder}")
    assert len(programs) >= 7, programs
    known = set()
    for program in programs:
        printed = subprocess.run([program, "--print-config"], capture_output=True, text=True, check=True).stdout
        config = configparser.ConfigParser()
        config.read_string(printed)
        known |= {f"{section}.{key}" for section in config.sections() for key in config[section]}
    return known


def wrong_settings(paths, known, read, **how):
    sections = {name.split(".")[0] for name in known}
    return [
        f"{path.relative_to(ROOT)}: {name}"
        for path in paths
        for name in named_settings(read(path.read_text()), sections, **how)
        if name not in known
    ]


def test_every_cited_section_of_the_methods_is_there():
    known = section_numbers((ROOT / "docs/methods.md").read_text())
    cited = {
        (path.relative_to(ROOT).as_posix(), number)
        for path in files("*.hpp", "*.cpp", "*.py", "*.md")
        for number in cited_sections(path.read_text())
    }
    assert len(cited) > 40 and len(known) > 30
    assert not sorted((path, number) for path, number in cited if number not in known)


def test_every_setting_in_a_message_or_comment_is_known(settings):
    assert not wrong_settings(files("*.hpp", "*.cpp", under=("src", "include")), settings, texts_of_cpp)


def test_every_setting_in_documents_configs_and_jobs_is_known(settings):
    paths = files("*.md", "*.ini") + [path for path in files("*", under=("jobs",)) if path.parent == ROOT / "jobs"]
    assert not wrong_settings(paths, settings, str)


def test_every_setting_that_scripts_give_is_known(settings):
    scripts = [path for folder in ("bench", "tools") for path in (ROOT / folder).iterdir() if path.is_file()]
    assert not wrong_settings(scripts, settings, str, with_dashes_only=True)


@pytest.mark.parametrize("page", files("*.md"), ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_and_paths_of_a_page_lead_somewhere(page):
    text = page.read_text()
    assert not [*missing_links(text, page), *missing_paths(text)]


def test_paths_in_comments_are_there():
    path = re.compile(r"//.*?(?<![\w./])([a-z_]+/\w+\.[hc]pp)")
    assert not [
        f"{file.relative_to(ROOT)}: {named}"
        for file in files("*.hpp", "*.cpp")
        for named in path.findall(file.read_text())
        if not any((ROOT / place / named).exists() for place in ("", "src", "include/retort", "tests"))
    ]


# The checks above can fail.


def test_cited_sections_are_found():
    text = "(methods 1.4.6)\n// (methods: 1.2) methods 3.2, 3.3; scLDM, methods\n// 9.7. Two methods differ."
    assert cited_sections(text) == ["1.4.6", "1.2", "3.2", "3.3", "9.7"]
    assert "9.7" not in section_numbers("## 9. Nine\n### 9.6 Six\n```\n### 9.7 in a block\n```\n")
    assert section_numbers("## 9. Nine\n#### 9.6.1 Six\n") == {"9", "9.6.1"}


def test_wrong_settings_are_found():
    known = {"ingest", "run", "evaluate", "evaluate_generated"}
    source = 'fail("Raise ingest.test_share"); // run.seeds\nx = session.run.other; run.more = 1;'
    assert named_settings(texts_of_cpp(source), known) == ["ingest.test_share", "run.seeds"]
    script = "--evaluate_generated.cels=5 run.sbatch ingest.cpp run.folder() evaluate.wrong"
    assert named_settings(script, known) == ["evaluate_generated.cels", "evaluate.wrong"]
    assert named_settings(script, known, with_dashes_only=True) == ["evaluate_generated.cels"]


def test_missing_files_are_found():
    page = ROOT / "docs/methods.md"
    text = (
        "[a](nowhere.md) [b](methods.md) [c](#one-two) [d](#three) [e](https://x.y) [f](decisions.md#no-such-thing)\n"
    )
    assert [*missing_links(text + "## One: two\n", page)] == ["nowhere.md", "#three", "decisions.md#no-such-thing"]
    text = (
        "`src/rooms.txt` `tools/no-such-tool -x` `models/scdg` `models/gone.hpp` `jobs/NAME.ini` `a/b` `configs/*.ini`"
    )
    assert [*missing_paths(text + "\n```\n`src/in_a_block.cpp`\n```\n")] == ["tools/no-such-tool", "models/gone.hpp"]
