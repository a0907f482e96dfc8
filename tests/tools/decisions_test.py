"""The index of docs/decisions.md says what its entries say.

usage: decisions_test.py REPOSITORY
"""

import pathlib
import re
import sys

PAGE = pathlib.Path(sys.argv[1]) / "docs" / "decisions.md"
ROW = re.compile(r"^\| (\d+) \| \[(.+)\]\(#d(\d+)\) \| (\d{4}-\d\d-\d\d) \| (.+) \|$", re.M)
ENTRY = re.compile(r'^## <a id="d(\d+)"></a>(\d+)\. (.+)\n(\d{4}-\d\d-\d\d), ([^.]+)\.', re.M)
STATUS = re.compile(r"accepted|tried and given up|superseded by \[\d+\]\(#d\d+\)")


text = PAGE.read_text(encoding="utf-8")
rows, entries = ROW.findall(text), ENTRY.findall(text)
assert len(entries) == text.count("\n## ") and len(rows) == len(entries), f"{len(rows)} rows, {len(entries)} entries"
for number, (row, entry) in enumerate(zip(rows, entries), start=1):
    assert row[0] == row[2] == entry[0] == entry[1] == str(number), f"entry {number}: numbers are {row}, {entry}"
    assert row[1] == entry[2] and row[3] == entry[3], f"entry {number}: {row} is not {entry}"
    assert STATUS.fullmatch(row[4]) and entry[4].startswith(row[4]), f"entry {number}: {row[4]}; {entry[4]}"
