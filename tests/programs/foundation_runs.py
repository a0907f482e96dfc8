"""Runs the foundation programs as a user does; shared by their tests."""

import argparse
import json
import os
import shutil
import struct
import subprocess
import tempfile

import anndata as ad
import numpy as np

SMALL = [
    "--foundation.hidden=48,40",
    "--foundation.latent=16",
    "--foundation.batch=32",
    "--foundation.steps=12",
    "--run.shards=4",
]


class Runs:
    def __init__(self):
        parser = argparse.ArgumentParser()
        parser.add_argument("--programs", required=True)
        parser.add_argument("--mpirun", required=True)
        given = parser.parse_args()
        self.programs, self.mpirun = given.programs, given.mpirun
        self.folder = tempfile.mkdtemp(prefix="retort_foundation_")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.folder)

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def run(self, verb, ranks, *settings, **environment):
        command = [self.mpirun, "-n", str(ranks), os.path.join(self.programs, "retort-" + verb), *settings]
        return subprocess.run(command, capture_output=True, text=True, timeout=100, env={**os.environ, **environment})

    def must(self, verb, ranks, *settings):
        done = self.run(verb, ranks, *settings)
        assert done.returncode == 0, f"{verb} exit {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def refused(self, code, text, verb, ranks, *settings):
        """The one line of an agreed failure."""
        done = self.run(verb, ranks, *settings)
        lines = [line for line in done.stderr.splitlines() if "error:" in line and not line.startswith("mpirun")]
        assert done.returncode == code, f"exit {done.returncode}, not {code}\n{done.stderr}"
        assert len(lines) == 1 and text in lines[0], f"not one line with '{text}':\n{done.stderr}"

    def simulate(self, name):
        self.must(
            "simulate",
            1,
            "--simulate.cells=600",
            "--simulate.genes=300",
            "--simulate.types=4",
            f"--simulate.output={self.path(name)}",
            f"--run.folder={self.path('simulate')}",
        )
        return self.path(name)

    def train(self, name, ranks, atlas, *settings):
        self.must(
            "train-foundation",
            ranks,
            *SMALL,
            f"--foundation.atlas={atlas}",
            "--foundation.label=cell_type",
            f"--run.folder={self.path(name)}",
            *settings,
        )
        return self.path(name, "foundation")


def read_bytes(*names):
    with open(os.path.join(*names), "rb") as file:
        return file.read()


def weights(folder):
    return [read_bytes(folder, name) for name in ("encoder.safetensors", "decoder.safetensors")]


def tensors(folder, name):
    """safetensors, read as the format says."""
    data = read_bytes(folder, name)
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + length])
    types = {"F32": np.float32, "I64": np.int64}
    return {
        key: np.frombuffer(
            data,
            types[entry["dtype"]],
            count=int(np.prod(entry["shape"])),
            offset=8 + length + entry["data_offsets"][0],
        ).reshape(entry["shape"])
        for key, entry in header.items()
        if key != "__metadata__"
    }


def log_normalised(atlas):
    x = np.asarray(ad.read_h5ad(atlas).X.todense(), dtype=np.float64)
    return np.log1p(x / np.maximum(x.sum(1, keepdims=True), 1) * 1e4)


def encode(folder, x):
    """The encoder as SCimilarity's code runs it in eval mode, in float64."""
    w = {key: value.astype(np.float64) for key, value in tensors(folder, "encoder.safetensors").items()}
    layer = 0
    while f"network.{layer}.1.weight" in w:
        p = f"network.{layer}."
        x = x @ w[p + "1.weight"].T + w[p + "1.bias"]
        x = (x - w[p + "2.running_mean"]) / np.sqrt(w[p + "2.running_var"] + 1e-5) * w[p + "2.weight"] + w[p + "2.bias"]
        x = np.where(x >= 0, x, w[p + "3.weight"] * x)
        layer += 1
    x = x @ w[f"network.{layer}.weight"].T + w[f"network.{layer}.bias"]
    return x / np.linalg.norm(x, axis=1, keepdims=True)
