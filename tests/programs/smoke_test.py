"""Every program runs once on two ranks and makes what it should; the whole of its behaviour is in the other tests."""

import os

import pytest
from foundation_runs import SMALL

STAGES = {  # settings, and what is made
    "ingest": (["--ingest.input={cells}", "--ingest.label=cell_type"], "atlas.h5ad"),
    "train-foundation": (SMALL, "foundation/encoder.safetensors"),
    "embed": ([], "features.h5ad"),
    "train-diffusion": (["--diffusion.steps=10", "--diffusion.hidden=32,32,16,16"], "generator/scdg.safetensors"),
    "distill": (["--distill.spc=1", "--distill.iterations=2", "--distill.score_steps=0"], "distilled.h5ad"),
    "evaluate": (["--head.epochs=5", "--evaluate.heads=1", "--evaluate.rows=full,random,distilled"], "results.json"),
    "train-vae": (["--vae.model=scvi", "--vae.steps=10"], "latents.h5ad"),
    "generate": (["--generate.generator={flow}", "--generate.cells=4", "--generate.tolerance=0.01"], "generated.h5ad"),
    "evaluate-generated": (["--evaluate_generated.components=4"], "generation.json"),
    "report": ([], "report.html"),
    "measure": (["--measure.bytes=1024", "--measure.file_bytes=1MB"], "measure.json"),
}


@pytest.fixture(scope="module")
def folder(runs):
    """One run folder for all, as a user has it. A flow beside the generator is for cells."""
    return runs.path("run")


@pytest.fixture(scope="module")
def cells(runs):
    return runs.simulate_h5ad("cells.h5ad", "--simulate.cells=200", "--simulate.genes=100")


def flow_of(runs, folder):
    flow = runs.path("flow")
    small = ["--diffusion.model=scldm", "--diffusion.tokens=2", "--diffusion.width=32", "--diffusion.blocks=1"]
    runs.must(
        "train-diffusion",
        2,
        *small,
        "--diffusion.heads=2",
        "--diffusion.steps=5",
        f"--diffusion.generator={flow}",
        f"--run.base={folder}",
        f"--run.folder={runs.path('flow-run')}",
    )
    return flow


@pytest.mark.parametrize("verb", STAGES)
def test_a_program_runs(runs, cells, folder, verb):
    settings, made = STAGES[verb]
    flow = flow_of(runs, folder) if verb == "generate" else ""
    filled = [setting.format(cells=cells, flow=flow) for setting in settings]
    runs.must(verb, 2, *filled, f"--run.folder={folder}")
    assert os.path.exists(os.path.join(folder, made))


def test_every_program_is_here(programs):
    built = {name.removeprefix("retort-") for name in os.listdir(programs) if name.startswith("retort-")}
    assert built == {*STAGES, "simulate"}
