"""Autoencoders, denoisers and the drawing of cells that are stopped or killed go on to the same bytes, on another number of ranks."""

import os
import signal
import subprocess

from foundation_runs import Runs, read_bytes
from survive_runs import checkpoints, kill_all, pids_of, wait_for

VAE = [
    "--vae.width=8",
    "--vae.tokens=4",
    "--vae.latent=4",
    "--vae.blocks=1",
    "--vae.heads=2",
    "--vae.cross_heads=2",
    "--vae.batch=16",
    "--vae.scvi_hidden=24",
    "--vae.scvi_latent=6",
]
NETWORK = [
    "--diffusion.tokens=4",
    "--diffusion.width=32",
    "--diffusion.blocks=1",
    "--diffusion.heads=2",
    "--diffusion.genes=60",
    "--diffusion.batch=16",
    "--diffusion.ema=0.99",
]
FLOW = [
    *NETWORK,
    "--diffusion.model=scldm",
    "--diffusion.label=cell_type,condition",
    "--diffusion.conditioning=additive",
]
CASES = {  # verb, settings, what is made
    "scvi": ("train-vae", [*VAE, "--vae.model=scvi", "--vae.steps=600"], ["vae/scvi_vae.safetensors", "latents.h5ad"]),
    "flow": ("train-diffusion", [*FLOW, "--diffusion.steps=300"], ["flow/scldm.safetensors"]),
    "denoiser": (
        "train-diffusion",
        [*NETWORK, "--diffusion.model=scrdit", "--diffusion.standardise=true", "--diffusion.steps=300"],
        ["denoiser/scrdit.safetensors"],
    ),
    "cells": (
        "generate",
        ["--generate.weight=2", "--generate.solver=heun", "--generate.steps=100", "--generate.cells=120"],
        ["generated.h5ad"],
    ),
    "expression": (
        "generate",
        ["--generate.generator=DENOISER", "--generate.stride=2", "--generate.cells=120"],
        ["generated.h5ad"],
    ),
}
EVERY = "--run.checkpoint_steps=2"

with Runs() as runs:
    here = runs.path("run")
    runs.must(
        "ingest",
        2,
        f"--ingest.input={runs.simulate('cells.h5ad')}",
        "--ingest.label=cell_type,condition",
        f"--run.folder={here}",
    )
    runs.must("train-vae", 2, *VAE, "--vae.steps=20", f"--run.folder={here}")
    runs.must("train-diffusion", 2, *FLOW, "--diffusion.steps=20", f"--run.folder={here}")
    denoiser = f"--diffusion.generator={runs.path('denoiser')}"
    runs.must(
        "train-diffusion",
        2,
        *NETWORK,
        "--diffusion.model=scrdit",
        "--diffusion.steps=20",
        denoiser,
        f"--run.base={here}",
        f"--run.folder={runs.path('other')}",
    )

    for name, (verb, settings, products) in CASES.items():
        own = [setting.replace("DENOISER", runs.path("denoiser")) for setting in settings]

        def command(ranks, folder, *more):
            return [
                runs.mpirun,
                "-n",
                str(ranks),
                os.path.join(runs.programs, "retort-" + verb),
                *own,
                f"--run.base={here}",
                f"--run.folder={folder}",
                *more,
            ]

        def finish(ranks, folder, *more):
            done = subprocess.run(command(ranks, folder, *more), capture_output=True, text=True, timeout=180)
            assert done.returncode == 0, (name, done.returncode, done.stderr)
            return done.stderr

        def started(ranks, folder):
            """A run that is in its loop."""
            process = subprocess.Popen(
                command(ranks, folder, EVERY), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
            wait_for(lambda: checkpoints(folder, verb) and len(pids_of(folder)) == ranks, process)
            return process

        made = lambda folder: [read_bytes(folder, product) for product in products]
        whole = runs.path(f"{name}-whole")
        finish(1, whole)

        stopped = runs.path(f"{name}-stopped")
        process = started(2, stopped)
        if verb == "generate":  # which rank 0 alone sees: it gives its block up, the other one ends its own
            open(os.path.join(stopped, "STOP"), "w").close()
        else:
            process.send_signal(signal.SIGUSR2)
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 75 and "goes on from there" in errors, (name, process.returncode, errors)
        others = ["--run.shards=8"] if verb == "generate" else []  # as more ranks would have: of no effect there
        assert "goes on from step" in finish(3, stopped, *others) and checkpoints(stopped, verb) == []

        killed = runs.path(f"{name}-killed")
        kill_all(killed, started(2, killed))
        assert not os.path.exists(os.path.join(killed, products[0])) and "goes on from step" in finish(1, killed)
        assert made(whole) == made(stopped) == made(killed), f"{name}: another result after a stop"
    print("passed")
