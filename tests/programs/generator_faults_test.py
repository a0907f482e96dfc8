"""What the generators' programs refuse, so that no file is lost and no cell comes of what was never trained."""

import os
import shutil

import anndata as ad
from foundation_runs import Runs, read_bytes

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

with Runs() as runs:
    cells, here = runs.simulate("cells.h5ad"), runs.path("run")
    ingest = [f"--ingest.input={cells}", "--ingest.label=cell_type,condition"]
    runs.must("ingest", 1, *ingest, f"--run.folder={here}")
    run = f"--run.folder={here}"
    runs.must("train-vae", 1, *VAE, run)
    runs.must("train-diffusion", 1, *FLOW, run, "--diffusion.label=cell_type,condition")
    runs.must("generate", 1, run)
    atlas = os.path.join(here, "atlas.h5ad")
    elsewhere = [f"--run.base={here}", f"--run.folder={runs.path('elsewhere')}"]

    # An output replaces a file of its kind or a model of its kind, in a folder that is made where it is missing, and nothing else.
    before = read_bytes(atlas)
    runs.refused(2, "which is read", "generate", 2, run, f"--generate.output={atlas}")
    runs.refused(2, "would replace", "generate", 2, run, f"--generate.output={atlas}", "--generate.cells=4")
    runs.refused(
        2, "which is read", "train-vae", 2, *VAE, run, f"--vae.latents={here}/../run/atlas.h5ad", "--vae.steps=4"
    )
    runs.refused(2, "which is read", "report", 1, run, f"--report.page={atlas}")
    runs.refused(2, "would replace", "train-vae", 1, *VAE, run, f"--vae.folder={here}", "--vae.steps=4")
    runs.refused(
        2,
        "no file that could be replaced",
        "generate",
        1,
        run,
        f"--generate.output={runs.path('simulate')}",
        "--generate.cells=4",
    )
    os.mkfifo(runs.path("pipe"))
    runs.refused(
        2,
        "no file that could be replaced",
        "generate",
        1,
        run,
        f"--generate.output={runs.path('pipe')}",
        "--generate.cells=4",
    )
    os.makedirs(runs.path("mine", "thesis"))
    runs.refused(
        2, "holds 'thesis', which would be lost", "train-vae", 2, *VAE, *elsewhere, f"--vae.folder={runs.path('mine')}"
    )
    runs.refused(
        2,
        "holds 'scldm.safetensors', which would be lost",
        "train-vae",
        1,
        *VAE,
        *elsewhere,
        f"--vae.folder={here}/flow",
    )
    assert os.path.isdir(runs.path("mine", "thesis")) and read_bytes(atlas) == before
    made = runs.path("new", "deep", "cells.h5ad")
    for count in (4, 5):  # the second replaces the first
        runs.must(
            "generate",
            1,
            *elsewhere,
            f"--generate.output={made}",
            "--generate.only=t1/treated",
            f"--generate.cells={count}",
        )
        assert len(ad.read_h5ad(made)) == count

    # Settings that cannot be.
    train = [*FLOW, *elsewhere]
    runs.refused(2, "diffusion.tokens is 0", "train-diffusion", 1, *train, "--diffusion.tokens=0")
    runs.refused(2, "is named twice", "train-diffusion", 1, *train, "--diffusion.label=cell_type,cell_type")
    runs.refused(
        2,
        "diffusion.leave_out leaves no cell",
        "train-diffusion",
        1,
        *train,
        "--diffusion.label=condition",
        "--diffusion.leave_out=control,treated",
    )
    runs.refused(
        2, "diffusion.leave_out is for scldm", "train-diffusion", 1, *train, *DENOISER, "--diffusion.leave_out=t1"
    )
    runs.refused(2, "diffusion.unlabelled is 1", "train-diffusion", 1, *train, "--diffusion.unlabelled=1")
    runs.refused(2, "run.device is 'tpu'", "train-vae", 1, *VAE, *elsewhere, "--run.device=tpu")
    for verb in ("train-vae", "train-diffusion", "generate", "evaluate-generated"):
        runs.refused(2, "computes on CPUs alone", verb, 2, *elsewhere, "--run.device=cuda")
    runs.refused(
        2,
        "hidden layer of width 33",
        "train-diffusion",
        2,
        *elsewhere,
        "--diffusion.model=scdg",
        "--diffusion.hidden=64,33",
        f"--diffusion.features={here}/latents.h5ad",
    )
    for weight in ("nan", "inf", "-1"):
        runs.refused(2, "it must be finite and not negative", "generate", 1, *elsewhere, f"--generate.weight={weight}")
    runs.refused(2, "joint conditioning of 2 columns takes 1", "generate", 1, *elsewhere, "--generate.weight=3,1")
    for setting in ("genes=0", "components=0"):
        runs.refused(2, "must be at least", "evaluate-generated", 1, *elsewhere, f"--evaluate_generated.{setting}")

    # What was never trained is not drawn: a class none of whose cells were seen, and cells without labels.
    for name, more in (
        (
            "no-t1",
            [
                "--diffusion.conditioning=summed",
                "--diffusion.leave_out=t1/treated,t1/control",
                "--diffusion.label=cell_type,condition",
            ],
        ),
        ("labelled", ["--diffusion.unlabelled=0"]),
    ):
        runs.must("train-diffusion", 1, *train, *more, f"--diffusion.generator={runs.path(name)}")
    of = lambda name: [*elsewhere, f"--generate.generator={runs.path(name)}", "--generate.cells=2"]
    runs.refused(
        2,
        "'t1/control' is not among what the generator was trained on",
        "generate",
        1,
        *of("no-t1"),
        "--generate.only=t1/control",
    )
    runs.must("generate", 1, *of("no-t1"))
    assert "t1" not in set(ad.read_h5ad(runs.path("elsewhere", "generated.h5ad")).obs["cell_type"])
    runs.refused(2, "cannot be guided", "generate", 1, *of("labelled"), "--generate.weight=2")
    runs.must("generate", 1, *of("labelled"))

    # A damaged flow; a flow and a denoiser.
    shutil.copytree(os.path.join(here, "flow"), runs.path("damaged"))
    with open(runs.path("damaged", "scldm.safetensors"), "r+b") as file:
        file.seek(-40, os.SEEK_END)
        file.write(b"\0" * 4 + b"\1\2\3\4")
    runs.refused(65, "holds other weights than config.json says", "generate", 1, *of("damaged"))
    runs.must("train-diffusion", 1, *DENOISER, run)
    runs.refused(2, "Name one by generate.generator", "generate", 1, run, "--generate.cells=2")

    # Cells are scored for the columns they were drawn for, and neither beside another autoencoder nor on another split.
    runs.must("evaluate-generated", 1, *elsewhere, f"--evaluate_generated.generated={here}/generated.h5ad")
    assert b'"t1/treated"' in read_bytes(runs.path("elsewhere", "generation.json"))
    runs.must("ingest", 1, *ingest, "--run.seed=7", f"--run.folder={runs.path('split')}")
    runs.refused(
        65,
        "of another atlas",
        "evaluate-generated",
        2,
        f"--run.folder={runs.path('split')}",
        f"--evaluate_generated.generated={here}/generated.h5ad",
    )
    runs.refused(
        65,
        "was not trained on",
        "generate",
        2,
        *elsewhere,
        f"--generate.generator={here}/flow",
        f"--generate.atlas={runs.path('split', 'atlas.h5ad')}",
    )
    runs.must("train-vae", 1, *VAE, run, "--vae.steps=6")
    runs.refused(65, "was drawn with another autoencoder", "evaluate-generated", 2, run)
    print("passed")
