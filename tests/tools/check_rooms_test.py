"""tools/check-rooms refuses what it should: usage check_rooms_test.py TOOL"""

import pathlib
import subprocess
import sys
import tempfile


def verdict(files):
    with tempfile.TemporaryDirectory() as root:
        for name, text in files.items():
            path = pathlib.Path(root, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        done = subprocess.run([sys.executable, sys.argv[1], root], capture_output=True, text=True)
        return done.returncode, done.stdout


GOOD = {
    "src/rooms.txt": "# Lowest first.\nranks\ncells\n",
    "src/ranks/share.cpp": "\n",
    "src/cells/atlas.cpp": '#include "retort/ranks/share.hpp"\n',
    "include/retort/cells/atlas.hpp": "// What it is for.\n",
}
assert verdict(GOOD)[0] == 0, verdict(GOOD)
for bad, reason in [
    ({"src/ranks/share.cpp": '#include "retort/cells/atlas.hpp"\n'}, "ranks includes cells"),
    ({"src/cells/string_utils.cpp": "\n"}, "says nothing"),
    ({"src/cells/long.cpp": "int i;\n" * 401}, "401 lines"),
    ({"src/attic/old.cpp": "\n"}, "is not a room of"),
    ({"src/rooms.txt": "ranks\ncells\nattic\n"}, "the room 'attic' is empty"),
    ({f"src/cells/part{i}.cpp": "int i;\n" * 399 for i in range(11)}, "split the room"),
]:
    code, text = verdict(GOOD | bad)
    assert code == 1 and reason in text, (bad, code, text)
