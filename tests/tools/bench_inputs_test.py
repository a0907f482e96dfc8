"""A bench that lacks its data, a peer or a program says so in one line and exits with 66; get_data checks its files.

Benches run in a copy of bench/ alone, which has no build/ beside it."""

import hashlib
import os
import pathlib
import re
import shutil
import stat
import subprocess
import sys
import zipfile

import pytest

BENCH = pathlib.Path(__file__).parents[2] / "bench"
SCRIPTS = sorted(file.name for file in BENCH.glob("*.py") if "__main__" in file.read_text())
ARGUMENTS = {"export_scimilarity.py": ("nowhere", "out")}
ONE_LINE = re.compile(r"bench: error: .+ is missing \(.+\)\. .+\n")
TINY = b"a labelled set\n"


@pytest.fixture
def tree(tmp_path):
    shutil.copytree(BENCH, tmp_path / "tree" / "bench", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path / "tree"


def run(tree, name, *arguments, **variables):
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("RETORT_", "SLURM_"))}
    command = [sys.executable, tree / "bench" / name, *map(str, arguments)]
    return subprocess.run(command, cwd=tree, env=kept | variables, capture_output=True, text=True, timeout=100)


def refused(done):
    assert done.returncode == 66 and ONE_LINE.fullmatch(done.stderr), f"{done.returncode} {done.stdout}{done.stderr}"
    return done.stderr


@pytest.mark.parametrize("script", SCRIPTS)
def test_bench_without_inputs(tree, script):
    refused(run(tree, script, *ARGUMENTS.get(script, ()), RETORT_SHARED=str(tree / "nowhere")))
    assert not (tree / "docs").exists()


def test_data_are_looked_for_in_both_folders(tree):
    said = refused(run(tree, "accuracy.py", "--sets", "worm", RETORT_SHARED=str(tree / "mine")))
    assert f"{tree}/build/data or {tree}/mine/data" in said and "Run bench/get_data worm" in said


def with_kidney(tree):
    for folder in (tree / "mine" / "data", tree / "mine" / "peers"):
        folder.mkdir(parents=True)
    (tree / "mine" / "data" / "kidney_5685x2000.h5ad").touch()
    return {"RETORT_SHARED": str(tree / "mine"), "RETORT_PEER_PYTHON": sys.executable}


def test_peer_is_missing(tree):
    assert "the peer scdd_torch.py is missing" in refused(
        run(tree, "speed.py", "--only", "matching", **with_kidney(tree))
    )


def test_package_of_a_peer_is_missing(tree):
    variables = with_kidney(tree)
    (tree / "mine" / "peers" / "scdd_torch.py").touch()
    python = tree / "python"
    python.write_text("#!/bin/sh\necho torch\n")
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    said = refused(run(tree, "speed.py", "--only", "matching", **variables | {"RETORT_PEER_PYTHON": str(python)}))
    assert "has no torch" in said and "bench/requirements.txt" in said


@pytest.fixture
def tiny(tree):
    """One file in data.ini, which a wheel ships."""
    lines = ["[tiny]", "file = sets/tiny.h5ad", f"sha256 = {hashlib.sha256(TINY).hexdigest()}"]
    lines += ["wheel = tinycells==1.0", "member = tinycells/tiny.h5ad", "label = type", "study = A study"]
    (tree / "bench" / "data.ini").write_text("\n".join(lines) + "\n")
    return tree


def wheel(folder, content):
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / "tinycells-1.0-py3-none-any.whl", "w") as archive:
        archive.writestr("tinycells/tiny.h5ad", content)
        archive.writestr("tinycells-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tinycells\nVersion: 1.0\n")
        archive.writestr(
            "tinycells-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr("tinycells-1.0.dist-info/RECORD", "")
    return {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder)}


def test_get_data_from_a_wheel(tiny):
    done = run(tiny, "get_data", **wheel(tiny / "wheels", TINY))
    assert done.returncode == 0 and "A study" in done.stdout, done.stderr
    assert (tiny / "build/data/sets/tiny.h5ad").read_bytes() == TINY
    again = run(tiny, "get_data", "tiny", PIP_NO_INDEX="1")  # it is there: nothing is fetched
    assert again.returncode == 0, again.stderr


def test_get_data_from_a_folder(tiny):
    (tiny / "mine").mkdir()
    (tiny / "mine" / "tiny.h5ad").write_bytes(TINY)
    done = run(tiny, "get_data", "tiny", "--from", "mine", "--into", "here", PIP_NO_INDEX="1")
    assert done.returncode == 0 and (tiny / "here/sets/tiny.h5ad").read_bytes() == TINY, done.stderr


@pytest.mark.parametrize("names", [(), ("tiny",)])
def test_get_data_refuses_other_bytes(tiny, names):
    done = run(tiny, "get_data", *names, **wheel(tiny / "wheels", TINY + b"more"))
    assert done.returncode == (66 if names else 0) and "tiny: missing" in done.stderr and "other bytes" in done.stderr
    assert not list((tiny / "build").rglob("*.h5ad*"))


def test_get_data_says_where_what_is_missing_comes_from(tree):
    done = run(tree, "get_data", "kidney")
    assert done.returncode == 66 and "kidney: missing (no package ships it): Young et al. 2018" in done.stderr
