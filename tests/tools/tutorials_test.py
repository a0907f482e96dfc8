"""Tutorials word for word: their sh blocks run one after the other, as a reader would type them, in a folder that holds
the project's commands alone. The first line of a text block stands in what the block before it printed.

python -m pytest -q tests/tools/tutorials_test.py -k generate      RETORT_PROGRAMS=FOLDER, else build/cpu/bin
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAMS = os.environ.get("RETORT_PROGRAMS") or str(ROOT / "build" / "cpu" / "bin")


def blocks_of(page, languages):
    """(language, text) of the fenced blocks, in order."""
    return re.findall(rf"^```({languages})\n(.*?)^```$", page.read_text(), re.S | re.M)


def copy_commands(folder):
    for part in ("tools", "jobs", "configs"):
        ignored = shutil.ignore_patterns("site.env", "__pycache__")
        shutil.copytree(ROOT / part, folder / part, ignore=ignored)
    return folder


def run(command, folder):
    """Its exit code and all it printed."""
    path = [str(folder / "tools"), PROGRAMS, os.path.dirname(sys.executable), os.environ["PATH"]]
    environment = {name: value for name, value in os.environ.items() if name != "RETORT_SITE"}
    environment |= {"PATH": os.pathsep.join(path), "RETORT_BIN": PROGRAMS}
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    done = subprocess.run(command, cwd=folder, env=environment, text=True, **streams)
    return done.returncode, done.stdout


def follow(name, folder):
    blocks = blocks_of(ROOT / "docs" / "tutorials" / f"{name}.md", "sh|text")
    shells = [text for language, text in blocks if language == "sh"]
    assert shells, f"{name}.md has no sh block"
    script = "\n".join(f"echo '=== block {i}'\n{shell}" for i, shell in enumerate(shells))
    code, printed = run(["bash", "-euo", "pipefail", "-c", script], folder)
    printed_by = re.split(r"^=== block \d+\n", printed, flags=re.M)[1:]
    last = len(printed_by) - 1
    assert code == 0, f"exit {code} in block {last} of {name}.md:\n{shells[last]}\n{printed_by[last][-4000:]}"
    assert len(printed_by) == len(shells), f"only {last + 1} of {len(shells)} blocks of {name}.md ran"
    before = -1
    for language, text in blocks:
        if language == "sh":
            before += 1
        else:
            first = text.splitlines()[0]
            assert first in printed_by[before], f"'{first}' is not in what was printed:\n{printed_by[before][-4000:]}"


@pytest.fixture(scope="module")
def distilled(tmp_path_factory):
    """The folder in which the tutorial of distilling was followed."""
    folder = copy_commands(tmp_path_factory.mktemp("tutorial") / "distil")
    follow("distil", folder)
    return folder


def test_distil(distilled):
    assert (distilled / "runs" / "comparison" / "report.html").exists()


def test_distil_as_the_readme_uses_it(distilled):
    ((_, lines),) = blocks_of(ROOT / "README.md", "python")
    lines = lines.replace("runs/ATLAS/", "runs/cells-small/").replace("NEW.h5ad", "new.h5ad")
    code, printed = run([sys.executable, "-c", lines], distilled)
    assert code == 0 and "predicted_labels" in printed, printed


def test_generate(tmp_path):
    follow("generate", copy_commands(tmp_path / "generate"))


def test_slurm():
    """Inside tests/slurm/cluster."""
    if "RETORT_CLUSTER" not in os.environ:
        pytest.skip("there is no cluster (start it by tests/slurm/cluster)")
    folder = pathlib.Path(os.environ["RETORT_CLUSTER"]) / "shared" / "tutorial"  # on both nodes; /tmp is not
    shutil.rmtree(folder, ignore_errors=True)
    follow("slurm", copy_commands(folder))
