"""Every broken file ends with its exit code and one line that says what is wrong, on all ranks, without a hang."""

import os
import re
import shutil
import sys

import h5py
import numpy as np
import scipy.sparse as sp
from ingest_runs import Runs, arguments, counts, data

LABEL = ("--ingest.label", "type")


def edited(runs, name, edit, storage="csr", **more):
    """A good file that `edit` breaks."""
    file = runs.path(name + ".h5ad")
    adata = data(counts(90, 40))
    if storage == "csc":
        adata.X = sp.csc_matrix(adata.X)
    if storage == "dense":
        adata.X = adata.X.toarray()
    adata.write_h5ad(file, **more)
    with h5py.File(file, "r+") as f:
        edit(f)
    return file


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
    file = edited(runs, "damaged", lambda f: None, compression="gzip")
    with h5py.File(file) as f:
        chunk = f["X/data"].id.get_chunk_info(0)
    with open(file, "r+b") as raw:
        raw.seek(chunk.byte_offset + 4)
        raw.write(b"\xff" * (chunk.size - 8))
    return file


def long_name(f):
    names = f["var/_index"][:]
    names[3] = b"G" * 200000
    del f["var/_index"]
    f.create_dataset("var/_index", data=names, dtype=h5py.string_dtype())


def cases(runs):
    good = runs.path("good.h5ad")
    data(counts(90, 40)).write_h5ad(good)
    other = runs.path("other.h5ad")
    data(counts(90, 40), prefix="H").write_h5ad(other)
    text = runs.path("text.h5ad")
    with open(text, "w") as out:
        out.write("cells,genes\n" * 100)
    size = os.path.getsize(good)
    log = data(counts(90, 40))
    log.X = log.X.log1p()
    logged = runs.path("logged.h5ad")
    log.write_h5ad(logged)
    barcoded = data(counts(90, 40))
    barcoded.obs["barcode"] = [f"cell {i}" for i in range(barcoded.n_obs)]
    barcoded.write_h5ad(runs.path("barcoded.h5ad"))

    yield "missing file", 66, [runs.path("absent.h5ad")], LABEL, "absent.h5ad"
    yield "not HDF5", 65, [text], LABEL, "text.h5ad"
    for share in (0.02, 0.3, 0.6, 0.9, 0.999):
        cut = runs.path(f"cut{share}.h5ad")
        shutil.copy(good, cut)
        os.truncate(cut, int(size * share))
        yield f"truncated at {share}", 65, [cut], LABEL, "cut"
    yield "no label column", 65, [good], ("--ingest.label", "kind"), "type"
    yield "a class a cell", 65, [runs.path("barcoded.h5ad")], ("--ingest.label", "barcode"), "one cell each"
    yield "no layer", 65, [good], (*LABEL, "--ingest.layer", "layers/none"), "none"
    yield "no input", 2, [], LABEL, "ingest.input"
    yield "unknown option", 2, [good], (*LABEL, "--ingest.labell", "x"), "labell"
    yield "bad layer", 2, [good], (*LABEL, "--ingest.layer", "raw"), "ingest.layer"
    yield "zero genes in common", 65, [good, other], LABEL, "genes in common"
    yield "counts and logs", 65, [good, logged], LABEL, "log values"
    yield "no cells left", 65, [good], (*LABEL, "--ingest.min_counts", "100000000"), "no cell"
    yield "no genes left", 65, [good], (*LABEL, "--ingest.min_cells", "100000"), "no gene"
    yield "memory", 2, [good], (*LABEL, "--cells.memory_limit", "1MB"), "memory_limit"
    for storage in ("csr", "csc"):

        def broken(name, edit, **more):
            return [edited(runs, f"{storage}_{name}", edit, storage, **more)]

        yield f"{storage} NaN", 65, broken("nan", put("X/data", 100, np.nan)), LABEL, "row"
        yield f"{storage} infinite", 65, broken("inf", put("X/data", 100, np.inf)), LABEL, "finite"
        yield f"{storage} negative", 65, broken("negative", put("X/data", 400, -3)), LABEL, "-3"
        yield f"{storage} negative, gzip", 65, broken("gzip", put("X/data", 400, -3), compression="gzip"), LABEL, "-3"
        yield f"{storage} index too large", 65, broken("index", put("X/indices", 300, 4000)), LABEL, "4000"
        yield f"{storage} index negative", 65, broken("below", put("X/indices", 300, -1)), LABEL, "-1"
        yield f"{storage} indptr falls", 65, broken("falls", put("X/indptr", 20, 1)), LABEL, "indptr"
        yield f"{storage} indptr from 1", 65, broken("first", put("X/indptr", 0, 1)), LABEL, "indptr"
        yield f"{storage} indptr too far", 65, broken("far", put("X/indptr", 20, 10**9)), LABEL, "indptr"
        yield f"{storage} indptr ends late", 65, broken("late", put("X/indptr", -1, 10**9)), LABEL, "indptr"
        yield (
            f"{storage} indptr short",
            65,
            broken("short", replace("X/indptr", lambda f: f["X/indptr"][:-2])),
            LABEL,
            "indptr",
        )
        yield f"{storage} data short", 65, broken("data", replace("X/data", lambda f: f["X/data"][:-2])), LABEL, "data"
        yield (
            f"{storage} float indices",
            65,
            broken("float", replace("X/indices", lambda f: f["X/indices"][:].astype(float))),
            LABEL,
            "indices",
        )
    yield "dense NaN", 65, [edited(runs, "dense_nan", put("X", (50, 3), np.nan), "dense")], LABEL, "row 50"
    yield (
        "shape disagrees",
        65,
        [edited(runs, "shape", lambda f: f["X"].attrs.__setitem__("shape", np.array([90, 41])))],
        LABEL,
        "shape",
    )
    yield "absurd shape", 65, [edited(runs, "absurd_shape", absurd_shape)], LABEL, "shape"
    yield "absurd data", 65, [edited(runs, "absurd_data", absurd_data)], LABEL, "data"
    yield "damaged chunk", 65, [damaged(runs)], LABEL, "data"
    yield "text data", 65, [edited(runs, "text_data", replace("X/data", np.array([b"x"] * 5)))], LABEL, "data"
    yield "external link", 65, [edited(runs, "external", external_link)], LABEL, "link"
    yield "soft link", 65, [edited(runs, "soft", soft_link)], LABEL, "link"
    yield (
        "references as codes",
        65,
        [
            edited(
                runs,
                "reference",
                replace("obs/type/codes", lambda f: np.array([f["X"].ref] * 90, dtype=h5py.ref_dtype)),
            )
        ],
        LABEL,
        "codes",
    )
    yield "code too large", 65, [edited(runs, "code", put("obs/type/codes", 7, 99))], LABEL, "99"
    yield "code below -1", 65, [edited(runs, "code_below", put("obs/type/codes", 7, -2))], LABEL, "-2"
    yield (
        "codes short",
        65,
        [edited(runs, "codes_short", replace("obs/type/codes", lambda f: f["obs/type/codes"][:-1]))],
        LABEL,
        "codes",
    )
    yield "long gene name", 65, [edited(runs, "long_name", long_name)], LABEL, "var"
    yield "no obs", 65, [edited(runs, "no_obs", lambda f: f.__delitem__("obs"))], LABEL, "obs"
    yield "no var", 65, [edited(runs, "no_var", lambda f: f.__delitem__("var"))], LABEL, "var"
    yield "no X", 65, [edited(runs, "no_x", lambda f: f.__delitem__("X"))], LABEL, "X"
    yield "cannot write", 73, [good], (*LABEL, "--run.folder", "/proc/retort"), "/proc/retort"


