"""From counts to scRDiT's cells: the same bytes on any number of ranks and across a stop, the calls of the samplers, and what is refused."""

import json
import os
import shutil

import anndata as ad
import numpy as np
from foundation_runs import Runs, read_bytes

TRAIN = [
    "--diffusion.model=scrdit",
    "--diffusion.genes=205",
    "--diffusion.patch=20",
    "--diffusion.width=32",
    "--diffusion.blocks=1",
    "--diffusion.heads=2",
    "--diffusion.batch=32",
    "--diffusion.steps=120",
    "--diffusion.rate=0.003",
    "--diffusion.standardise=true",
    "--run.shards=4",
]
UNET = [
    "--diffusion.network=unet",
    "--diffusion.standardise=false",
    "--diffusion.channels=4",
    "--diffusion.genes=64",
    "--diffusion.steps=10",
]


def calls(folder):
    with open(os.path.join(folder, "generate", "log.jsonl")) as file:
        return [entry["calls"] for entry in map(json.loads, file) if entry["event"] == "generated"][-1]


with Runs() as runs:
    here = runs.path("run")
    runs.must(
        "simulate",
        1,
        "--simulate.cells=600",
        "--simulate.genes=300",
        "--simulate.types=4",
        "--simulate.format=h5ad",
        f"--simulate.output={runs.path('cells.h5ad')}",
        f"--run.folder={runs.path('simulate')}",
    )
    runs.must(
        "ingest", 2, f"--ingest.input={runs.path('cells.h5ad')}", "--ingest.label=cell_type", f"--run.folder={here}"
    )
    atlas = ad.read_h5ad(os.path.join(here, "atlas.h5ad"))
    test = atlas[atlas.obs["split"] == "test"]

    # Weights and sets, on 1, 2, 3 and 4 ranks; a stop in between, and another number of ranks goes on.
    made = {}
    for ranks in (1, 2, 4):
        for name, more in (("transformer", []), ("unet", UNET)):
            folder = runs.path(f"{name}-{ranks}")
            own = [f"--run.base={here}", f"--run.folder={folder}"]
            if ranks == 4:
                stopped = runs.run(
                    "train-diffusion", 4, *TRAIN, *more, *own, RETORT_END_TIME="1"
                )  # over at once: stops at its first boundary
                assert stopped.returncode == 75 and not os.path.exists(os.path.join(folder, "denoiser")), stopped.stderr
            runs.must("train-diffusion", 3 if ranks == 4 else ranks, *TRAIN, *more, *own)
            runs.must("generate", ranks, *own, "--generate.cells=70")
            made[name, ranks] = (
                read_bytes(folder, "denoiser", "scrdit.safetensors"),
                read_bytes(folder, "generated.h5ad"),
            )
    for name in ("transformer", "unet"):
        assert made[name, 1] == made[name, 2] == made[name, 4], (
            f"{name}: weights or cells depend on the number of ranks"
        )
    with open(runs.path("transformer-1", "train-diffusion", "steps.tsv")) as table:
        losses = [float(line.split("\t")[1]) for line in table.readlines()[1:]]
    assert abs(losses[0] - 1) < 0.1 and np.mean(losses[-20:]) < 0.8, (losses[0], np.mean(losses[-20:]))

    # What a set holds: as many cells as the test part, of the chosen genes.
    own = [f"--run.base={here}", f"--generate.generator={runs.path('transformer-1', 'denoiser')}"]
    runs.must("generate", 2, *own, f"--run.folder={runs.path('all')}")
    cells = ad.read_h5ad(runs.path("all", "generated.h5ad"))
    said = cells.uns["retort"]
    assert said["values"] == "log_normalised" and said["model"] == "scrdit" and said["solver"] == "ddim", said
    assert (
        cells.shape == (len(test), 200)
        and cells.X.dtype == np.float32
        and (cells.X >= 0).all()
        and cells.obs.shape[1] == 0
    )
    positions = atlas.var_names.get_indexer(cells.var_names)
    assert (np.diff(positions) > 0).all() and positions[0] >= 0
    assert calls(runs.path("unet-1")) == 18 * 100  # blocks of four cells

    # Samplers: as many calls as visits.
    for name, settings, expected in (
        ("ddpm", ["--generate.solver=ddpm"], 999),
        ("fast", ["--generate.stride=20"], 50),
        ("still", ["--generate.stride=100", "--generate.eta=0"], 10),
    ):
        runs.must("generate", 1, *own, *settings, "--generate.cells=3", f"--run.folder={runs.path(name)}")
        assert calls(runs.path(name)) == expected, name

    # One class alone: its cells carry its name, its genes are those of the others.
    one = [f"--run.base={here}", f"--run.folder={runs.path('one')}"]
    runs.must(
        "train-diffusion", 2, *TRAIN, "--diffusion.only=t1", "--diffusion.label=cell_type", "--diffusion.steps=4", *one
    )
    runs.must("generate", 1, "--generate.stride=100", *one)
    cells_of_one = ad.read_h5ad(runs.path("one", "generated.h5ad"))
    assert cells_of_one.obs["cell_type"].tolist() == ["t1"] * (test.obs["cell_type"] == "t1").sum()
    assert list(cells_of_one.var_names) == list(cells.var_names)

    # Refused.
    to = f"--run.folder={runs.path('refused')}"
    train = [*TRAIN, f"--run.base={here}", to]
    runs.refused(2, "diffusion.network is 'mlp'", "train-diffusion", 2, *train, "--diffusion.network=mlp")
    runs.refused(2, "diffusion.zero_value is 1", "train-diffusion", 1, *train, "--diffusion.zero_value=1")
    runs.refused(2, "fewer than the 301", "train-diffusion", 2, *train, "--diffusion.patch=301")
    runs.refused(2, "there are no cells 't9'", "train-diffusion", 2, *train, "--diffusion.only=t9")
    runs.refused(2, "does not suit 3 heads", "train-diffusion", 3, *train, "--diffusion.heads=3")
    runs.refused(
        2,
        "diffusion.only is for scrdit",
        "train-diffusion",
        1,
        *train,
        "--diffusion.model=scldm",
        "--diffusion.only=t1",
    )
    runs.refused(66, "denoiser", "generate", 2, to, f"--generate.generator={runs.path('no', 'denoiser')}")
    runs.refused(2, "generate.solver is 'heun' (of scRDiT", "generate", 2, *own, "--generate.solver=heun", to)
    runs.refused(2, "a stride of 1000", "generate", 1, *own, "--generate.stride=1000", to)
    runs.refused(2, "generate.eta is 2", "generate", 1, *own, "--generate.eta=2", to)
    runs.refused(2, "generate.only cannot be asked", "generate", 2, *own, "--generate.only=t1", to)
    runs.must(
        "simulate",
        1,
        "--simulate.cells=60",
        "--simulate.genes=30",
        f"--simulate.output={runs.path('other.h5ad')}",
        f"--run.folder={runs.path('simulate')}",
    )
    runs.refused(
        65,
        "does not have. Train it on this atlas",
        "generate",
        2,
        *own,
        f"--generate.atlas={runs.path('other.h5ad')}",
        to,
    )
    shutil.copytree(runs.path("transformer-1", "denoiser"), runs.path("torn"))
    with open(runs.path("torn", "scrdit.safetensors"), "r+b") as file:
        file.truncate(1000)
    runs.refused(
        65, "than the weights beside it hold", "generate", 1, *own, f"--generate.generator={runs.path('torn')}", to
    )
    with open(runs.path("torn", "config.json"), "w") as file:
        file.write('{"model": "scdg"}')
    runs.refused(65, "holds a model", "generate", 1, *own, f"--generate.generator={runs.path('torn')}", to)
    print("passed")
