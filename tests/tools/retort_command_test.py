"""The front door, tools/retort: help, errors, dry runs, new cells from an atlas in one line, a chain of Slurm jobs.

python -m pytest -q tests/tools/retort_command_test.py      RETORT_PROGRAMS=FOLDER, else build/cpu/bin
"""

import json
import os
import pathlib
import re
import subprocess

import anndata
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAMS = pathlib.Path(os.environ.get("RETORT_PROGRAMS", ROOT / "build" / "cpu" / "bin"))
SPACE = ["--evaluate_generated.genes=100", "--evaluate_generated.components=8"]
SCLDM = [
    "--vae.tokens=4",
    "--vae.latent=8",
    "--vae.blocks=1",
    "--vae.heads=2",
    "--vae.cross_heads=2",
    "--vae.steps=40",
    "--diffusion.width=32",
    "--diffusion.blocks=1",
    "--diffusion.heads=2",
    "--diffusion.batch=32",
    "--diffusion.steps=60",
    "--generate.tolerance=0.01",
]
SCRDIT = [
    "--diffusion.genes=100",
    "--diffusion.width=32",
    "--diffusion.blocks=1",
    "--diffusion.heads=2",
    "--diffusion.batch=32",
    "--diffusion.steps=60",
    "--generate.stride=50",
]


def retort(*arguments, code=0, folder=None, **environment):
    """What it printed. RETORT_BIN: these programs, and nothing is built."""
    everything = {**os.environ, "RETORT_BIN": str(PROGRAMS), "RETORT_SITE": "/nowhere/site.env", **environment}
    command = [ROOT / "tools" / "retort", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=everything, cwd=folder)
    assert done.returncode == code, f"exit {done.returncode}, not {code}\n{done.stdout}{done.stderr}"
    return done


@pytest.fixture(scope="module")
def atlas(tmp_path_factory):
    """300 cells of 3 types in 2 conditions, written by a program behind the front door on two ranks."""
    folder = tmp_path_factory.mktemp("atlas")
    sizes = ["--simulate.cells=300", "--simulate.genes=150", "--simulate.types=3", "--simulate.format=h5ad"]
    retort("simulate", "--ranks", 2, *sizes, f"--simulate.output={folder}/tiny.h5ad", f"--run.folder={folder}/simulate")
    return folder / "tiny.h5ad"


@pytest.fixture(scope="module")
def scldm(atlas, tmp_path_factory):
    """New cells for combinations of two label columns: the folder it was started in, and what it printed."""
    folder = tmp_path_factory.mktemp("scldm")
    done = retort("generate", atlas, "cell_type,condition", "--ranks=2", *SCLDM, *SPACE, folder=folder)
    return folder, done


@pytest.fixture(scope="module")
def scrdit(atlas, tmp_path_factory):
    folder = tmp_path_factory.mktemp("scrdit")
    done = retort("generate", atlas, "cell_type", "--model", "scrdit", "--ranks", 2, *SCRDIT, *SPACE, folder=folder)
    return folder, done


def test_help_tells_what_to_type_first_and_every_program():
    text = retort("--help").stdout
    assert text.index("Type this first") < text.index("retort distill\n") < text.index("usage:")
    verbs = set(re.findall(r"^  ([a-z-]+)  ", text, re.M))
    assert {file.name.removeprefix("retort-") for file in PROGRAMS.glob("retort-*")} <= verbs
    assert max(map(len, text.splitlines())) <= 120


@pytest.mark.parametrize("verb", ["distill", "generate", "report", "completion"])
def test_help_of_own_verbs(verb):
    assert f"usage: tools/retort {verb}" in retort(verb, "--help").stdout
    assert retort("help", verb).stdout == retort(verb, "-h").stdout


def test_help_of_a_program_is_the_programs():
    assert "usage: retort-ingest" in retort("ingest", "--help").stdout


def test_version_is_the_programs():
    assert re.match(r"retort \d+\.\d+\.\d+ ", retort("--version").stdout)


