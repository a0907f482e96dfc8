"""Every broken file ends with its exit code and one line that says what is wrong, on all ranks, without a hang."""

import os
import re
import shutil

import h5py
import numpy as np
import pytest
import scipy.sparse as sp
from ingest_runs import LABEL, counts, data


def edited(edit, storage="csr", **more):
    """Makes a good file that `edit` breaks."""

    def make(runs):
        file, adata = runs.path("broken.h5ad"), data(counts(90, 40))
        if storage == "csc":
            adata.X = sp.csc_matrix(adata.X)
        if storage == "dense":
            adata.X = adata.X.toarray()
        adata.write_h5ad(file, **more)
        with h5py.File(file, "r+") as f:
            edit(f)
        return [file]

    return make


def put(path, row, value):
    def edit(f):
        f[path][row] = value

    return edit


def replace(path, values):
    def edit(f):
        attributes = dict(f[path].attrs) if path in f else {}
        made = values(f) if callable(values) else values
        del f[path]
        f[path] = made
        for key, value in attributes.items():
            f[path].attrs[key] = value

    return edit


def external_link(f):
    del f["X"]
    f["X"] = h5py.ExternalLink("/etc/passwd", "/X")


def soft_link(f):
    f["other"] = f["X/data"][:]
    del f["X/data"]
    f["X/data"] = h5py.SoftLink("/other")


def absurd_shape(f):
    f["X"].attrs["shape"] = np.array([1 << 60, 40])


def absurd_data(f):
    del f["X/data"]
    f.create_dataset("X/data", (1 << 45,), dtype=np.float32, chunks=(1 << 16,))


def damaged(runs):
    """A compressed chunk whose bytes are no longer what deflate made."""
    files = edited(lambda f: None, compression="gzip")(runs)
    with h5py.File(files[0]) as f:
        chunk = f["X/data"].id.get_chunk_info(0)
    with open(files[0], "r+b") as raw:
        raw.seek(chunk.byte_offset + 4)
        raw.write(b"\xff" * (chunk.size - 8))
    return files


def long_name(f):
    names = f["var/_index"][:]
    names[3] = b"G" * 200000
    del f["var/_index"]
    f.create_dataset("var/_index", data=names, dtype=h5py.string_dtype())


def references(f):
    return np.array([f["X"].ref] * 90, dtype=h5py.ref_dtype)


def good(runs):
    file = runs.path("good.h5ad")
    data(counts(90, 40)).write_h5ad(file)
    return [file]


def truncated(share):
    def make(runs):
        cut = runs.path("cut.h5ad")
        shutil.copy(good(runs)[0], cut)
        os.truncate(cut, int(os.path.getsize(cut) * share))
        return [cut]

    return make


def text(runs):
    with open(runs.path("text.h5ad"), "w") as out:
        out.write("cells,genes\n" * 100)
    return [runs.path("text.h5ad")]


def other_genes(runs):
    file = runs.path("other.h5ad")
    data(counts(90, 40), prefix="H").write_h5ad(file)
    return [*good(runs), file]


def counts_and_logs(runs):
    log = data(counts(90, 40))
    log.X = log.X.log1p()
    log.write_h5ad(runs.path("logged.h5ad"))
    return [*good(runs), runs.path("logged.h5ad")]


def barcoded(runs):
    cells = data(counts(90, 40))
    cells.obs["barcode"] = [f"cell {i}" for i in range(cells.n_obs)]
    cells.write_h5ad(runs.path("barcoded.h5ad"))
    return [runs.path("barcoded.h5ad")]


