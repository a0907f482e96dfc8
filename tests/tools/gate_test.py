"""The gate refuses what it should: wide lines, what is not formatted, a second version."""

import pathlib
import re
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture
def tree(tmp_path):
    """A git tree with the formatter and its settings, and the tools it calls."""
    for name in (".clang-format", "ruff.toml", "tools/format"):
        target = tmp_path / name
        target.parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, target)
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "python").symlink_to(ROOT / "build" / "python")
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    (tmp_path / ".git" / "info" / "exclude").write_text("/build\n")
    return tmp_path


def check(tree, name, text, *arguments):
    """What tools/format says of a tree that has one more file."""
    file = tree / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    done = subprocess.run([tree / "tools" / "format", *arguments], capture_output=True, text=True)
    return done.returncode, done.stderr


GOOD = {"src/a.cpp": "int f() { return 1; }\n", "tests/a_test.py": "X = 1\n", "jobs/a.sh": "true\n"}


@pytest.mark.parametrize(("name", "text"), GOOD.items())
def test_formatted_files_pass(tree, name, text):
    assert check(tree, name, text, "--check") == (0, "")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("src/a.cpp", "int  f( ) {return 1;}\n"),
        ("tests/a_test.py", "X=1\n"),
        ("tests/a_test.py", "import os\n\nX = 1\n"),
    ],
)
def test_what_is_not_formatted_is_refused(tree, name, text):
    code, said = check(tree, name, text, "--check")
    assert code == 1 and "Run tools/format" in said


@pytest.mark.parametrize("name", ["src/a.cpp", "include/retort/a.hpp", "tests/a_test.py", "bench/a.sh", "jobs/a.sh"])
def test_a_line_of_121_columns_is_refused(tree, name):
    comment = "//" if name.endswith("pp") else "#"
    assert check(tree, name, f"{comment} {'é' * (119 - len(comment))}\n", "--check")[0] == 0  # characters, not bytes
    code, said = check(tree, name, f"{comment} {'x' * (120 - len(comment))}\n", "--check")
    assert code == 1 and f"{name}:1:" in said, said


def test_without_check_files_are_mended(tree):
    assert check(tree, "src/a.cpp", "int  f( ) {return 1;}\n")[0] == 0
    assert (tree / "src" / "a.cpp").read_text() == GOOD["src/a.cpp"]


def test_the_version_is_one():
    version = re.search(r"project\(retort VERSION ([0-9.]+)", (ROOT / "CMakeLists.txt").read_text())[1]
    assert re.search(r"^version: (\S+)$", (ROOT / "CITATION.cff").read_text(), re.M)[1] == version
    newest = re.search(r"^## \[?(\d+\.\d+\.\d+)", (ROOT / "CHANGELOG.md").read_text(), re.M)[1]
    assert newest == version
