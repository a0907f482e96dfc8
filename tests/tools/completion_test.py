"""Shell completion: the function of bash is called as bash calls it; zsh and fish read their scripts if they are there.

python -m pytest -q tests/tools/completion_test.py      RETORT_PROGRAMS=FOLDER, else build/cpu/bin
"""

import os
import pathlib
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
TOOL = ROOT / "tools" / "retort"
PROGRAMS = os.environ.get("RETORT_PROGRAMS", str(ROOT / "build" / "cpu" / "bin"))
COMPLETE = """
source <("$1" completion bash)
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_retort
printf '%s\\n' "${COMPREPLY[@]}"
"""


def run(command, **how):
    environment = {**os.environ, "RETORT_BIN": PROGRAMS}
    return subprocess.run(command, capture_output=True, text=True, check=True, env=environment, **how).stdout


def completed(*words, **how):
    return set(run(["bash", "-c", COMPLETE, "bash", TOOL, *words], **how).split())


def test_verbs():
    assert completed("ev") == {"evaluate", "evaluate-generated"}
    assert {"distill", "simulate", "--help"} <= completed("")


def test_settings_of_a_program():
    assert "--simulate.cells=" in completed("simulate", "--simulate.c")
    assert completed("simulate", "--ingest.") == set()


def test_settings_of_all_stages_of_a_pipeline():
    assert {"--ingest.label=", "--distill.spc=", "--report.page="} <= completed("distill", "--")
    assert {"--vae.width=", "--generate.cells=", "--model"} <= completed("generate", "--")


def test_models_and_shells():
    assert completed("generate", "--model", "sc") == {"scldm", "scvi", "scrdit"}
    assert completed("completion", "") == {"bash", "zsh", "fish"}


def test_files(tmp_path):
    (tmp_path / "atlas.h5ad").touch()
    assert completed("distill", "at", cwd=tmp_path) == {"atlas.h5ad"}
    assert completed("distill", "--config", "at", cwd=tmp_path) == {"atlas.h5ad"}
    assert completed("ingest", "--ingest.input", "=", "at", cwd=tmp_path) == {"atlas.h5ad"}


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_read_their_script(shell):
    if not shutil.which(shell):
        pytest.skip(f"no {shell} on this machine")
    assert run([shell, "-n"], input=run([TOOL, "completion", shell])) == ""
