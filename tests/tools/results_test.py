"""tools/results.py --check fails on a page that was edited, on one that belongs to no run, and on README's table.

No line of its pages has more than 120 columns.

usage: results_test.py REPOSITORY
"""

import pathlib
import shutil
import subprocess
import sys
import tempfile

REPOSITORY = pathlib.Path(sys.argv[1])
BEGIN, END = "<!-- expect: written by tools/results.py -->", "<!-- /expect -->"


def results(tree: pathlib.Path, *options: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, tree / "tools" / "results.py", *options], capture_output=True, text=True)


def check_names(tree: pathlib.Path, name: str) -> None:
    checked = results(tree, "--check")
    assert checked.returncode == 1 and name in checked.stderr, f"{name}: {checked.returncode} {checked.stderr}"


with tempfile.TemporaryDirectory() as folder:
    tree = pathlib.Path(folder)
    (tree / "tools").mkdir()
    for file in (REPOSITORY / "tools").glob("results*.py"):
        shutil.copy(file, tree / "tools")
    shutil.copytree(REPOSITORY / "docs" / "results", tree / "docs" / "results")
    readme, pages = tree / "README.md", tree / "docs" / "results"
    readme.write_text(f"before\n{BEGIN}\n{END}\nafter\n")
    assert results(tree).returncode == 0 and results(tree, "--check").returncode == 0

    for page in [tree / "docs" / "results.md", *pages.glob("*.md")]:
        wide = [line for line in page.read_text().splitlines() if len(line) > 120]
        assert not wide, f"{page.name}: {wide[0]}"

    table = results(tree, "--expect").stdout
    assert "CellTypist" in table and readme.read_text() == f"before\n{BEGIN}\n{table}{END}\nafter\n"
    readme.write_text(readme.read_text().replace("CellTypist", "celltypist", 1))
    check_names(tree, "README.md")
    assert results(tree).returncode == 0 and table in readme.read_text()
    readme.write_text(f"before\n{BEGIN}\nafter\n")
    check_names(tree, "README.md")
    readme.write_text("no table\n")
    assert results(tree, "--check").returncode == 0

    (pages / "speed.md").write_text("edited\n")
    check_names(tree, "docs/results/speed.md")
    (pages / "gone.md").write_text("of no run\n")
    check_names(tree, "docs/results/gone.md")
    assert results(tree).returncode == 0 and not (pages / "gone.md").exists()

    (pages / "new.json").write_text("{}")
    check_names(tree, "docs/results/new.json")
    (pages / "new.json").unlink()
    (pages / "speed.json").write_text('{"title": "Speed"}')
    assert "is not a run" in results(tree, "--check").stderr
