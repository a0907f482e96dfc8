"""The training loops of the generators: what steps.tsv tells, products in bfloat16, many shards in the place of few, and the end of what diverges."""

import csv
import os
import shutil

import h5py
from foundation_runs import Runs, read_bytes, tensors

SHAPES = [
    "--vae.width=16",
    "--vae.tokens=4",
    "--vae.latent=8",
    "--vae.blocks=1",
    "--vae.heads=2",
    "--vae.cross_heads=2",
    "--vae.batch=32",
    "--vae.scvi_hidden=24",
    "--vae.scvi_latent=8",
    "--diffusion.tokens=4",
    "--diffusion.width=32",
    "--diffusion.blocks=1",
    "--diffusion.heads=2",
    "--diffusion.channels=4",
    "--diffusion.genes=64",
    "--diffusion.patch=16",
    "--diffusion.batch=32",
]
MODELS = {  # verb, settings, weights
    "scldm autoencoder": ("train-vae", ["--vae.model=scldm"], ("vae", "scldm_vae.safetensors")),
    "scvi": ("train-vae", ["--vae.model=scvi"], ("vae", "scvi_vae.safetensors")),
    "scldm": ("train-diffusion", ["--diffusion.model=scldm"], ("flow", "scldm.safetensors")),
    "scrdit transformer": (
        "train-diffusion",
        ["--diffusion.model=scrdit", "--diffusion.standardise=true"],
        ("denoiser", "scrdit.safetensors"),
    ),
    "scrdit unet": (
        "train-diffusion",
        ["--diffusion.model=scrdit", "--diffusion.network=unet", "--diffusion.standardise=true"],
        ("denoiser", "scrdit.safetensors"),
    ),
    "scdg": (
        "train-diffusion",
        ["--diffusion.model=scdg", "--diffusion.hidden=64,64,32", "--diffusion.features=LATENTS"],
        ("generator", "scdg.safetensors"),
    ),
}


def steps_of(folder, verb):
    with open(os.path.join(folder, verb, "steps.tsv")) as table:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(table, delimiter="\t")]


def section(verb):
    return "vae" if verb == "train-vae" else "diffusion"


