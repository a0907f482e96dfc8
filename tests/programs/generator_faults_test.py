"""What the generators' programs refuse, so that no file is lost and no cell comes of what was never trained."""

import os
import shutil

import anndata as ad
import pytest
from foundation_runs import digest, filled, read_bytes, refusals

VAE = [
    "--vae.width=16",
    "--vae.tokens=4",
    "--vae.latent=8",
    "--vae.blocks=1",
    "--vae.heads=2",
    "--vae.cross_heads=2",
    "--vae.batch=32",
    "--vae.steps=5",
]
FLOW = [
    "--diffusion.model=scldm",
    "--diffusion.tokens=4",
    "--diffusion.width=32",
    "--diffusion.blocks=1",
    "--diffusion.heads=2",
    "--diffusion.batch=32",
    "--diffusion.steps=5",
]
DENOISER = [
    "--diffusion.model=scrdit",
    "--diffusion.width=32",
    "--diffusion.heads=2",
    "--diffusion.blocks=1",
    "--diffusion.genes=100",
    "--diffusion.steps=2",
]


@pytest.fixture(scope="module")
def ingest(runs):
    return [f"--ingest.input={runs.simulate('cells.h5ad')}", "--ingest.label=cell_type,condition"]


@pytest.fixture(scope="module")
def here(runs, ingest):
    """A run with an autoencoder, a flow and cells."""
    folder = runs.path("run")
    run = f"--run.folder={folder}"
    runs.must("ingest", 1, *ingest, run)
    runs.must("train-vae", 1, *VAE, run)
    runs.must("train-diffusion", 1, *FLOW, run, "--diffusion.label=cell_type,condition")
    runs.must("generate", 1, run)
    return folder


@pytest.fixture(scope="module")
def elsewhere(runs, here):
    """The settings of a run that takes its inputs from the first one and writes in its own folder."""
    return [f"--run.base={here}", f"--run.folder={runs.path('elsewhere')}"]


@pytest.fixture(scope="module")
def strangers(runs):
    """What a user may have lying about: a pipe, and a folder that holds another one."""
    os.mkfifo(runs.path("pipe"))
    os.makedirs(runs.path("mine", "thesis"))
    return runs.folder


@refusals(
    (2, "which is read", "generate", 2, "--generate.output={here}/atlas.h5ad"),
    (2, "would replace", "generate", 2, "--generate.output={here}/atlas.h5ad", "--generate.cells=4"),
    (2, "which is read", "train-vae", 2, *VAE, "--vae.latents={here}/../run/atlas.h5ad", "--vae.steps=4"),
    (2, "which is read", "report", 1, "--report.page={here}/atlas.h5ad"),
    (2, "would replace", "train-vae", 1, *VAE, "--vae.folder={here}", "--vae.steps=4"),
    (2, "no file that could be replaced", "generate", 1, "--generate.output={place}/simulate", "--generate.cells=4"),
    (2, "no file that could be replaced", "generate", 1, "--generate.output={place}/pipe", "--generate.cells=4"),
    (2, "holds 'thesis', which would be lost", "train-vae", 2, *VAE, "--vae.folder={place}/mine"),
    (2, "holds 'scldm.safetensors', which would be lost", "train-vae", 1, *VAE, "--vae.folder={here}/flow"),
)
def test_an_output_replaces_nothing_but_a_file_or_a_model_of_its_kind(
    runs, here, elsewhere, strangers, code, says, verb, ranks, settings
):
    before = digest(here, "atlas.h5ad")
    own = elsewhere if "would be lost" in says else [f"--run.folder={here}"]
    runs.refused(code, says, verb, ranks, *own, *filled(settings, here=here, place=strangers))
    assert os.path.isdir(runs.path("mine", "thesis")) and digest(here, "atlas.h5ad") == before


def test_an_output_replaces_a_file_of_its_kind_in_a_folder_that_is_made(runs, elsewhere):
    made = runs.path("new", "deep", "cells.h5ad")
    for count in (4, 5):  # the second replaces the first
        asked = [f"--generate.output={made}", "--generate.only=t1/treated", f"--generate.cells={count}"]
        runs.must("generate", 1, *elsewhere, *asked)
        assert len(ad.read_h5ad(made)) == count


