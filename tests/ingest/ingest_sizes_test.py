"""retort-ingest on any number of ranks and in any memory makes the same file; plans write nothing, and done is done."""

import os
import re

import h5py
import numpy as np
import pytest
import scipy.sparse as sp
from foundation_runs import digest, read_json
from ingest_runs import LABEL, counts, data, filtered


@pytest.mark.parametrize("more", [(), ("--ingest.compression", "gzip")], ids=["plain", "gzip"])
def test_many_ranks_make_the_file_of_one(runs, ranks, more):
    adata = data(counts(3000, 300))
    plain, turned = runs.path("plain.h5ad"), runs.path("turned.h5ad")
    adata.write_h5ad(plain)
    adata.X = sp.csc_matrix(adata.X)
    adata.write_h5ad(turned, compression="gzip")
    made = set()
    for n in {1, ranks}:
        done, atlas = runs.ingested(n, [plain, turned], *LABEL, *more)
        assert done.returncode == 0, done.stderr
        made.add(digest(atlas))
    assert len(made) == 1, "the ranks change the bytes"


def test_small_memory_makes_the_same_file(runs, ranks):
    """Under the least memory that the program accepts, rows pass in windows."""
    x = sp.random(9000, 1200, 0.45, format="csr", dtype=np.float32, random_state=1)
    x.data = np.ceil(x.data * 90)
    adata = data(x)
    plain, turned = runs.path("large.h5ad"), runs.path("large_csc.h5ad")
    adata.write_h5ad(plain)
    adata.X = sp.csc_matrix(x)
    adata.write_h5ad(turned)
    refused, _ = runs.ingested(ranks, [turned], *LABEL, "--cells.memory_limit", "1MB")
    least = int(re.search(r"Set it to (\d+) MB", refused.stderr).group(1)) + 4
    contents = set()
    for file in (plain, turned):
        for limit in ("2GB", f"{least}MB"):
            done, atlas = runs.ingested(ranks, [file], *LABEL, "--cells.memory_limit", limit)
            assert done.returncode == 0, done.stderr
            with h5py.File(atlas) as f:
                contents.add(b"".join(f["X"][name][:].tobytes() for name in ("data", "indices", "indptr")))
            if limit != "2GB":
                assert done.peak <= least * 1.1e6, f"a rank took {done.peak} bytes of {least} MB"
    assert len(contents) == 1, "the memory changes the atlas"


@pytest.fixture(scope="module")
def planned(runs, ranks):
    """Cells, their file, and the folder of a run of which there is a plan."""
    adata, file, folder = data(counts(70, 30)), runs.path("plan.h5ad"), runs.path("plan_run")
    adata.write_h5ad(file)
    done, _ = runs.ingested(ranks, [file], *LABEL, "--dry-run", folder=folder)
    assert done.returncode == 0 and "70 cells x 30 genes" in done.stdout and "memory" in done.stdout, done.stderr
    assert not os.path.exists(folder), "a plan writes nothing"
    return adata, file, folder


@pytest.fixture(scope="module")
def made(runs, ranks, planned):
    adata, file, folder = planned
    _, atlas = runs.ingested(ranks, [file], *LABEL, folder=folder)
    return atlas


def test_the_summary_counts_what_scanpy_keeps(planned, made):
    adata, _, folder = planned
    summary, expected = read_json(folder, "ingest", "summary.json"), filtered(adata)
    assert summary["cells"]["kept"] == expected.n_obs and summary["cells"]["dropped_few_counts"] == 70 - expected.n_obs
    assert summary["genes"]["kept"] == expected.n_vars and summary["nonzeros"] == expected.X.nnz
    assert sum(c["fit"] + c["held_out"] + c["test"] for c in summary["classes"]) == expected.n_obs


def test_a_finished_run_is_not_run_again(runs, ranks, planned, made):
    _, file, folder = planned
    first = os.stat(made).st_mtime_ns
    done, _ = runs.ingested(ranks, [file], *LABEL, folder=folder)
    assert done.returncode == 0 and "already done" in done.stderr and os.stat(made).st_mtime_ns == first
