"""Runs retort-ingest as a user does, and says what the atlas should hold; shared by the ingest tests."""

import os
import subprocess
import sys

import anndata as ad
import numpy as np
import scanpy as sc
import scipy.sparse as sp
from foundation_runs import Runs

LABEL = ("--ingest.label", "type")

# A small process starts the command: a child's peak begins with that of the process which forked it.
WATCHED = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[2:]).returncode
with open(sys.argv[1], "w") as peak:
    peak.write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024))
sys.exit(code)
"""


class IngestRuns(Runs):
    """Each run has a folder of its own, if none is given."""

    def __init__(self, programs, mpirun):
        super().__init__(programs, mpirun)
        self.count = 0

    def ingested(self, ranks, inputs, *settings, folder=None):
        """Returns the finished process, with the `peak` bytes of its largest rank, and the path of the atlas."""
        self.count += 1
        folder = folder or self.path(f"run{self.count}")
        command = [self.mpirun, "-n", str(ranks), self.program("ingest"), "--run.folder", folder, *settings]
        if inputs:
            command += ["--ingest.input", ",".join(inputs)]
        peak = self.path("peak")
        watched = [sys.executable, "-S", "-c", WATCHED, peak, *command]
        done = subprocess.run(watched, capture_output=True, text=True, timeout=200)
        with open(peak) as file:
            done.peak = int(file.read())
        return done, os.path.join(folder, "atlas.h5ad")

    def atlas(self, ranks, inputs, *settings):
        done, atlas = self.ingested(ranks, inputs, *settings)
        assert done.returncode == 0, f"exit {done.returncode}\n{done.stdout}{done.stderr}"
        return ad.read_h5ad(atlas), done


def counts(cells, genes, seed=0, density=0.15, largest=200):
    """A CSR matrix of whole counts, with poor cells and rare genes for the filters to drop."""
    random = np.random.default_rng(seed)
    x = random.integers(1, largest, (cells, genes)) * (random.random((cells, genes)) < density)
    x[:: max(7, cells // 6)] = 0  # cells without counts
    x[1 :: max(9, cells // 5), 1:] = 0  # cells with few
    x[:, genes // 2 : genes // 2 + 3] = 0  # genes seen nowhere, once, twice
    x[2, genes // 2 + 1] = 5
    x[2:4, genes // 2 + 2] = 5
    return sp.csr_matrix(x.astype(np.float32))


def data(x, prefix="G", labels=("a", "b", "c"), seed=1):
    random = np.random.default_rng(seed)
    adata = ad.AnnData(x.copy())
    adata.var_names = [f"{prefix}{i}" for i in range(x.shape[1])]
    adata.obs_names = [f"cell{i}" for i in range(x.shape[0])]
    adata.obs["type"] = random.choice(np.array(labels), x.shape[0])
    adata.obs["type"] = adata.obs["type"].astype("category")
    adata.obs["depth"] = random.random(x.shape[0])
    return adata


def filtered(adata, min_counts=10, min_cells=3):
    """What scanpy keeps."""
    adata = adata.copy()
    adata.obs["row"] = np.arange(adata.n_obs)
    sc.pp.filter_cells(adata, min_counts=min_counts)
    if min_cells:
        sc.pp.filter_genes(adata, min_cells=min_cells)
    return adata


def dense(x):
    return np.asarray(x.todense() if sp.issparse(x) else x)


def same(atlas, expected, columns=("type",)):
    """The atlas, put back in the order of its input, equals `expected` value by value."""
    back = atlas[np.argsort(atlas.obs["source_row"].to_numpy())]
    assert list(back.obs["source_row"]) == list(expected.obs["row"]), "other cells were kept"
    assert list(back.var_names) == list(expected.var_names), (list(back.var_names)[:5], list(expected.var_names)[:5])
    np.testing.assert_array_equal(dense(back.X).astype(np.float64), dense(expected.X).astype(np.float64))
    for column in columns:
        assert list(back.obs[column].astype(str)) == list(expected.obs[column].astype(str)), column
