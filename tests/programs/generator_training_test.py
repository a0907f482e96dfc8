"""The training loops of the generators: what steps.tsv tells, products in bfloat16, many shards in the place of few,
and the end of what diverges."""

import csv
import os
import shutil

import h5py
import pytest
from foundation_runs import digest, filled, refusals, tensors

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
        ["--diffusion.model=scdg", "--diffusion.hidden=64,64,32", "--diffusion.features={here}/latents.h5ad"],
        ("generator", "scdg.safetensors"),
    ),
}
SECONDS = ("read_seconds", "compute_seconds", "sum_seconds", "step_seconds")


def steps_of(folder, verb):
    with open(os.path.join(folder, verb, "steps.tsv")) as table:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(table, delimiter="\t")]


def section(verb):
    return "vae" if verb == "train-vae" else "diffusion"


def shapes(verb):
    return [setting for setting in SHAPES if setting.startswith(f"--{section(verb)}.")]


@pytest.fixture(scope="module")
def here(runs):
    """A run with latents."""
    folder = runs.path("run")
    runs.ingest(2, runs.simulate_h5ad("cells.h5ad"), folder)
    runs.must("train-vae", 2, *shapes("train-vae"), "--vae.steps=4", f"--run.folder={folder}")
    return folder


@pytest.fixture(scope="module", params=MODELS)
def ten_steps(request, runs, here):
    """The weights and steps.tsv of each model after ten steps, in float32 and at three numbers of ranks in bfloat16."""
    verb, own, weights = MODELS[request.param]
    made = {}
    for precision, ranks in (("float32", 1), ("bfloat16", 1), ("bfloat16", 2), ("bfloat16", 4)):
        folder = runs.path(f"{request.param}-{precision}-{ranks}".replace(" ", "-"))
        length = [f"--{section(verb)}.steps=10", f"--{section(verb)}.precision={precision}", "--run.shards=4"]
        places = [f"--run.base={here}", f"--run.folder={folder}"]
        runs.must(verb, ranks, *shapes(verb), *filled(own, here=here), *length, *places)
        made[precision, ranks] = os.path.join(folder, weights[0]), weights[1], steps_of(folder, verb)
    return made


def test_steps_tell_the_share_of_data_and_of_ranks(ten_steps):
    for *_, steps in ten_steps.values():
        assert all(step[column] >= 0 for step in steps for column in SECONDS)
        assert all(step["compute_seconds"] > 0 for step in steps)


@pytest.mark.parametrize("ranks", [2, 4])
def test_bfloat16_is_that_of_one_rank(ten_steps, ranks):
    assert digest(*ten_steps["bfloat16", ranks][:2]) == digest(*ten_steps["bfloat16", 1][:2])


def test_bfloat16_stays_by_float32(ten_steps):
    assert digest(*ten_steps["bfloat16", 1][:2]) != digest(*ten_steps["float32", 1][:2]), "bfloat16 changed nothing"
    losses = ([step["loss"] for step in ten_steps[precision, 1][2]] for precision in ("bfloat16", "float32"))
    apart = max(abs(a / b - 1) for a, b in zip(*losses))
    print(f"bfloat16 within {apart:.1e} of float32")
    assert apart < 5e-3


def test_bfloat16_leaves_float32_weights(ten_steps):
    assert all(tensor.dtype == "float32" for tensor in tensors(*ten_steps["bfloat16", 4][:2]).values())


@pytest.fixture(scope="module")
def averages(runs, here):
    """The weights after some steps, as they are where nothing is kept, or as a moving average of them."""

    def after(steps, keep):
        folder = runs.path(f"average-{steps}-{keep}")
        held = ["--diffusion.model=scrdit", "--diffusion.rate=0.01", f"--diffusion.steps={steps}"]
        places = [f"--run.base={here}", f"--run.folder={folder}"]
        settings = [*shapes("train-diffusion"), *held, f"--diffusion.ema={keep}", *places]
        runs.must("train-diffusion", 2, *settings)
        made = tensors(os.path.join(folder, "denoiser"), "scrdit.safetensors")
        return {name: tensor.astype(float) for name, tensor in made.items()}

    # The rate is held, so fewer steps are the same steps.
    return [after(steps, 0) for steps in (1, 2, 3)], after(1, 0.75), after(3, 0.75)


def test_a_moving_average_is_that_of_the_weights_after_each_step(averages):
    """It keeps the less of the earlier weights the earlier it is."""
    weights, begun, averaged = averages
    for name, expected in begun.items():
        for step, later in enumerate(weights[1:], 1):
            keep = (1 + step) / (10 + step)
            expected = keep * expected + (1 - keep) * later[name]
        assert abs(averaged[name] - expected).max() < 1e-6, name
    assert max(abs(averaged[name] - weights[2][name]).max() for name in begun) > 1e-3


