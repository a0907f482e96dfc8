"""From counts to scRDiT's cells: the same bytes on any number of ranks and across a stop, the calls of the samplers,
and what is refused."""

import json
import os
import shutil

import anndata as ad
import numpy as np
import pytest
from foundation_runs import digest, filled, refusals

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


@pytest.fixture(scope="module")
def here(runs):
    """The run of the atlas."""
    folder = runs.path("run")
    runs.ingest(2, runs.simulate_h5ad("cells.h5ad"), folder)
    return folder


@pytest.fixture(scope="module")
def atlas(here):
    return ad.read_h5ad(os.path.join(here, "atlas.h5ad"))


@pytest.fixture(scope="module")
def tested(atlas):
    return atlas[atlas.obs["split"] == "test"]


@pytest.fixture(scope="module")
def trained(runs, here):
    """Weights and sets of each network; at four ranks after a stop, from which three ranks go on."""
    made = {}
    for ranks in (1, 2, 4):
        for name, more in (("transformer", []), ("unet", UNET)):
            folder = runs.path(f"{name}-{ranks}")
            own = [f"--run.base={here}", f"--run.folder={folder}"]
            if ranks == 4:  # the limit is over at once: it stops at its first boundary
                stopped = runs.run("train-diffusion", 4, *TRAIN, *more, *own, RETORT_END_TIME="1")
                assert stopped.returncode == 75 and not os.path.exists(os.path.join(folder, "denoiser")), stopped.stderr
            runs.must("train-diffusion", 3 if ranks == 4 else ranks, *TRAIN, *more, *own)
            runs.must("generate", ranks, *own, "--generate.cells=70")
            made[name, ranks] = digest(folder, "denoiser", "scrdit.safetensors"), digest(folder, "generated.h5ad")
    return made


@pytest.fixture(scope="module")
def denoiser(runs, here, trained):
    """The settings that draw cells from the transformer."""
    return [f"--run.base={here}", f"--generate.generator={runs.path('transformer-1', 'denoiser')}"]


@pytest.fixture(scope="module")
def cells(runs, denoiser):
    runs.must("generate", 2, *denoiser, f"--run.folder={runs.path('all')}")
    return ad.read_h5ad(runs.path("all", "generated.h5ad"))


@pytest.mark.parametrize("ranks", [2, 4])
@pytest.mark.parametrize("network", ["transformer", "unet"])
def test_weights_and_cells_are_those_of_one_rank(trained, network, ranks):
    assert trained[network, ranks] == trained[network, 1]


def test_the_transformer_learns(runs, trained):
    with open(runs.path("transformer-1", "train-diffusion", "steps.tsv")) as table:
        losses = [float(line.split("\t")[1]) for line in table.readlines()[1:]]
    assert abs(losses[0] - 1) < 0.1 and np.mean(losses[-20:]) < 0.8


def test_a_set_holds_as_many_cells_as_the_test_part_of_the_chosen_genes(cells, atlas, tested):
    said = cells.uns["retort"]
    assert said["values"] == "log_normalised" and said["model"] == "scrdit" and said["solver"] == "ddim"
    assert cells.shape == (len(tested), 200) and cells.X.dtype == np.float32
    assert (cells.X >= 0).all() and cells.obs.shape[1] == 0
    positions = atlas.var_names.get_indexer(cells.var_names)
    assert (np.diff(positions) > 0).all() and positions[0] >= 0


def test_the_unet_is_called_for_blocks_of_four_cells(runs, trained):
    assert calls(runs.path("unet-1")) == 18 * 100


@pytest.mark.parametrize(
    "name, settings, expected",
    [
        ("ddpm", ["--generate.solver=ddpm"], 999),
        ("fast", ["--generate.stride=20"], 50),
        ("still", ["--generate.stride=100", "--generate.eta=0"], 10),
    ],
)
def test_samplers_call_the_network_as_often_as_they_visit(runs, denoiser, name, settings, expected):
    runs.must("generate", 1, *denoiser, *settings, "--generate.cells=3", f"--run.folder={runs.path(name)}")
    assert calls(runs.path(name)) == expected


