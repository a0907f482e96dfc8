"""Runs the programs as a user does, and reads what they made; shared by the tests."""

import hashlib
import json
import os
import shutil
import struct
import subprocess
import tempfile

import anndata as ad
import numpy as np
import pytest

SMALL = [
    "--foundation.hidden=48,40",
    "--foundation.latent=16",
    "--foundation.batch=32",
    "--foundation.steps=12",
    "--run.shards=4",
]


class Runs:
    """Runs programs in a folder of their own, which goes at the end."""

    def __init__(self, programs, mpirun):
        self.programs, self.mpirun = programs, mpirun
        self.folder = tempfile.mkdtemp(prefix="retort_test_")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.folder)

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def program(self, verb):
        return os.path.join(self.programs, "retort-" + verb)

    def run(self, verb, ranks, *settings, **environment):
        command = [self.mpirun, "-n", str(ranks), self.program(verb), *settings]
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

    def simulate(self, name, *settings):
        """An atlas of 600 cells x 300 genes of 4 types, if the settings say nothing else."""
        small = ["--simulate.cells=600", "--simulate.genes=300", "--simulate.types=4"]
        folder = self.path("simulate")
        output = f"--simulate.output={self.path(name)}"
        self.must("simulate", 1, *small, *settings, output, f"--run.folder={folder}")
        return self.path(name)

    def simulate_h5ad(self, name, *settings):
        """The same cells as the h5ad of a stranger."""
        return self.simulate(name, "--simulate.format=h5ad", *settings)

    def ingest(self, ranks, cells, folder, *settings, label="cell_type"):
        self.must(
            "ingest", ranks, f"--ingest.input={cells}", f"--ingest.label={label}", f"--run.folder={folder}", *settings
        )
        return os.path.join(folder, "atlas.h5ad")

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


def refusals(*rows):
    """One case for each (exit code, what the one line says, program, ranks, settings...); {places} are filled in."""
    cases = [(*row[:4], row[4:]) for row in rows]
    names = [f"{verb}: {says}" for _, says, verb, *_ in rows]
    return pytest.mark.parametrize("code, says, verb, ranks, settings", cases, ids=names)


def filled(settings, **places):
    return [setting.format(**places) for setting in settings]


def read_bytes(*names):
    with open(os.path.join(*names), "rb") as file:
        return file.read()


def read_json(*names):
    with open(os.path.join(*names)) as file:
        return json.load(file)


def digest(*names):
    """What stands for the bytes of a file when files are compared: a difference is told in one line."""
    return hashlib.sha256(read_bytes(*names)).hexdigest()


def products(folder):
    """The digests of all that a run made."""
    return {
        os.path.relpath(os.path.join(root, name), folder): digest(root, name)
        for root, _, files in os.walk(folder)
        for name in files
        if name.endswith((".h5ad", ".safetensors"))
    }


def weights(folder):
    return [digest(folder, name) for name in ("encoder.safetensors", "decoder.safetensors")]


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
