"""From counts to generated counts: the same bytes on any number of ranks, cells of the kinds that were asked for, and what is refused."""

import json
import os
import shutil

import anndata as ad
import numpy as np
from foundation_runs import Runs, read_bytes

VAE = [
    "--vae.width=16",
    "--vae.tokens=4",
    "--vae.latent=8",
    "--vae.blocks=1",
    "--vae.heads=2",
    "--vae.cross_heads=2",
    "--vae.batch=32",
    "--vae.steps=60",
    "--run.shards=4",
]
FLOW = [
    "--diffusion.model=scldm",
    "--diffusion.tokens=4",
    "--diffusion.width=32",
    "--diffusion.blocks=1",
    "--diffusion.heads=2",
    "--diffusion.batch=32",
    "--diffusion.steps=150",
    "--run.shards=4",
    "--diffusion.label=cell_type,condition",
]


def scores(folder):
    with open(os.path.join(folder, "generation.json")) as file:
        return json.load(file)


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
        "ingest",
        2,
        f"--ingest.input={runs.path('cells.h5ad')}",
        "--ingest.label=cell_type,condition",
        f"--run.folder={here}",
    )

    # One INI serves all programs: each knows the others' sections.
    programs = sorted(name[len("retort-") :] for name in os.listdir(runs.programs) if name.startswith("retort-"))
    keys = {}
    for verb in programs:
        section = ""
        for line in runs.must(verb, 1, "--print-config").stdout.splitlines():
            if line.startswith("["):
                section = line
            elif "=" in line and not line.startswith("#") and section != "[run]":
                keys.setdefault(section, line)
    assert len(keys) >= 14, keys
    with open(runs.path("all.ini"), "w") as file:
        file.write("".join(f"{section}\n{line}\n" for section, line in keys.items()))
    for verb in programs:
        runs.must(verb, 1, "--config", runs.path("all.ini"), "--print-config")

    # Autoencoders: 1, 2 and 4 ranks give one result, 3 ranks a result.
    for name, more in (("scldm", []), ("scvi", ["--vae.model=scvi", "--vae.scvi_hidden=24", "--vae.scvi_latent=6"])):
        made = {}
        for ranks in (1, 2, 4, 3):
            folder = runs.path(f"{name}-{ranks}")
            runs.must("train-vae", ranks, *VAE, *more, f"--run.base={here}", f"--run.folder={folder}")
            made[ranks] = read_bytes(folder, "vae", f"{name}_vae.safetensors"), read_bytes(folder, "latents.h5ad")
        assert made[1] == made[2] == made[4], f"{name}: weights or latents depend on the number of ranks"
        latents = {
            ranks: ad.read_h5ad(runs.path(f"{name}-{ranks}", "latents.h5ad")).obsm["X_retort"] for ranks in (1, 3)
        }
        assert latents[1].shape == (600, 32 if name == "scldm" else 6) and np.isfinite(latents[1]).all()
        assert np.abs(latents[1] - latents[3]).max() < 0.05, np.abs(latents[1] - latents[3]).max()
    with open(runs.path("scldm-1", "train-vae", "steps.tsv")) as table:
        errors = [float(line.split("\t")[2]) for line in table.readlines()[1:]]
    assert np.mean(errors[-10:]) < 0.9 * errors[0], "the autoencoder learns nothing"

    # The flow, and cells from it: as many of each kind as the test part has.
    base = runs.path("scldm-1")
    drawn = {}
    for ranks in (1, 2, 4, 3):
        folder = runs.path(f"flow-{ranks}")
        own = ["--run.base=" + base, f"--diffusion.atlas={here}/atlas.h5ad", f"--run.folder={folder}"]
        runs.must("train-diffusion", 2 if ranks == 3 else ranks, *FLOW, *own)
        runs.must(
            "generate",
            ranks,
            f"--generate.atlas={here}/atlas.h5ad",
            f"--run.base={base}",
            f"--run.folder={folder}",
            "--run.shards=4",
        )
        drawn[ranks] = read_bytes(folder, "flow", "scldm.safetensors"), read_bytes(folder, "generated.h5ad")
    assert drawn[1] == drawn[2] == drawn[4] == drawn[3], "what is generated depends on the number of ranks"
    cells, atlas = ad.read_h5ad(runs.path("flow-1", "generated.h5ad")), ad.read_h5ad(os.path.join(here, "atlas.h5ad"))
    test = atlas[atlas.obs["split"] == "test"]
    kinds = lambda obs: obs.groupby(["cell_type", "condition"], observed=True).size().to_dict()
    assert kinds(cells.obs) == kinds(test.obs)
    x = cells.X
    assert (x >= 0).all() and (x == np.round(x)).all() and list(cells.var_names) == list(atlas.var_names)
    assert 0.7 < x.sum(1).mean() / test.X.sum(1).mean() < 1.4, "libraries are drawn from other sizes"
    assert cells.obsm["X_latent"].shape == (len(cells), 32) and cells.uns["retort"]["values"] == "counts"

    flow = [
        "--run.base=" + base,
        f"--generate.generator={runs.path('flow-1', 'flow')}",
        f"--generate.atlas={here}/atlas.h5ad",
    ]
    for name, more in (
        ("only", ["--generate.only=t1/treated", "--generate.cells=5"]),
        ("free", ["--generate.weight=0", "--generate.cells=30"]),
        ("guided", ["--generate.weight=2", "--generate.solver=heun", "--generate.steps=5"]),
    ):
        runs.must("generate", 2, *flow, *more, f"--run.folder={runs.path(name)}")
    assert kinds(ad.read_h5ad(runs.path("only", "generated.h5ad")).obs) == {("t1", "treated"): 5}

    # A combination that was not trained on: joint conditioning knows nothing of it.
    without = ["--run.base=" + base, f"--diffusion.atlas={here}/atlas.h5ad", f"--run.folder={runs.path('without')}"]
    runs.must("train-diffusion", 2, *FLOW, *without, "--diffusion.leave_out=t1/treated", "--diffusion.steps=10")
    own = [
        "--run.base=" + base,
        f"--generate.generator={runs.path('without', 'flow')}",
        f"--generate.atlas={here}/atlas.h5ad",
    ]
    for more in ([], ["--generate.only=t1/treated", "--generate.cells=5"]):
        runs.refused(
            2,
            "'t1/treated' is not among what the generator was trained on",
            "generate",
            2,
            *own,
            *more,
            f"--run.folder={runs.path('refused')}",
        )
    runs.must("generate", 2, *own, "--generate.cells=3", f"--run.folder={runs.path('others-of-without')}")
    assert ("t1", "treated") not in kinds(ad.read_h5ad(runs.path("others-of-without", "generated.h5ad")).obs)

    # Scores: the floor is below the generated sets, and the rank count changes nothing.
    for ranks in (1, 2, 3):
        runs.must(
            "evaluate-generated",
            ranks,
            f"--evaluate_generated.atlas={here}/atlas.h5ad",
            "--evaluate_generated.genes=200",
            "--evaluate_generated.components=10",
            f"--evaluate_generated.generated={runs.path('flow-1', 'generated.h5ad')},{runs.path('guided', 'generated.h5ad')}",
            f"--run.base={base}",
            f"--run.folder={runs.path(f'scores-{ranks}')}",
        )
    found = scores(runs.path("scores-1"))
    assert found == scores(runs.path("scores-2")) == scores(runs.path("scores-3"))
    floor, others = found["rows"][0], [row for row in found["rows"] if row["kind"] == "generated"]
    assert floor["set"] == "train cells" and len(others) == 2 and all(floor["w2"] < row["w2"] for row in others), found[
        "rows"
    ]
    assert (
        abs(found["comparisons"][0]["real"]["zeros"] - (test.X.toarray() == 0).mean()) < 1e-6
        and found["reconstruction"]["re"] > 0
    )

    # A flow that was trained for some epochs is nearer to real cells than noise in the place of its latents.
    learned = [f"--run.base={here}", f"--run.folder={runs.path('learned')}"]
    runs.must("train-vae", 2, *VAE, "--vae.steps=300", "--vae.rate=0.003", *learned)
    runs.must(
        "train-diffusion",
        2,
        *FLOW,
        "--diffusion.steps=400",
        "--diffusion.rate=0.003",
        "--diffusion.ema=0.9999",
        *learned,
    )
    runs.must("generate", 2, *learned)
    runs.must("evaluate-generated", 2, "--evaluate_generated.genes=200", "--evaluate_generated.components=10", *learned)
    rows = {row["kind"]: row for row in scores(runs.path("learned"))["rows"]}
    for key in ("w2", "mmd2", "frechet"):
        assert rows["floor"][key] < rows["generated"][key] < rows["standard prior"][key], (key, rows)

    # Refused.
    to = f"--run.folder={runs.path('refused')}"
    runs.refused(66, "is missing", "generate", 2, f"--generate.atlas={here}/atlas.h5ad", to)
    runs.refused(65, "another autoencoder", "generate", 2, *flow, f"--generate.vae={runs.path('scvi-1', 'vae')}", to)
    runs.refused(2, "there are no cells 't9/treated'", "generate", 1, *flow, "--generate.only=t9/treated", to)
    runs.refused(2, "generate.weight has 3 numbers", "generate", 2, *flow, "--generate.weight=1,2,3", to)
    runs.refused(2, "generate.solver is 'rk4'", "generate", 1, *flow, "--generate.solver=rk4", to)
    runs.refused(2, "cannot be shared by", "train-vae", 2, f"--run.base={here}", "--vae.width=30", "--vae.heads=8", to)
    runs.must(
        "train-vae",
        2,
        *VAE,
        f"--run.base={here}",
        "--vae.steps=3",
        "--vae.start=random",
        f"--run.folder={runs.path('random')}",
    )
    runs.refused(2, "vae.start is 'zero'", "train-vae", 1, f"--run.base={here}", "--vae.start=zero", to)
    runs.refused(2, "vae.model is 'vq'", "train-vae", 2, f"--run.base={here}", "--vae.model=vq", to)
    runs.refused(65, "vae.length is 10", "train-vae", 3, f"--run.base={here}", "--vae.length=10", to)
    runs.refused(
        2,
        "cannot be cut into 5 tokens",
        "train-diffusion",
        2,
        *FLOW,
        "--diffusion.tokens=5",
        "--run.base=" + base,
        f"--diffusion.atlas={here}/atlas.h5ad",
        to,
    )
    runs.refused(1, "vae.rate", "train-vae", 2, f"--run.base={here}", *VAE, "--vae.rate=1e30", "--vae.clip=0", to)
    runs.must(
        "simulate",
        1,
        "--simulate.cells=600",
        "--simulate.genes=250",
        "--simulate.types=4",
        "--simulate.format=h5ad",
        f"--simulate.output={runs.path('others.h5ad')}",
        f"--run.folder={runs.path('simulate')}",
    )
    runs.must(
        "ingest",
        1,
        f"--ingest.input={runs.path('others.h5ad')}",
        "--ingest.label=cell_type,condition",
        f"--run.folder={runs.path('others')}",
    )
    runs.refused(
        65, "was not trained on", "generate", 2, *flow[:2], f"--generate.atlas={runs.path('others', 'atlas.h5ad')}", to
    )
    shutil.copytree(runs.path("scldm-1", "vae"), runs.path("torn"))
    with open(runs.path("torn", "scldm_vae.safetensors"), "r+b") as file:
        file.truncate(1000)
    runs.refused(65, "than the weights beside it hold", "generate", 1, *flow, f"--generate.vae={runs.path('torn')}", to)
    print("passed")