def test_cells_of_one_class_carry_its_name_and_have_the_genes_of_the_others(runs, here, cells, tested):
    one = [f"--run.base={here}", f"--run.folder={runs.path('one')}"]
    only = ["--diffusion.only=t1", "--diffusion.label=cell_type", "--diffusion.steps=4"]
    runs.must("train-diffusion", 2, *TRAIN, *only, *one)
    runs.must("generate", 1, "--generate.stride=100", *one)
    made = ad.read_h5ad(runs.path("one", "generated.h5ad"))
    assert made.obs["cell_type"].tolist() == ["t1"] * (tested.obs["cell_type"] == "t1").sum()
    assert list(made.var_names) == list(cells.var_names)


@refusals(
    (2, "diffusion.network is 'mlp'", "train-diffusion", 2, "--diffusion.network=mlp"),
    (2, "diffusion.zero_value is 1", "train-diffusion", 1, "--diffusion.zero_value=1"),
    (2, "fewer than the 301", "train-diffusion", 2, "--diffusion.patch=301"),
    (2, "there are no cells 't9'", "train-diffusion", 2, "--diffusion.only=t9"),
    (2, "does not suit 3 heads", "train-diffusion", 3, "--diffusion.heads=3"),
    (2, "diffusion.only is for scrdit", "train-diffusion", 1, "--diffusion.model=scldm", "--diffusion.only=t1"),
)
def test_training_refuses(runs, here, code, says, verb, ranks, settings):
    to = f"--run.folder={runs.path('refused')}"
    runs.refused(code, says, verb, ranks, *TRAIN, f"--run.base={here}", to, *settings)


@refusals(
    (66, "denoiser", "generate", 2, "--generate.generator={place}/no/denoiser"),
    (2, "generate.solver is 'heun' (of scRDiT", "generate", 2, "--generate.solver=heun"),
    (2, "a stride of 1000", "generate", 1, "--generate.stride=1000"),
    (2, "generate.eta is 2", "generate", 1, "--generate.eta=2"),
    (2, "generate.only cannot be asked", "generate", 2, "--generate.only=t1"),
)
def test_drawing_refuses(runs, denoiser, code, says, verb, ranks, settings):
    to = f"--run.folder={runs.path('refused')}"
    runs.refused(code, says, verb, ranks, *denoiser, *filled(settings, place=runs.folder), to)


def test_an_atlas_of_other_genes_is_refused(runs, denoiser):
    other = runs.simulate("other.h5ad", "--simulate.cells=60", "--simulate.genes=30", "--simulate.types=3")
    settings = [f"--generate.atlas={other}", f"--run.folder={runs.path('refused')}"]
    runs.refused(65, "does not have. Train it on this atlas", "generate", 2, *denoiser, *settings)


@pytest.fixture
def torn(runs, trained):
    """A copy of the denoiser whose weights are cut short."""
    folder = runs.path("torn")
    shutil.copytree(runs.path("transformer-1", "denoiser"), folder)
    with open(os.path.join(folder, "scrdit.safetensors"), "r+b") as file:
        file.truncate(1000)
    yield folder
    shutil.rmtree(folder)


def test_torn_weights_are_refused(runs, denoiser, torn):
    settings = [f"--generate.generator={torn}", f"--run.folder={runs.path('refused')}"]
    runs.refused(65, "than the weights beside it hold", "generate", 1, *denoiser, *settings)


def test_a_folder_of_another_model_is_refused(runs, denoiser, torn):
    with open(os.path.join(torn, "config.json"), "w") as file:
        file.write('{"model": "scdg"}')
    settings = [f"--generate.generator={torn}", f"--run.folder={runs.path('refused')}"]
    runs.refused(65, "holds a model", "generate", 1, *denoiser, *settings)
