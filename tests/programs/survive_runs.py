"""Programs that are stopped, killed and started again; shared by the tests of survival."""

import contextlib
import os
import signal
import subprocess
import time

from foundation_runs import SMALL, Runs, digest, read_bytes

# Long enough to be cut, short enough for many cuts.
SETTINGS = {
    "train-foundation": [
        "--foundation.hidden=48,40",
        "--foundation.latent=16",
        "--foundation.batch=32",
        "--foundation.steps=500",
        "--run.shards=4",
    ],
    "train-diffusion": [
        "--diffusion.steps=900",
        "--diffusion.ema=0.99",
        "--diffusion.hidden=64,64,32,32",
        "--run.shards=4",
    ],
    "train-vae": [
        "--vae.width=8",
        "--vae.tokens=4",
        "--vae.latent=4",
        "--vae.blocks=1",
        "--vae.heads=2",
        "--vae.cross_heads=2",
        "--vae.batch=16",
        "--vae.steps=250",
        "--run.shards=4",
    ],
    "distill": [
        "--distill.variants=scdd,cells",
        "--distill.matchings=dm,dc,head+genes",
        "--distill.head_steps=20",
        "--distill.spc=1,12",
        "--distill.iterations=24",
        "--distill.score_steps=0,12",
        "--distill.rates=0.01,0.05",
        "--head.epochs=10",
        "--run.shards=4",
    ],
}
WEIGHTS = {
    "train-foundation": ["again/encoder.safetensors", "again/decoder.safetensors"],
    "train-diffusion": ["again_generator/scdg.safetensors"],
    "train-vae": ["vae/scldm_vae.safetensors", "latents.h5ad"],
}


class SurviveRuns(Runs):
    def prepare(self, name):
        """A run folder with all that the programs read."""
        folder = self.path(name)
        self.ingest(2, self.simulate_h5ad("cells.h5ad"), folder)
        self.must("train-foundation", 2, *SMALL, f"--run.folder={folder}")
        self.must("embed", 2, f"--run.folder={folder}")
        self.must("train-diffusion", 2, *SETTINGS["train-diffusion"], f"--run.folder={folder}")
        return folder

    def command(self, verb, ranks, folder, *more):
        inputs = []
        if verb == "train-foundation":  # its product is another folder, because the later programs read the first one's
            inputs = [f"--foundation.model={folder}/again"]
        if verb == "train-diffusion":
            inputs = [f"--diffusion.generator={folder}/again_generator"]
        return [
            self.mpirun,
            "-n",
            str(ranks),
            self.program(verb),
            *SETTINGS[verb],
            *inputs,
            f"--run.folder={folder}",
            *more,
        ]

    def start(self, verb, ranks, folder, *more, **environment):
        return subprocess.Popen(
            self.command(verb, ranks, folder, *more),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
        )

    def started_loop(self, verb, ranks, folder, *more):
        """A run whose loop has begun."""
        steps = os.path.join(folder, verb, "steps.tsv")
        if os.path.exists(steps):
            os.remove(steps)
        process = self.start(verb, ranks, folder, *more)
        wait_for(lambda: os.path.exists(steps) and len(pids_of(folder)) == ranks, process)
        return process

    def finish(self, verb, ranks, folder, *more):
        done = subprocess.run(self.command(verb, ranks, folder, *more), capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, f"{verb} exit {done.returncode}\n{done.stderr}"
        return done

    @staticmethod
    def made(verb, folder):
        """The digests of what a stage makes."""
        names = WEIGHTS.get(verb) or [
            os.path.join("distilled", name) for name in sorted(os.listdir(os.path.join(folder, "distilled")))
        ] + ["distilled.h5ad"]
        return {name: digest(folder, name) for name in names}


def pids_of(folder):
    """Processes of the ranks that work in a folder, oldest first."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = read_bytes("/proc", pid, "cmdline").decode().split("\0")
        except OSError:
            continue
        if os.path.basename(words[0]).startswith("retort-") and f"--run.folder={folder}" in words:
            found.append(int(pid))
    return sorted(found)


def kill_all(folder, process):
    """As a node dies: every rank and its launcher at once."""
    for pid in [*pids_of(folder), process.pid]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.communicate()


def checkpoints(folder, verb):
    place = os.path.join(folder, verb, "checkpoints")
    steps = (
        [int(name[5:]) for name in os.listdir(place) if name.startswith("step-") and name[5:].isdigit()]
        if os.path.isdir(place)
        else []
    )
    return sorted(steps)


def wait_for(what, process, seconds=30):
    """Polls until `what()` is true; the process must live that long."""
    end = time.monotonic() + seconds
    while not what():
        assert process.poll() is None, "ended early:\n" + process.communicate()[1]
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)