# What is wrong, the exit code, what makes the input, what its line names, and settings.
CASES = [
    ("missing file", 66, lambda runs: [runs.path("absent.h5ad")], "absent.h5ad", LABEL),
    ("not HDF5", 65, text, "text.h5ad", LABEL),
    *[(f"truncated at {share}", 65, truncated(share), "cut", LABEL) for share in (0.02, 0.3, 0.6, 0.9, 0.999)],
    ("no label column", 65, good, "type", ("--ingest.label", "kind")),
    ("a class per cell", 65, barcoded, "one cell each", ("--ingest.label", "barcode")),
    ("no layer", 65, good, "none", (*LABEL, "--ingest.layer", "layers/none")),
    ("no input", 2, lambda runs: [], "ingest.input", LABEL),
    ("unknown option", 2, good, "labell", (*LABEL, "--ingest.labell", "x")),
    ("bad layer", 2, good, "ingest.layer", (*LABEL, "--ingest.layer", "raw")),
    ("zero genes in common", 65, other_genes, "genes in common", LABEL),
    ("counts and logs", 65, counts_and_logs, "log values", LABEL),
    ("no cells left", 65, good, "no cell", (*LABEL, "--ingest.min_counts", "100000000")),
    ("no genes left", 65, good, "no gene", (*LABEL, "--ingest.min_cells", "100000")),
    ("memory", 2, good, "memory_limit", (*LABEL, "--cells.memory_limit", "1MB")),
    ("dense NaN", 65, edited(put("X", (50, 3), np.nan), "dense"), "row 50", LABEL),
    ("shape disagrees", 65, edited(lambda f: f["X"].attrs.__setitem__("shape", np.array([90, 41]))), "shape", LABEL),
    ("absurd shape", 65, edited(absurd_shape), "shape", LABEL),
    ("absurd data", 65, edited(absurd_data), "data", LABEL),
    ("damaged chunk", 65, damaged, "data", LABEL),
    ("text data", 65, edited(replace("X/data", np.array([b"x"] * 5))), "data", LABEL),
    ("external link", 65, edited(external_link), "link", LABEL),
    ("soft link", 65, edited(soft_link), "link", LABEL),
    ("references as codes", 65, edited(replace("obs/type/codes", references)), "codes", LABEL),
    ("code too large", 65, edited(put("obs/type/codes", 7, 99)), "99", LABEL),
    ("code below -1", 65, edited(put("obs/type/codes", 7, -2)), "-2", LABEL),
    ("codes short", 65, edited(replace("obs/type/codes", lambda f: f["obs/type/codes"][:-1])), "codes", LABEL),
    ("long gene name", 65, edited(long_name), "var", LABEL),
    ("no obs", 65, edited(lambda f: f.__delitem__("obs")), "obs", LABEL),
    ("no var", 65, edited(lambda f: f.__delitem__("var")), "var", LABEL),
    ("no X", 65, edited(lambda f: f.__delitem__("X")), "X", LABEL),
]
# The same in both sparse storages: the edit, and what the line names.
SPARSE = {
    "NaN": (put("X/data", 100, np.nan), "row"),
    "infinite": (put("X/data", 100, np.inf), "finite"),
    "negative": (put("X/data", 400, -3), "-3"),
    "negative, gzip": (put("X/data", 400, -3), "-3"),
    "index too large": (put("X/indices", 300, 4000), "4000"),
    "index negative": (put("X/indices", 300, -1), "-1"),
    "indptr falls": (put("X/indptr", 20, 1), "indptr"),
    "indptr from 1": (put("X/indptr", 0, 1), "indptr"),
    "indptr too far": (put("X/indptr", 20, 10**9), "indptr"),
    "indptr ends late": (put("X/indptr", -1, 10**9), "indptr"),
    "indptr short": (replace("X/indptr", lambda f: f["X/indptr"][:-2]), "indptr"),
    "data short": (replace("X/data", lambda f: f["X/data"][:-2]), "data"),
    "float indices": (replace("X/indices", lambda f: f["X/indices"][:].astype(float)), "indices"),
}


def refused(runs, ranks, inputs, settings, code, word, folder=None):
    done, atlas = runs.ingested(ranks, inputs, *settings, folder=folder)
    lines = [line for line in done.stderr.splitlines() if "error:" in line]
    found = done.returncode
    assert found == code, done.stderr[-500:]
    assert len(lines) == 1, done.stderr[-800:]
    assert word in lines[0] and re.match(r"retort-ingest: error: [^A-Z]", lines[0])
    assert not os.path.exists(atlas), "an atlas was left"


@pytest.mark.parametrize("code, make, word, settings", [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_refuses(runs, ranks, code, make, word, settings):
    refused(runs, ranks, make(runs), settings, code, word)


@pytest.mark.parametrize("name", SPARSE)
@pytest.mark.parametrize("storage", ["csr", "csc"])
def test_refuses_sparse(runs, ranks, storage, name):
    if ranks > 1 and storage == "csc" and name != "NaN":
        pytest.skip("every rank reads a whole CSC matrix, as one does")
    edit, word = SPARSE[name]
    more = {"compression": "gzip"} if name.endswith("gzip") else {}
    refused(runs, ranks, edited(edit, storage, **more)(runs), LABEL, 65, word)


def test_a_folder_that_cannot_be_written_is_refused(runs, ranks):
    refused(runs, ranks, good(runs), LABEL, 73, "/proc/retort", folder="/proc/retort")
