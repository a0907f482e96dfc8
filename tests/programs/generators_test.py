"""From counts to generated counts: the same bytes on any number of ranks, cells of the kinds that were asked for, and
what is refused."""

import os
import shutil

import anndata as ad
import numpy as np
import pytest
from foundation_runs import digest, filled, read_json, refusals

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
SCVI = ["--vae.model=scvi", "--vae.scvi_hidden=24", "--vae.scvi_latent=6"]
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
SCORED = ["--evaluate_generated.genes=200", "--evaluate_generated.components=10"]
NOT_TRAINED_ON = "'t1/treated' is not among what the generator was trained on"


def kinds(obs):
    return obs.groupby(["cell_type", "condition"], observed=True).size().to_dict()


def read_generated(runs, name):
    return ad.read_h5ad(runs.path(name, "generated.h5ad"))


@pytest.fixture(scope="module")
def here(runs):
    """The run of the atlas."""
    folder = runs.path("run")
    runs.ingest(2, runs.simulate_h5ad("cells.h5ad"), folder, label="cell_type,condition")
    return folder


@pytest.fixture(scope="module")
def atlas(here):
    return ad.read_h5ad(os.path.join(here, "atlas.h5ad"))


@pytest.fixture(scope="module")
def tested(atlas):
    return atlas[atlas.obs["split"] == "test"]


@pytest.fixture(scope="module")
def autoencoders(runs, here):
    """Weights and latents of each model at each number of ranks."""
    made = {}
    for name, more in (("scldm", []), ("scvi", SCVI)):
        for ranks in (1, 2, 4, 3):
            folder = runs.path(f"{name}-{ranks}")
            runs.must("train-vae", ranks, *VAE, *more, f"--run.base={here}", f"--run.folder={folder}")
            made[name, ranks] = digest(folder, "vae", f"{name}_vae.safetensors"), digest(folder, "latents.h5ad")
    return made


@pytest.fixture(scope="module")
def base(runs, autoencoders):
    """The run of the autoencoder that the flow is trained with."""
    return runs.path("scldm-1")


@pytest.fixture(scope="module")
def flows(runs, here, base):
    """The flow, and cells from it, at each number of ranks."""
    made = {}
    for ranks in (1, 2, 4, 3):
        folder = runs.path(f"flow-{ranks}")
        own = [f"--run.base={base}", f"--diffusion.atlas={here}/atlas.h5ad", f"--run.folder={folder}"]
        runs.must("train-diffusion", 2 if ranks == 3 else ranks, *FLOW, *own)
        atlas = f"--generate.atlas={here}/atlas.h5ad"
        runs.must("generate", ranks, atlas, f"--run.base={base}", f"--run.folder={folder}", "--run.shards=4")
        made[ranks] = digest(folder, "flow", "scldm.safetensors"), digest(folder, "generated.h5ad")
    return made


@pytest.fixture(scope="module")
def flow(runs, here, base, flows):
    """The settings that draw cells from the flow."""
    generator = f"--generate.generator={runs.path('flow-1', 'flow')}"
    return [f"--run.base={base}", generator, f"--generate.atlas={here}/atlas.h5ad"]


@pytest.fixture(scope="module")
def guided(runs, flow):
    """A second set of cells, drawn another way."""
    settings = ["--generate.weight=2", "--generate.solver=heun", "--generate.steps=5"]
    runs.must("generate", 2, *flow, *settings, f"--run.folder={runs.path('guided')}")
    return runs.path("guided", "generated.h5ad")


@pytest.fixture(scope="module")
def without(runs, here, base):
    """The settings that draw cells from a flow which never saw one kind."""
    own = [f"--run.base={base}", f"--diffusion.atlas={here}/atlas.h5ad", f"--run.folder={runs.path('without')}"]
    runs.must("train-diffusion", 2, *FLOW, *own, "--diffusion.leave_out=t1/treated", "--diffusion.steps=10")
    generator = f"--generate.generator={runs.path('without', 'flow')}"
    return [f"--run.base={base}", generator, f"--generate.atlas={here}/atlas.h5ad"]