@refusals(
    (2, "diffusion.tokens is 0", "train-diffusion", 1, *FLOW, "--diffusion.tokens=0"),
    (2, "is named twice", "train-diffusion", 1, *FLOW, "--diffusion.label=cell_type,cell_type"),
    (
        2,
        "diffusion.leave_out leaves no cell",
        "train-diffusion",
        1,
        *FLOW,
        "--diffusion.label=condition",
        "--diffusion.leave_out=control,treated",
    ),
    (2, "diffusion.leave_out is for scldm", "train-diffusion", 1, *FLOW, *DENOISER, "--diffusion.leave_out=t1"),
    (2, "diffusion.unlabelled is 1", "train-diffusion", 1, *FLOW, "--diffusion.unlabelled=1"),
    (2, "run.device is 'tpu'", "train-vae", 1, *VAE, "--run.device=tpu"),
    *[
        (2, "computes on CPUs alone", verb, 2, "--run.device=cuda")
        for verb in ("train-vae", "train-diffusion", "generate", "evaluate-generated")
    ],
    (
        2,
        "hidden layer of width 33",
        "train-diffusion",
        2,
        "--diffusion.model=scdg",
        "--diffusion.hidden=64,33",
        "--diffusion.features={here}/latents.h5ad",
    ),
    *[
        (2, "it must be finite and not negative", "generate", 1, f"--generate.weight={weight}")
        for weight in ("nan", "inf", "-1")
    ],
    (2, "joint conditioning of 2 columns takes 1", "generate", 1, "--generate.weight=3,1"),
    (2, "must be at least", "evaluate-generated", 1, "--evaluate_generated.genes=0"),
    (2, "must be at least", "evaluate-generated", 1, "--evaluate_generated.components=0"),
)
def test_settings_that_cannot_be_are_refused(runs, here, elsewhere, code, says, verb, ranks, settings):
    runs.refused(code, says, verb, ranks, *elsewhere, *filled(settings, here=here))


def drawn(runs, elsewhere, name):
    """The settings that draw two cells from a flow of that name."""
    return [*elsewhere, f"--generate.generator={runs.path(name)}", "--generate.cells=2"]


@pytest.fixture(scope="module")
def no_t1(runs, elsewhere):
    left_out = ["--diffusion.conditioning=summed", "--diffusion.leave_out=t1/treated,t1/control"]
    to = ["--diffusion.label=cell_type,condition", f"--diffusion.generator={runs.path('no-t1')}"]
    runs.must("train-diffusion", 1, *FLOW, *elsewhere, *left_out, *to)
    return drawn(runs, elsewhere, "no-t1")


@pytest.fixture(scope="module")
def labelled(runs, elsewhere):
    to = f"--diffusion.generator={runs.path('labelled')}"
    runs.must("train-diffusion", 1, *FLOW, *elsewhere, "--diffusion.unlabelled=0", to)
    return drawn(runs, elsewhere, "labelled")


def test_a_class_none_of_whose_cells_were_seen_is_not_drawn(runs, no_t1):
    says = "'t1/control' is not among what the generator was trained on"
    runs.refused(2, says, "generate", 1, *no_t1, "--generate.only=t1/control")
    runs.must("generate", 1, *no_t1)
    assert "t1" not in set(ad.read_h5ad(runs.path("elsewhere", "generated.h5ad")).obs["cell_type"])


def test_a_flow_that_saw_labelled_cells_alone_is_not_guided(runs, labelled):
    runs.refused(2, "cannot be guided", "generate", 1, *labelled, "--generate.weight=2")
    runs.must("generate", 1, *labelled)


def test_a_damaged_flow_is_refused(runs, here, elsewhere):
    shutil.copytree(os.path.join(here, "flow"), runs.path("damaged"))
    with open(runs.path("damaged", "scldm.safetensors"), "r+b") as file:
        file.seek(-40, os.SEEK_END)
        file.write(b"\0" * 4 + b"\1\2\3\4")
    says = "holds other weights than config.json says"
    runs.refused(65, says, "generate", 1, *drawn(runs, elsewhere, "damaged"))


def test_of_a_flow_and_a_denoiser_one_must_be_named(runs, here):
    runs.must("train-diffusion", 1, *DENOISER, f"--run.folder={here}")
    says = "Name one by generate.generator"
    try:
        runs.refused(2, says, "generate", 1, f"--run.folder={here}", "--generate.cells=2")
    finally:
        shutil.rmtree(os.path.join(here, "denoiser"))


def test_cells_are_scored_for_the_columns_they_were_drawn_for(runs, here, elsewhere):
    runs.must("evaluate-generated", 1, *elsewhere, f"--evaluate_generated.generated={here}/generated.h5ad")
    assert b'"t1/treated"' in read_bytes(runs.path("elsewhere", "generation.json"))


def test_cells_of_another_split_are_neither_scored_nor_drawn(runs, ingest, here, elsewhere):
    split = f"--run.folder={runs.path('split')}"
    runs.must("ingest", 1, *ingest, "--run.seed=7", split)
    generated = f"--evaluate_generated.generated={here}/generated.h5ad"
    runs.refused(65, "of another atlas", "evaluate-generated", 2, split, generated)
    other = [f"--generate.generator={here}/flow", f"--generate.atlas={runs.path('split', 'atlas.h5ad')}"]
    runs.refused(65, "was not trained on", "generate", 2, *elsewhere, *other)


def test_cells_are_not_scored_beside_another_autoencoder(runs, here):
    runs.must("train-vae", 1, *VAE, f"--run.folder={here}", "--vae.steps=6")  # the last case: it replaces the first
    runs.refused(65, "was drawn with another autoencoder", "evaluate-generated", 2, f"--run.folder={here}")
