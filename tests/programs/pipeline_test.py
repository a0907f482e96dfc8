"""The whole pipeline as a user runs it: the same bytes at 1, 2, 3 and 4 ranks, no half-written product after a kill,
and nothing run twice."""

import os
import signal
import subprocess
import time

import pytest
from foundation_runs import SMALL, digest, products, read_json

SETTINGS = [
    *SMALL,
    "--diffusion.steps=20",
    "--diffusion.hidden=32,32,16,16",
    "--distill.iterations=4",
    "--distill.score_steps=0,2,4",
    "--distill.spc=1,3",
    "--distill.draws=2",
    "--distill.variants=scdd,cells",
    "--head.epochs=30",
    "--evaluate.heads=3",
]
SECTIONS = {
    "ingest": ["ingest"],
    "train-foundation": ["foundation"],
    "embed": [],
    "train-diffusion": ["diffusion"],
    "distill": ["distill", "head"],
    "evaluate": ["evaluate", "head"],
}


def of_stage(stage):
    sections = [*SECTIONS[stage], "run"]
    return [setting for setting in SETTINGS if setting[2:].split(".")[0] in sections]


def pipeline(runs, ranks, folder):
    for stage in SECTIONS:
        given = [f"--ingest.input={runs.path('input.h5ad')}", "--ingest.label=cell_type"] if stage == "ingest" else []
        runs.must(stage, ranks, *given, *of_stage(stage), f"--run.folder={folder}")


def made_in(folder):
    """All products, and the table but for its times."""
    return products(folder), [dict(row, seconds=0) for row in read_json(folder, "results.json")["rows"]]


@pytest.fixture(scope="module")
def at_ranks(runs):
    runs.simulate_h5ad("input.h5ad")
    made = {}
    for ranks in (1, 2, 3, 4):
        pipeline(runs, ranks, runs.path(f"ranks{ranks}"))
        made[ranks] = made_in(runs.path(f"ranks{ranks}"))
    return made


@pytest.fixture(scope="module")
def first(at_ranks):
    return at_ranks[1][0]


def test_all_sets_are_there(first):
    assert len([name for name in first if name.startswith("distilled/")]) == 24 and "distilled.h5ad" in first


@pytest.mark.parametrize("ranks", [2, 3, 4])
def test_products_and_table_are_those_of_one_rank(at_ranks, ranks):
    assert at_ranks[ranks][0] == at_ranks[1][0], f"products differ at {ranks} ranks"
    assert at_ranks[ranks][1] == at_ranks[1][1], f"the table differs at {ranks} ranks"


def test_a_killed_stage_leaves_no_product_and_the_next_run_makes_the_same_bytes(runs, at_ranks, first):
    folder = runs.path("ranks2")
    settings = [*of_stage("train-foundation"), "--foundation.steps=4000", f"--run.folder={folder}"]
    steps = os.path.join(folder, "train-foundation", "steps.tsv")
    os.remove(steps)  # of the run before; the new one's says that its loop has begun
    killed = subprocess.Popen([runs.program("train-foundation"), *settings], stderr=subprocess.DEVNULL)
    while not os.path.exists(steps):
        assert killed.poll() is None, "the stage ended before it was killed"
        time.sleep(0.05)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert not os.path.exists(os.path.join(folder, "train-foundation", "DONE"))
    untouched = digest(folder, "foundation", "encoder.safetensors") == first["foundation/encoder.safetensors"]
    assert untouched, "a killed stage touched its product"
    pipeline(runs, 2, folder)
    assert made_in(folder) == at_ranks[1], "after a kill the results differ"


def test_whole_stages_are_not_run_again(runs, at_ranks):
    folder = runs.path("ranks3")
    before = os.stat(os.path.join(folder, "distilled.h5ad")).st_mtime_ns
    assert "already done" in runs.must("distill", 2, *of_stage("distill"), f"--run.folder={folder}").stderr
    assert os.stat(os.path.join(folder, "distilled.h5ad")).st_mtime_ns == before


def test_a_changed_setting_runs_what_depends_on_it(runs, at_ranks, first):
    folder = runs.path("ranks3")
    done = runs.must("distill", 2, *of_stage("distill"), "--distill.rates=0.2", f"--run.folder={folder}")
    assert "already done" not in done.stderr and digest(folder, "distilled.h5ad") != first["distilled.h5ad"]
    assert "already done" not in runs.must("evaluate", 2, *of_stage("evaluate"), f"--run.folder={folder}").stderr


def test_a_product_that_is_gone_is_made_again(runs, at_ranks, first):
    folder = runs.path("ranks4")
    os.remove(os.path.join(folder, "features.h5ad"))
    assert "already done" not in runs.must("embed", 2, *of_stage("embed"), f"--run.folder={folder}").stderr
    assert digest(folder, "features.h5ad") == first["features.h5ad"]