@pytest.fixture(scope="module")
def scored(runs, here, base, flows, guided):
    """The scores of both sets at each number of ranks."""
    sets = f"--evaluate_generated.generated={runs.path('flow-1', 'generated.h5ad')},{guided}"
    made = {}
    for ranks in (1, 2, 3):
        folder = runs.path(f"scores-{ranks}")
        own = [f"--evaluate_generated.atlas={here}/atlas.h5ad", f"--run.base={base}", f"--run.folder={folder}"]
        runs.must("evaluate-generated", ranks, *SCORED, sets, *own)
        made[ranks] = read_json(folder, "generation.json")
    return made


@pytest.mark.parametrize("ranks", [2, 4])
@pytest.mark.parametrize("model", ["scldm", "scvi"])
def test_autoencoder_and_latents_are_those_of_one_rank(autoencoders, model, ranks):
    assert autoencoders[model, ranks] == autoencoders[model, 1], f"weights or latents differ at {ranks} ranks"


@pytest.mark.parametrize("model, size", [("scldm", 32), ("scvi", 6)])
def test_latents_of_three_ranks_are_near(runs, autoencoders, model, size):
    """Four shards are not shared evenly by three ranks."""
    one, three = (ad.read_h5ad(runs.path(f"{model}-{ranks}", "latents.h5ad")).obsm["X_retort"] for ranks in (1, 3))
    assert one.shape == (600, size) and np.isfinite(one).all()
    assert np.abs(one - three).max() < 0.05


def test_the_autoencoder_learns(base):
    with open(os.path.join(base, "train-vae", "steps.tsv")) as table:
        errors = [float(line.split("\t")[2]) for line in table.readlines()[1:]]
    assert np.mean(errors[-10:]) < 0.9 * errors[0]


@pytest.mark.parametrize("ranks", [2, 3, 4])
def test_flow_and_cells_are_those_of_one_rank(flows, ranks):
    assert flows[ranks] == flows[1], "what is generated depends on the number of ranks"


def test_there_are_as_many_cells_of_each_kind_as_the_test_part_has(runs, flows, tested):
    assert kinds(read_generated(runs, "flow-1").obs) == kinds(tested.obs)


def test_generated_cells_are_counts(runs, flows, atlas, tested):
    cells = read_generated(runs, "flow-1")
    x = cells.X
    assert (x >= 0).all() and (x == np.round(x)).all() and list(cells.var_names) == list(atlas.var_names)
    assert 0.7 < x.sum(1).mean() / tested.X.sum(1).mean() < 1.4, "libraries are drawn from other sizes"
    assert cells.obsm["X_latent"].shape == (len(cells), 32) and cells.uns["retort"]["values"] == "counts"


def test_one_kind_can_be_asked_for(runs, flow):
    settings = ["--generate.only=t1/treated", "--generate.cells=5", f"--run.folder={runs.path('only')}"]
    runs.must("generate", 2, *flow, *settings)
    assert kinds(read_generated(runs, "only").obs) == {("t1", "treated"): 5}


def test_cells_can_be_drawn_without_guidance(runs, flow, atlas):
    runs.must("generate", 2, *flow, "--generate.weight=0", "--generate.cells=30", f"--run.folder={runs.path('free')}")
    assert kinds(read_generated(runs, "free").obs) == dict.fromkeys(kinds(atlas.obs), 30)  # as many of each kind


@pytest.mark.parametrize("asked", [[], ["--generate.only=t1/treated", "--generate.cells=5"]], ids=["all", "only"])
def test_joint_conditioning_knows_nothing_of_a_kind_that_was_left_out(runs, without, asked):
    runs.refused(2, NOT_TRAINED_ON, "generate", 2, *without, *asked, f"--run.folder={runs.path('refused')}")


def test_the_others_of_a_flow_with_a_kind_left_out_are_drawn(runs, without):
    runs.must("generate", 2, *without, "--generate.cells=3", f"--run.folder={runs.path('others-of-without')}")
    assert ("t1", "treated") not in kinds(read_generated(runs, "others-of-without").obs)


@pytest.mark.parametrize("ranks", [2, 3])
def test_scores_are_those_of_one_rank(scored, ranks):
    assert scored[ranks] == scored[1]


def test_the_floor_is_below_the_generated_sets(scored):
    floor, *others = [row for row in scored[1]["rows"] if row["set"] == "train cells" or row["kind"] == "generated"]
    assert floor["set"] == "train cells" and floor == scored[1]["rows"][0]
    assert len(others) == 2 and all(floor["w2"] < row["w2"] for row in others)