def judge(done, code, word):
    lines = [line for line in done.stderr.splitlines() if "error:" in line]
    if done.returncode != code:
        return f"exit {done.returncode} instead of {code}: {done.stderr[-500:]}"
    if len(lines) != 1:
        return f"{len(lines)} error lines: {done.stderr[-800:]}"
    if word not in lines[0] or not re.match(r"retort-ingest: error: [^A-Z]", lines[0]):
        return f"the line is '{lines[0]}' and should name '{word}'"
    return ""


def main():
    given = arguments()
    runs = Runs(given)
    failed = 0
    for name, code, inputs, more, word in cases(runs):
        for ranks in given.ranks:
            if ranks > 1 and name.startswith("csc") and "NaN" not in name:
                continue  # every rank reads a whole CSC matrix, as one does
            folder = more[more.index("--run.folder") + 1] if "--run.folder" in more else None
            rest = tuple(x for x in more if folder is None or x not in ("--run.folder", folder))
            done, atlas = runs.run(ranks, inputs, *rest, folder=folder)
            problem = judge(done, code, word)
            if not problem and os.path.exists(atlas):
                problem = "an atlas was left"
            failed += bool(problem)
            print(
                f"{'FAILED ' if problem else 'ok     '} {name} on {ranks} ranks {problem or [x for x in done.stderr.splitlines() if 'error:' in x][0]}",
                flush=True,
            )
    shutil.rmtree(runs.folder, ignore_errors=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