@pytest.mark.parametrize(
    "arguments, code, text",
    [
        ("destill", 2, "Did you mean 'distill'?"),
        ("evaluate-generate", 2, "Did you mean 'evaluate-generated'?"),
        ("xyzzy", 2, "See tools/retort --help"),
        ("--nonsense", 2, "a VERB comes first"),
        ("generate", 2, "an ATLAS.h5ad and its LABEL are needed"),
        ("generate missing.h5ad cell_type", 66, "'missing.h5ad' is missing"),
        ("generate {atlas} cell_type --model scldn", 2, "unknown model 'scldn' (it is scldm, scvi, scrdit)"),
        ("generate {atlas} cell_type --foundation tools", 2, "an option of distill"),
        ("generate {atlas} no_such --run-folder {folder}/run", 65, "no label column 'no_such'"),
        ("generate {atlas} cell_type --vae.step=3 --run-folder {folder}/run", 2, "Did you mean 'vae.steps'?"),
        ("generate {atlas} cell_type --run-folder {atlas}", 73, "cannot make the run folder"),
        ("distill {atlas} cell_type --ranks 0", 2, "--ranks needs a whole number above 0"),
        ("distill {atlas} cell_type --distill.spc", 2, "--distill.spc=VALUE"),
        ("distill {atlas} cell_type --time 1:00", 2, "with --nodes"),
        ("distill {atlas} cell_type --nodes 2", 66, "site.env.example"),
        ("distill {atlas} cell_type --nodes 2 --ranks 2", 2, "RETORT_RANKS_PER_NODE"),
        ("simulate --ranks two", 2, "--ranks needs a whole number above 0, not 'two'"),
        ("report", 2, "report needs a RUN"),
        ("report missing", 66, "the run 'missing' is missing"),
        ("completion tcsh", 2, "bash, zsh or fish"),
    ],
)
def test_refused_in_one_line(arguments, code, text, atlas, tmp_path):
    done = retort(*arguments.format(atlas=atlas, folder=tmp_path).split(), code=code, folder=tmp_path)
    lines = [line for line in done.stderr.splitlines() if "error:" in line]
    assert len(lines) == 1 and text in lines[0], done.stderr


def test_dry_run_names_the_stages_and_leaves_nothing(atlas, tmp_path):
    more = ["--config", "table-v", "--dry-run"]  # a config by name is one of configs/
    done = retort("distill", atlas, "cell_type,condition", *more, folder=tmp_path)
    said = [line.removeprefix("retort: ") for line in done.stderr.splitlines() if " of 11]" in line]
    assert len(said) == 11 and said[0] == "[1 of 11] ingest would be first:", done.stderr
    assert said[7] == "[8 of 11] train-diffusion (condition) would follow embed", said
    assert "memory" in done.stdout and not list(tmp_path.iterdir()), done.stdout


def test_printed_settings_are_a_config(atlas, tmp_path):
    here = "--run-folder=run"
    printed = retort("generate", "--model=scvi", here, "--vae.steps=7", "--print-config").stdout
    for line in ("[evaluate_generated]", "model = scvi", "steps = 7"):
        assert line in printed.splitlines(), printed
    assert printed.count("[run]") == 1
    (tmp_path / "mine.ini").write_text(printed)
    again = retort("generate", "--config", tmp_path / "mine.ini", "--model=scvi", here, "--print-config").stdout
    assert again == printed


def test_scldm_draws_every_combination(scldm, atlas):
    folder, done = scldm
    run = folder / "runs" / "tiny-scldm"
    for line in ("[2 of 6] train-vae", "[6 of 6] report", "retort: new cells: runs/tiny-scldm/generated.h5ad"):
        assert line in done.stderr.splitlines(), done.stderr
    assert done.stderr.rstrip().endswith("runs/tiny-scldm/report.html"), done.stderr
    made, given = anndata.read_h5ad(run / "generated.h5ad"), anndata.read_h5ad(run / "atlas.h5ad")
    sizes = lambda cells: cells.obs.groupby(["cell_type", "condition"], observed=True).size().to_dict()
    assert sizes(made) == sizes(given[given.obs["split"] == "test"])
    assert json.loads((run / "generation.json").read_text())["columns"] == ["cell_type", "condition"]
    config = (run / "train-vae" / "options.ini").read_text()
    assert "width = 16" in config and "steps = 40" in config  # of configs/scldm.ini, and of the command


def test_scldm_again_does_nothing_twice(scldm, atlas):
    again = retort("generate", atlas, "cell_type,condition", "--ranks=2", *SCLDM, *SPACE, folder=scldm[0])
    assert again.stderr.count("already done") == 6, again.stderr