def test_real_cells_are_described(scored, tested):
    real = scored[1]["comparisons"][0]["real"]
    assert abs(real["zeros"] - (tested.X.toarray() == 0).mean()) < 1e-6
    assert scored[1]["reconstruction"]["re"] > 0


def test_a_trained_flow_is_nearer_to_real_cells_than_noise(runs, here):
    learned = [f"--run.base={here}", f"--run.folder={runs.path('learned')}"]
    longer = ["--diffusion.steps=400", "--diffusion.rate=0.003", "--diffusion.ema=0.9999"]
    runs.must("train-vae", 2, *VAE, "--vae.steps=300", "--vae.rate=0.003", *learned)
    runs.must("train-diffusion", 2, *FLOW, *longer, *learned)
    runs.must("generate", 2, *learned)
    runs.must("evaluate-generated", 2, *SCORED, *learned)
    rows = {row["kind"]: row for row in read_json(runs.path("learned"), "generation.json")["rows"]}
    for key in ("w2", "mmd2", "frechet"):
        assert rows["floor"][key] < rows["generated"][key] < rows["standard prior"][key], key


@refusals(
    (65, "another autoencoder", "generate", 2, "--generate.vae={place}/scvi-1/vae"),
    (2, "there are no cells 't9/treated'", "generate", 1, "--generate.only=t9/treated"),
    (2, "generate.weight has 3 numbers", "generate", 2, "--generate.weight=1,2,3"),
    (2, "generate.solver is 'rk4'", "generate", 1, "--generate.solver=rk4"),
)
def test_drawing_refuses(runs, flow, code, says, verb, ranks, settings):
    to = f"--run.folder={runs.path('refused')}"
    runs.refused(code, says, verb, ranks, *flow, *filled(settings, place=runs.folder), to)


@refusals(
    (66, "is missing", "generate", 2, "--generate.atlas={here}/atlas.h5ad"),
    (2, "cannot be shared by", "train-vae", 2, "--run.base={here}", "--vae.width=30", "--vae.heads=8"),
    (2, "vae.start is 'zero'", "train-vae", 1, "--run.base={here}", "--vae.start=zero"),
    (2, "vae.model is 'vq'", "train-vae", 2, "--run.base={here}", "--vae.model=vq"),
    (65, "vae.length is 10", "train-vae", 3, "--run.base={here}", "--vae.length=10"),
    (
        2,
        "cannot be cut into 5 tokens",
        "train-diffusion",
        2,
        *FLOW,
        "--diffusion.tokens=5",
        "--run.base={base}",
        "--diffusion.atlas={here}/atlas.h5ad",
    ),
    (1, "vae.rate", "train-vae", 2, "--run.base={here}", *VAE, "--vae.rate=1e30", "--vae.clip=0"),
)
def test_refuses(runs, here, base, code, says, verb, ranks, settings):
    to = f"--run.folder={runs.path('refused')}"
    runs.refused(code, says, verb, ranks, *filled(settings, here=here, base=base), to)


def test_an_autoencoder_may_start_from_random_weights(runs, here):
    short = ["--vae.steps=3", "--vae.start=random", f"--run.base={here}", f"--run.folder={runs.path('random')}"]
    runs.must("train-vae", 2, *VAE, *short)


def test_an_atlas_of_other_genes_is_refused(runs, flow):
    runs.ingest(
        1, runs.simulate_h5ad("others.h5ad", "--simulate.genes=250"), runs.path("others"), label="cell_type,condition"
    )
    other = [f"--generate.atlas={runs.path('others', 'atlas.h5ad')}", f"--run.folder={runs.path('refused')}"]
    runs.refused(65, "was not trained on", "generate", 2, *flow[:2], *other)


def test_torn_weights_are_refused(runs, base, flow):
    shutil.copytree(os.path.join(base, "vae"), runs.path("torn"))
    with open(runs.path("torn", "scldm_vae.safetensors"), "r+b") as file:
        file.truncate(1000)
    torn = [f"--generate.vae={runs.path('torn')}", f"--run.folder={runs.path('refused')}"]
    runs.refused(65, "than the weights beside it hold", "generate", 1, *flow, *torn)
