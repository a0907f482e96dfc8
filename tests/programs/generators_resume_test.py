"""Autoencoders, denoisers and the drawing of cells that are stopped or killed go on to the same bytes, on another
number of ranks."""

import os
import signal
import subprocess

import pytest
from foundation_runs import Runs, digest
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


@pytest.fixture(scope="module")
def base(runs):
    """An autoencoder, a flow, and in another folder a denoiser."""
    here = runs.path("run")
    runs.ingest(2, runs.simulate("cells.h5ad"), here, label="cell_type,condition")
    runs.must("train-vae", 2, *VAE, "--vae.steps=20", f"--run.folder={here}")
    runs.must("train-diffusion", 2, *FLOW, "--diffusion.steps=20", f"--run.folder={here}")
    denoiser = [*NETWORK, "--diffusion.model=scrdit", "--diffusion.steps=20"]
    to = [f"--diffusion.generator={runs.path('denoiser')}", f"--run.base={here}", f"--run.folder={runs.path('other')}"]
    runs.must("train-diffusion", 2, *denoiser, *to)
    return here


class Case:
    """One kind of run, which can be begun, stopped and finished in any folder."""

    def __init__(self, runs: Runs, base, name):
        self.runs, self.base, self.name = runs, base, name
        self.verb, settings, self.products = CASES[name]
        self.settings = [setting.replace("DENOISER", runs.path("denoiser")) for setting in settings]
        self.whole = runs.path(f"{name}-whole")

    def command(self, ranks, folder, *more):
        places = [f"--run.base={self.base}", f"--run.folder={folder}"]
        return [self.runs.mpirun, "-n", str(ranks), self.runs.program(self.verb), *self.settings, *places, *more]

    def finish(self, ranks, folder, *more):
        done = subprocess.run(self.command(ranks, folder, *more), capture_output=True, text=True, timeout=180)
        assert done.returncode == 0, (done.returncode, done.stderr)
        return done.stderr

    def started(self, ranks, folder):
        """A run that is in its loop."""
        command = self.command(ranks, folder, EVERY)
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        wait_for(lambda: checkpoints(folder, self.verb) and len(pids_of(folder)) == ranks, process)
        return process

    def made(self, folder):
        return [digest(folder, product) for product in self.products]


@pytest.fixture(scope="module", params=CASES)
def case(request, runs, base):
    made = Case(runs, base, request.param)
    made.finish(1, made.whole)
    return made


def test_a_stopped_run_goes_on_to_the_same_bytes(runs, case):
    stopped = runs.path(f"{case.name}-stopped")
    process = case.started(2, stopped)
    if case.verb == "generate":  # which rank 0 alone sees: it gives its block up, the other one ends its own
        open(os.path.join(stopped, "STOP"), "w").close()
    else:
        process.send_signal(signal.SIGUSR2)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 75 and "goes on from there" in errors, (process.returncode, errors)
    others = ["--run.shards=8"] if case.verb == "generate" else []  # as more ranks would have: of no effect there
    assert "goes on from step" in case.finish(3, stopped, *others) and checkpoints(stopped, case.verb) == []
    assert case.made(stopped) == case.made(case.whole), "another result after a stop"


def test_a_killed_run_goes_on_to_the_same_bytes(runs, case):
    killed = runs.path(f"{case.name}-killed")
    kill_all(killed, case.started(2, killed))
    assert not os.path.exists(os.path.join(killed, case.products[0]))
    assert "goes on from step" in case.finish(1, killed)
    assert case.made(killed) == case.made(case.whole), "another result after a kill"