@pytest.mark.parametrize("name", ["out.weight", "out.bias"])
def test_a_moving_average_begins_with_the_weights_before_the_first_step(averages, name):
    """These are zeros then."""
    weights, begun, _ = averages
    assert abs(begun[name] - 0.9 * weights[0][name]).max() < 1e-6 and abs(weights[0][name]).max() > 0


def test_many_shards_give_the_sums_of_one_but_for_rounding(runs, here):
    """Eight shards instead of one take the same cells in smaller pieces."""
    sums = {}
    for shards in (1, 8):
        folder = runs.path(f"shards-{shards}")
        settings = ["--vae.steps=3", f"--run.shards={shards}", f"--run.base={here}", f"--run.folder={folder}"]
        runs.must("train-vae", 1, *shapes("train-vae"), *settings)
        sums[shards] = steps_of(folder, "train-vae")
    for one, eight in zip(sums[1], sums[8]):
        assert abs(one["loss"] / eight["loss"] - 1) < 1e-6 and abs(one["norm"] / eight["norm"] - 1) < 1e-5
    assert sums[1] != sums[8]


@pytest.mark.parametrize("verb, own", [("train-vae", []), ("train-diffusion", ["--diffusion.model=scrdit"])])
def test_what_diverges_ends_on_all_ranks_with_the_step_and_the_last_good_checkpoint(runs, here, verb, own):
    name, folder = section(verb), runs.path(f"{verb}-diverged")
    explode = [f"--{name}.steps=50", f"--{name}.rate=1e18", f"--{name}.clip=0", "--run.shards=4"]
    settings = [*shapes(verb), *own, *explode, f"--run.base={here}", f"--run.folder={folder}"]
    done = runs.run(verb, 2, *settings)
    lines = [line for line in done.stderr.splitlines() if line.startswith("retort-") and "error:" in line]
    assert done.returncode == 1 and len(lines) == 1, done.stderr
    assert "are not finite" in lines[0] and "no checkpoint was written before" in lines[0]
    assert f"Lower {name}.rate" in lines[0] and "[rank 0 of 2" in lines[0] and ", step " in lines[0]
    done = runs.run(verb, 2, *settings, "--run.checkpoint_steps=1", "--run.again=true")
    step = int(done.stderr.split(", step ")[1].split("]")[0])
    assert step > 0
    assert f"the last good checkpoint is '{folder}/{verb}/checkpoints/step-{step}'" in done.stderr


FLOW = [*shapes("train-diffusion"), "--diffusion.model=scldm"]


def test_latents_of_other_cells_are_refused(runs, here):
    other = runs.path("other")
    runs.ingest(2, runs.path("cells.h5ad"), other, "--run.seed=9")
    says = f"'{here}/latents.h5ad' holds features of other cells than '{other}/atlas.h5ad'"
    places = [f"--diffusion.atlas={other}/atlas.h5ad", f"--run.base={here}", f"--run.folder={runs.path('refused')}"]
    runs.refused(65, says, "train-diffusion", 2, *FLOW, *places)


@pytest.fixture(scope="module")
def spoilt(runs, here):
    """Latents of which one is no number, and the row of its cell."""
    with h5py.File(os.path.join(here, "atlas.h5ad")) as atlas:
        split = atlas["obs/split/categories"].asstr()[:][atlas["obs/split/codes"][:]]
        row = next(
            i for i, (part, held) in enumerate(zip(split, atlas["obs/held_out"][:])) if part == "train" and not held
        )
    shutil.copy(os.path.join(here, "latents.h5ad"), runs.path("spoilt.h5ad"))
    with h5py.File(runs.path("spoilt.h5ad"), "r+") as file:
        file["obsm/X_retort"][row, 3] = float("nan")
    return runs.path("spoilt.h5ad"), row


@pytest.mark.parametrize("model", ["scldm", "scdg"])
def test_latents_that_are_no_numbers_are_refused_before_the_first_step(runs, here, spoilt, model):
    file, row = spoilt
    places = [f"--diffusion.features={file}", f"--run.base={here}", f"--run.folder={runs.path('refused')}"]
    settings = [*shapes("train-diffusion"), f"--diffusion.model={model}", *places]
    runs.refused(65, f"spoilt.h5ad': feature 3 of row {row} is nan", "train-diffusion", 2, *settings)


@refusals(
    (2, "vae.precision is 'half'", "train-vae", 2, "--vae.precision=half"),
    (2, "diffusion.precision is 'half'", "train-diffusion", 2, *FLOW, "--diffusion.precision=half"),
)
def test_refuses(runs, here, code, says, verb, ranks, settings):
    runs.refused(code, says, verb, ranks, *settings, f"--run.base={here}", f"--run.folder={runs.path('refused')}")