def test_scrdit_draws_expression_without_an_autoencoder(scrdit):
    folder, done = scrdit
    run = folder / "runs" / "tiny-scrdit"
    assert "[5 of 5] report" in done.stderr and not (run / "vae").exists(), done.stderr
    made = anndata.read_h5ad(run / "generated.h5ad")
    assert made.uns["retort"]["values"] != "counts" and len(made) > 0
    assert (run / "report.html").stat().st_size > 10_000


def test_report_of_one_run_and_of_two(scldm, scrdit, tmp_path):
    runs = scldm[0] / "runs" / "tiny-scldm", scrdit[0] / "runs" / "tiny-scrdit"
    assert "already done" in retort("report", "runs/tiny-scldm", folder=scldm[0]).stderr
    page = tmp_path / "both.html"
    retort("report", *runs, f"--report.page={page}")
    assert "tiny-scldm" in page.read_text() and "tiny-scrdit" in page.read_text()


@pytest.fixture
def slurm(tmp_path):
    """The environment of a cluster whose sbatch notes what it was asked and answers with a number."""
    (tmp_path / "site.env").write_text("RETORT_RANKS_PER_NODE=8\nRETORT_ACCOUNT=mine\n")
    sbatch = tmp_path / "bin" / "sbatch"
    sbatch.parent.mkdir()
    sbatch.write_text(f'#!/bin/bash\necho "$*" >>{tmp_path}/asked\nwc -l <{tmp_path}/asked\n')
    sbatch.chmod(0o755)
    return {"RETORT_SITE": str(tmp_path / "site.env"), "PATH": f"{sbatch.parent}:{os.environ['PATH']}"}


def job_script(name, *arguments, folder, **environment):
    """A script of jobs/: its exit code, and what it said."""
    everything = {**os.environ, "RETORT_BIN": str(PROGRAMS), **environment}
    command = [ROOT / "jobs" / name, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=everything, cwd=folder)
    return done.returncode, done.stderr


@pytest.mark.parametrize("limit, text", [("10foo", "has no form"), ("5", "is too short"), ("0:09:59", "is too short")])
def test_a_time_limit_that_cannot_be_is_not_submitted(limit, text, slurm, tmp_path):
    (tmp_path / "a.ini").write_text("[run]\nfolder=run\n")
    code, said = job_script("submit.sh", "embed", "a.ini", "--time", limit, folder=tmp_path, **slurm)
    assert code == 2 and text in said and not (tmp_path / "asked").exists(), said


@pytest.mark.parametrize(
    "line, text",
    [
        ("two --distill.spc=1 --evaluate.heads=3", None),  # each program takes its own
        ("two --vae.steps=3", "unknown setting '--vae.steps=3'"),
        ("two --distill.spx=3", "Did you mean 'distill.spc'?"),
        ("--distill.spc=3", "is not a NAME"),
    ],
)
def test_every_line_of_a_sweep_is_checked_before_it_is_submitted(line, text, slurm, tmp_path):
    (tmp_path / "a.ini").write_text("[run]\nfolder=run\n")
    (tmp_path / "sweep.txt").write_text(f"one --distill.spc=2\n{line}\n")
    code, said = job_script("sweep.sh", "distill,evaluate", "a.ini", "sweep.txt", folder=tmp_path, **slurm)
    assert (code == 0) == (text is None) == (tmp_path / "asked").exists(), said
    assert text is None or "error: line 2 of 'sweep.txt'" in said and text in said, said


def test_nodes_submit_a_chain_to_slurm(atlas, slurm, tmp_path):
    line = ["generate", atlas, "cell_type", "--model", "scrdit", "--nodes", 3, "--time", "2:00:00"]
    dry = retort(*line, "--dry-run", folder=tmp_path, **slurm)
    assert "--nodes=3" in dry.stdout and "memory" in dry.stdout and not (tmp_path / "asked").exists(), dry.stdout
    done = retort(*line, folder=tmp_path, **slurm)
    asked = (tmp_path / "asked").read_text().splitlines()
    assert len(asked) == 5 and not done.stdout and "report is job 5" in done.stderr, done.stderr
    for number, one in enumerate(asked, 1):
        assert all(part in one for part in ("--nodes=3", "--time=2:00:00", "--ntasks-per-node=8", "--account=mine"))
        assert ("--dependency" in one) == (number > 1) and (number == 1 or f"afterok:{number - 1} " in one), one
    assert "runs/tiny-scrdit/report.html" in done.stderr, done.stderr