with Runs() as runs:
    here = runs.path("run")
    of = lambda verb: [setting for setting in SHAPES if setting.startswith(f"--{section(verb)}.")]
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
    runs.must("train-vae", 2, *of("train-vae"), "--vae.steps=4", f"--run.folder={here}")

    # Ten steps in bfloat16 stay by those in float32, are the same on 1, 2 and 4 ranks, and leave float32 weights.
    for name, (verb, own, weights) in MODELS.items():
        own = [setting.replace("LATENTS", os.path.join(here, "latents.h5ad")) for setting in own]
        made, losses = {}, {}
        for precision, ranks in (("float32", 1), ("bfloat16", 1), ("bfloat16", 2), ("bfloat16", 4)):
            folder = runs.path(f"{name}-{precision}-{ranks}".replace(" ", "-"))
            runs.must(
                verb,
                ranks,
                *of(verb),
                *own,
                f"--{section(verb)}.steps=10",
                f"--{section(verb)}.precision={precision}",
                "--run.shards=4",
                f"--run.base={here}",
                f"--run.folder={folder}",
            )
            made[precision, ranks] = read_bytes(folder, *weights)
            steps = steps_of(folder, verb)
            losses[precision] = [step["loss"] for step in steps]
            # What the share of data and of ranks in a step is read from.
            assert all(
                step[column] >= 0
                for step in steps
                for column in ("read_seconds", "compute_seconds", "sum_seconds", "step_seconds")
            ), steps
            assert all(step["compute_seconds"] > 0 for step in steps), steps
        assert made["bfloat16", 1] == made["bfloat16", 2] == made["bfloat16", 4], (
            f"{name}: bfloat16 depends on the number of ranks"
        )
        assert made["bfloat16", 1] != made["float32", 1], f"{name}: bfloat16 changed nothing"
        apart = max(abs(a / b - 1) for a, b in zip(losses["bfloat16"], losses["float32"]))
        print(f"{name}: bfloat16 within {apart:.1e} of float32")
        assert apart < 5e-3, (name, losses)
        assert all(
            tensor.dtype == "float32" for tensor in tensors(os.path.join(folder, weights[0]), weights[1]).values()
        )

    # A moving average is that of the weights after each step, begun with those before the first, which it keeps the less of the earlier it is; the rate is held, so fewer steps are the same steps.
    def after(steps, keep):
        folder = runs.path(f"average-{steps}-{keep}")
        runs.must(
            "train-diffusion",
            2,
            *of("train-diffusion"),
            "--diffusion.model=scrdit",
            "--diffusion.rate=0.01",
            f"--diffusion.steps={steps}",
            f"--diffusion.ema={keep}",
            f"--run.base={here}",
            f"--run.folder={folder}",
        )
        return {
            name: tensor.astype(float)
            for name, tensor in tensors(os.path.join(folder, "denoiser"), "scrdit.safetensors").items()
        }

    weights = [after(steps, 0) for steps in (1, 2, 3)]
    begun, averaged = after(1, 0.75), after(3, 0.75)
    for name, first in begun.items():
        expected = first
        for step, later in enumerate(weights[1:], 1):
            keep = (1 + step) / (10 + step)
            expected = keep * expected + (1 - keep) * later[name]
        assert abs(averaged[name] - expected).max() < 1e-6, name
    assert max(abs(averaged[name] - weights[2][name]).max() for name in begun) > 1e-3
    zeros = ("out.weight", "out.bias")  # at first
    assert all(
        abs(begun[name] - 0.9 * weights[0][name]).max() < 1e-6 and abs(weights[0][name]).max() > 0 for name in zeros
    ), zeros

    # Eight shards instead of one take the same cells in smaller pieces: the same sums, but for rounding.
    sums = {}
    for shards in (1, 8):
        folder = runs.path(f"shards-{shards}")
        runs.must(
            "train-vae",
            1,
            *of("train-vae"),
            "--vae.steps=3",
            f"--run.shards={shards}",
            f"--run.base={here}",
            f"--run.folder={folder}",
        )
        sums[shards] = steps_of(folder, "train-vae")
    for one, eight in zip(sums[1], sums[8]):
        assert abs(one["loss"] / eight["loss"] - 1) < 1e-6 and abs(one["norm"] / eight["norm"] - 1) < 1e-5, (one, eight)
    assert sums[1] != sums[8]

    # What diverges ends on all ranks, in the name of one, with the step and the last good checkpoint.
    for verb, own in (("train-vae", []), ("train-diffusion", ["--diffusion.model=scrdit"])):
        folder = runs.path(f"{verb}-diverged")
        explode = [
            *of(verb),
            *own,
            f"--{section(verb)}.steps=50",
            f"--{section(verb)}.rate=1e18",
            f"--{section(verb)}.clip=0",
            "--run.shards=4",
            f"--run.base={here}",
            f"--run.folder={folder}",
        ]
        done = runs.run(verb, 2, *explode)
        lines = [line for line in done.stderr.splitlines() if line.startswith("retort-") and "error:" in line]
        assert (
            done.returncode == 1
            and len(lines) == 1
            and "are not finite" in lines[0]
            and "no checkpoint was written before" in lines[0]
        ), done.stderr
        assert f"Lower {section(verb)}.rate" in lines[0] and "[rank 0 of 2" in lines[0] and ", step " in lines[0], lines
        done = runs.run(verb, 2, *explode, "--run.checkpoint_steps=1", "--run.again=true")
        step = int(done.stderr.split(", step ")[1].split("]")[0])
        assert step > 0 and f"the last good checkpoint is '{folder}/{verb}/checkpoints/step-{step}'" in done.stderr, (
            done.stderr
        )

    # Latents that are not of these cells, or no numbers, are refused by name before the first step.
    flow = [*of("train-diffusion"), "--diffusion.model=scldm"]
    to = f"--run.folder={runs.path('refused')}"
    runs.must(
        "ingest",
        2,
        f"--ingest.input={runs.path('cells.h5ad')}",
        "--ingest.label=cell_type",
        "--run.seed=9",
        f"--run.folder={runs.path('other')}",
    )
    runs.refused(
        65,
        f"'{here}/latents.h5ad' holds features of other cells than '{runs.path('other')}/atlas.h5ad'",
        "train-diffusion",
        2,
        *flow,
        f"--diffusion.atlas={runs.path('other')}/atlas.h5ad",
        f"--run.base={here}",
        to,
    )
    with h5py.File(os.path.join(here, "atlas.h5ad")) as atlas:
        split = atlas["obs/split/categories"].asstr()[:][atlas["obs/split/codes"][:]]
        row = next(
            i for i, (part, held) in enumerate(zip(split, atlas["obs/held_out"][:])) if part == "train" and not held
        )
    shutil.copy(os.path.join(here, "latents.h5ad"), runs.path("spoilt.h5ad"))
    with h5py.File(runs.path("spoilt.h5ad"), "r+") as file:
        file["obsm/X_retort"][row, 3] = float("nan")
    for model in (flow, [*of("train-diffusion"), "--diffusion.model=scdg"]):
        runs.refused(
            65,
            f"spoilt.h5ad': feature 3 of row {row} is nan",
            "train-diffusion",
            2,
            *model,
            f"--diffusion.features={runs.path('spoilt.h5ad')}",
            f"--run.base={here}",
            to,
        )
    runs.refused(2, "vae.precision is 'half'", "train-vae", 2, "--vae.precision=half", f"--run.base={here}", to)
    runs.refused(
        2,
        "diffusion.precision is 'half'",
        "train-diffusion",
        2,
        *flow,
        "--diffusion.precision=half",
        f"--run.base={here}",
        to,
    )
    print("passed")
