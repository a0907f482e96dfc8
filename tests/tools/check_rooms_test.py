"""tools/check-rooms refuses what it should."""

import subprocess
import sys

import pytest

GOOD = {
    "src/rooms.txt": "# Lowest first.\nranks\ncells\n",
    "src/ranks/share.cpp": "\n",
    "src/cells/atlas.cpp": '#include "retort/ranks/share.hpp"\n',
    "include/retort/cells/atlas.hpp": "// What it is for.\n",
}


@pytest.fixture
def verdict(source, tmp_path):
    """What the tool says of a tree of files."""

    def check(files):
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        done = subprocess.run(
            [sys.executable, source / "tools" / "check-rooms", tmp_path], capture_output=True, text=True
        )
        return done.returncode, done.stdout

    return check


def test_a_good_tree_is_accepted(verdict):
    assert verdict(GOOD)[0] == 0


@pytest.mark.parametrize(
    "bad, reason",
    [
        ({"src/ranks/share.cpp": '#include "retort/cells/atlas.hpp"\n'}, "ranks includes cells"),
        ({"src/cells/string_utils.cpp": "\n"}, "says nothing"),
        ({"src/cells/long.cpp": "int i;\n" * 401}, "401 lines"),
        ({"src/attic/old.cpp": "\n"}, "is not a room of"),
        ({"src/rooms.txt": "ranks\ncells\nattic\n"}, "the room 'attic' is empty"),
        ({f"src/cells/part{i}.cpp": "int i;\n" * 399 for i in range(11)}, "split the room"),
    ],
    ids=["wrong arrow", "empty name", "long file", "unknown room", "empty room", "large room"],
)
def test_a_bad_tree_is_refused(verdict, bad, reason):
    code, text = verdict(GOOD | bad)
    assert code == 1 and reason in text
