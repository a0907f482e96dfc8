"""The whole pipeline as a user runs it: the same bytes at 1, 2, 3 and 4 ranks, no half-written product after a kill, and
nothing run twice."""

import json
import os
import signal
import subprocess
import time

from foundation_runs import SMALL, Runs, read_bytes

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


def products(folder):
    made = {}
    for root, _, files in os.walk(folder):
        for name in files:
            path = os.path.relpath(os.path.join(root, name), folder)
            if path.endswith((".h5ad", ".safetensors")):
                made[path] = read_bytes(root, name)
    with open(os.path.join(folder, "results.json")) as file:
        rows = json.load(file)["rows"]
    for row in rows:
        row.pop("seconds")
    return made, rows


with Runs() as runs:
    runs.must(
        "simulate",
        1,
        "--simulate.cells=600",
        "--simulate.genes=300",
        "--simulate.types=4",
        "--simulate.format=h5ad",
        f"--simulate.output={runs.path('input.h5ad')}",
        f"--run.folder={runs.path('simulate')}",
    )
    pipeline(runs, 1, runs.path("ranks1"))
    first, table = products(runs.path("ranks1"))
    assert len([name for name in first if name.startswith("distilled/")]) == 24 and "distilled.h5ad" in first, sorted(
        first
    )
    for ranks in (2, 3, 4):
        folder = runs.path(f"ranks{ranks}")
        pipeline(runs, ranks, folder)
        made, rows = products(folder)
        assert sorted(made) == sorted(first)
        for name, content in made.items():
            assert content == first[name], f"{name} differs at {ranks} ranks"
        assert rows == table, f"the table differs at {ranks} ranks"

    # A stage killed in the middle leaves no product and no mark; the next run makes the same bytes.
    folder = runs.path("ranks2")
    stage = [
        os.path.join(runs.programs, "retort-train-foundation"),
        *of_stage("train-foundation"),
        "--foundation.steps=4000",
        f"--run.folder={folder}",
    ]
    steps = os.path.join(folder, "train-foundation", "steps.tsv")
    os.remove(steps)  # of the run before; the new one's says that its loop has begun
    killed = subprocess.Popen(stage, stderr=subprocess.DEVNULL)
    while not os.path.exists(steps):
        assert killed.poll() is None, "the stage ended before it was killed"
        time.sleep(0.05)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert not os.path.exists(os.path.join(folder, "train-foundation", "DONE"))
    assert read_bytes(folder, "foundation", "encoder.safetensors") == first["foundation/encoder.safetensors"], (
        "a killed stage touched its product"
    )
    pipeline(runs, 2, folder)
    made, rows = products(folder)
    assert made == first and rows == table, "after a kill the results differ"

    # Whole stages are not run again, and a changed setting runs what depends on it.
    before = os.stat(os.path.join(folder, "distilled.h5ad")).st_mtime_ns
    assert "already done" in runs.must("distill", 2, *of_stage("distill"), f"--run.folder={folder}").stderr
    assert os.stat(os.path.join(folder, "distilled.h5ad")).st_mtime_ns == before
    done = runs.must("distill", 2, *of_stage("distill"), "--distill.rates=0.2", f"--run.folder={folder}")
    assert "already done" not in done.stderr and products(folder)[0]["distilled.h5ad"] != first["distilled.h5ad"]
    assert "already done" not in runs.must("evaluate", 2, *of_stage("evaluate"), f"--run.folder={folder}").stderr

    # So does a product that is gone.
    os.remove(os.path.join(folder, "features.h5ad"))
    assert "already done" not in runs.must("embed", 2, *of_stage("embed"), f"--run.folder={folder}").stderr
    assert read_bytes(folder, "features.h5ad") == first["features.h5ad"]
