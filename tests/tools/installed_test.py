"""cmake --install makes a tree that works by itself: the command, its lists and texts, settings, completion.

python -m pytest -q tests/tools/installed_test.py      RETORT_PROGRAMS=FOLDER, else build/cpu/bin
"""

import os
import pathlib
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAMS = pathlib.Path(os.environ.get("RETORT_PROGRAMS", ROOT / "build" / "cpu" / "bin"))


@pytest.fixture(scope="module")
def prefix(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prefix")
    install = ["cmake", "--install", PROGRAMS.parent, "--prefix", folder]
    done = subprocess.run(install, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    yield folder
    shutil.rmtree(folder)  # a copy of all programs


@pytest.fixture
def retort(prefix, tmp_path):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RETORT_")}

    def run(*arguments):
        command = [prefix / "bin" / "retort", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    return run


def test_help_names_the_command_as_it_is_installed(retort):
    assert "\n  retort distill\n" in retort("--help") and "tools/" not in retort("distill", "--help")


def test_every_program_is_there(retort, prefix):
    assert {file.name for file in PROGRAMS.glob("retort-*")} <= {file.name for file in (prefix / "bin").iterdir()}
    assert "usage: retort-simulate" in retort("simulate", "--help")


def test_pipelines_find_their_stages_and_settings(retort, tmp_path):
    retort("simulate", "--simulate.cells=100", "--simulate.genes=50", "--simulate.format=h5ad",
           "--simulate.output=tiny.h5ad", "--run.folder=simulate")  # fmt: skip
    assert "[7 of 7] report would follow evaluate" in retort("distill", "tiny.h5ad", "cell_type", "--dry-run")
    assert "[5 of 5]" in retort("generate", "tiny.h5ad", "cell_type", "--model", "scrdit", "--dry-run")
    assert "genes = 500" in retort("generate", "--model", "scrdit", "--print-config")  # of configs/scrdit.ini


def test_the_parts_for_clusters_and_shells_are_there(prefix):
    share = prefix / "share"
    for part in (
        "retort/jobs/run.sbatch",
        "retort/jobs/site.env.example",
        "retort/bench/scaling.py",
        "bash-completion/completions/retort",
        "zsh/site-functions/_retort",
        "fish/vendor_completions.d/retort.fish",
    ):
        assert (share / part).is_file(), part
    (module,) = (share / "modulefiles" / "retort").iterdir()
    assert f"prepend-path PATH {prefix}/bin" in module.read_text()
