"""retort-ingest against anndata and scanpy: files of every storage, value by value."""

import json
import os
import re

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import scanpy as sc
import scipy.sparse as sp
from ingest_runs import arguments, counts, data, digest, filtered, main, same

LABEL = ("--ingest.label", "type")


def storages(runs, ranks):
    adata = data(counts(150, 60))
    expected = filtered(adata)
    for name, x, more in [
        ("csr", adata.X, {}),
        ("gzip", adata.X, {"compression": "gzip"}),
        ("csc", sp.csc_matrix(adata.X), {}),
        ("dense", adata.X.toarray(), {}),
        ("uint16", adata.X.astype(np.uint16), {"compression": "gzip"}),
        ("int64", adata.X.astype(np.int64), {}),
        ("float64 dense", adata.X.toarray().astype(np.float64), {"compression": "gzip"}),
    ]:
        file = runs.path(f"{name.replace(' ', '_')}{ranks}.h5ad")
        given = adata.copy()
        given.X = x
        given.write_h5ad(file, **more)
        atlas, _ = runs.atlas(ranks, [file], *LABEL)
        same(atlas, expected)
        assert atlas.X.dtype == np.uint8, (name, atlas.X.dtype)
        assert sp.issparse(atlas.X) and atlas.X.has_sorted_indices


def parts_and_types(runs, ranks):
    x = counts(200, 40).tolil()
    x[5, 3] = 70000
    x[0, :20] = 3  # the rare cell is kept
    adata = data(x.tocsr())
    adata.obs["type"] = ["rare"] + ["a", "b"] * 99 + ["a"]
    adata.obs["batch"] = np.where(np.arange(200) % 3, "one", "two")
    adata.obs.loc["cell7", "type"] = np.nan
    adata.obs["type"] = adata.obs["type"].astype("category")
    file = runs.path(f"parts{ranks}.h5ad")
    adata.write_h5ad(file)
    atlas, done = runs.atlas(ranks, [file], *LABEL, "--ingest.compression", "gzip")
    expected = filtered(adata[adata.obs["type"].notna()].copy(), min_cells=0)
    expected.obs["row"] = [int(name[4:]) for name in expected.obs_names]
    sc.pp.filter_genes(expected, min_cells=3)
    same(atlas, expected, ("type", "batch"))
    assert atlas.X.dtype == np.uint32
    rare = atlas.obs[atlas.obs["type"] == "rare"]
    assert list(rare["split"]) == ["train"] and done.stderr.count("rare") == 1, done.stderr
    for name in ("a", "b"):
        own = atlas.obs[atlas.obs["type"] == name]
        tests = (own["split"] == "test").sum()
        assert tests == int(np.floor(len(own) * 0.3 + 0.5)), (name, tests, len(own))
    assert not np.all(np.diff(atlas.obs["source_row"]) > 0), "not shuffled"
    assert "1  no label in 'type'" in done.stdout, done.stdout


def layers_and_raw(runs, ranks):
    adata = data(counts(80, 30))
    logged = adata.copy()
    sc.pp.normalize_total(logged, target_sum=1e4)
    sc.pp.log1p(logged)
    layered = logged.copy()
    layered.layers["counts"] = adata.X
    layered.layers["other"] = adata.X * 2
    file = runs.path(f"layered{ranks}.h5ad")
    layered.write_h5ad(file)
    same(runs.atlas(ranks, [file], *LABEL)[0], filtered(adata))
    twice = adata.copy()
    twice.X = adata.X * 2
    same(runs.atlas(ranks, [file], *LABEL, "--ingest.layer", "layers/other")[0], filtered(twice))

    scaled = logged.copy()
    scaled.raw = adata
    scaled = scaled[:, :20].copy()
    sc.pp.scale(scaled)
    file = runs.path(f"raw{ranks}.h5ad")
    scaled.write_h5ad(file)
    atlas, done = runs.atlas(ranks, [file], *LABEL)
    same(atlas, filtered(adata))
    assert "raw/X was taken" in done.stdout

    file = runs.path(f"log{ranks}.h5ad")
    logged.write_h5ad(file)
    atlas, done = runs.atlas(ranks, [file], *LABEL)
    same(atlas, filtered(logged, min_counts=0))
    assert atlas.X.dtype == np.float32 and "log values" in done.stdout
    assert not atlas.uns["retort"]["holds_counts"]


def several_files(runs, ranks):
    parts = [data(counts(40 + 9 * i, 30 + i, seed=i), seed=i) for i in range(3)]
    for i, part in enumerate(parts):
        part.var_names = [f"G{j + 2 * i}" for j in range(part.n_vars)]
        part.obs["only" + str(i)] = "x"
    files = [runs.path(f"part{i}_{ranks}.h5ad") for i in range(3)]
    for i, (part, file) in enumerate(zip(parts, files)):
        part.write_h5ad(file, compression="gzip" if i == 1 else None)
    for join, how in (("intersection", "inner"), ("union", "outer")):
        joined = ad.concat(parts, join=how, fill_value=0, index_unique="-")
        expected = filtered(joined)
        atlas, _ = runs.atlas(ranks, files, *LABEL, "--ingest.genes", join)
        same(atlas[:, expected.var_names], expected)
        assert set(atlas.var_names) == set(expected.var_names)
        assert set(atlas.obs["source_file"]) == {os.path.basename(file) for file in files}
    vocabulary = runs.path("vocabulary.txt")
    names = ["G9", "absent", "G4", "G5", "G20", "G3"]
    with open(vocabulary, "w") as out:
        out.write("\n".join(names) + "\n")
    atlas, _ = runs.atlas(ranks, files, *LABEL, "--ingest.vocabulary", vocabulary)
    outer = ad.concat(parts, join="outer", fill_value=0, index_unique="-")
    outer = ad.concat(
        [outer, ad.AnnData(sp.csr_matrix((outer.n_obs, 1)), obs=outer.obs[[]], var=pd.DataFrame(index=["absent"]))],
        axis=1,
        merge="first",
    )
    same(atlas, filtered(outer[:, names].copy(), min_cells=0))


def duplicate_symbols(runs, ranks):
    adata = data(counts(60, 24))
    adata.var["symbol"] = [f"S{i % 20}" for i in range(24)]
    adata.var["symbol"] = adata.var["symbol"].astype("category")
    file = runs.path(f"duplicates{ranks}.h5ad")
    adata.write_h5ad(file)
    x = adata.X.toarray()
    x[:, :4] += x[:, 20:]
    summed = data(sp.csr_matrix(x[:, :20]), prefix="S")
    same(runs.atlas(ranks, [file], *LABEL, "--ingest.gene_column", "symbol")[0], filtered(summed))
    names = adata.copy()
    names.var_names = list(adata.var["symbol"])
    names.write_h5ad(file)
    same(runs.atlas(ranks, [file], *LABEL)[0], filtered(summed))


def encodings(runs, ranks):
    adata = data(counts(50, 20))
    expected = filtered(adata)
    strings = adata.copy()
    strings.obs["type"] = pd.array(adata.obs["type"].astype(str), dtype="string")
    strings.obs.loc["cell3", "type"] = pd.NA
    file = runs.path(f"nullable{ranks}.h5ad")
    with ad.settings.override(allow_write_nullable_strings=True):
        strings.write_h5ad(file)
    without = adata[[i for i in range(50) if i != 3]].copy()
    without = filtered(without, min_cells=0)
    without.obs["row"] = [int(name[4:]) for name in without.obs_names]
    sc.pp.filter_genes(without, min_cells=3)
    same(runs.atlas(ranks, [file], *LABEL)[0], without)

    whole = adata.copy()
    whole.obs["type"] = adata.obs["type"].cat.codes.astype(np.int64) + 3
    file = runs.path(f"integers{ranks}.h5ad")
    whole.write_h5ad(file)
    wanted = expected.copy()
    wanted.obs["type"] = whole.obs["type"][wanted.obs_names].astype(str)
    same(runs.atlas(ranks, [file], *LABEL)[0], wanted)

    # anndata 0.7: codes in obs, categories beside it, and no encoding of strings
    file = runs.path(f"seven{ranks}.h5ad")
    with h5py.File(file, "w") as f:
        x = f.create_group("X")
        x.attrs["encoding-type"], x.attrs["encoding-version"] = "csr_matrix", "0.1.0"
        x.attrs["shape"] = adata.shape
        for name in ("data", "indices", "indptr"):
            x[name] = getattr(adata.X, name)
        for table, index in (("obs", adata.obs_names), ("var", adata.var_names)):
            group = f.create_group(table)
            group.attrs["_index"] = "_index"
            group.attrs["column-order"] = np.array(["type"] if table == "obs" else [], dtype=h5py.string_dtype())
            group["_index"] = np.array(index, dtype=h5py.string_dtype())
        f["obs/__categories/type"] = np.array(adata.obs["type"].cat.categories, dtype=h5py.string_dtype())
        f["obs/type"] = np.array(adata.obs["type"].cat.codes, dtype=np.int8)
        f["obs/type"].attrs["categories"] = f["obs/__categories/type"].ref
    same(runs.atlas(ranks, [file], *LABEL)[0], expected)

    # 10x: genes x cells by column
    file = runs.path(f"tenx{ranks}.h5")
    with h5py.File(file, "w") as f:
        turned = sp.csc_matrix(adata.X.T)
        m = f.create_group("matrix")
        m["data"], m["indices"], m["indptr"] = turned.data.astype(np.int32), turned.indices, turned.indptr
        m["shape"] = np.array(turned.shape, dtype=np.int32)
        m["barcodes"] = np.array(adata.obs_names, dtype="S")
        m["features/name"] = np.array(adata.var_names, dtype="S")
        m["features/id"] = np.array(["E" + name for name in adata.var_names], dtype="S")
    same(runs.atlas(ranks, [file])[0], expected, ())


def more_ranks_than_cells(runs, ranks):
    adata = data(sp.csr_matrix(np.full((2, 4), 9, np.float32)))
    file = runs.path(f"two{ranks}.h5ad")
    adata.write_h5ad(file)
    same(runs.atlas(ranks + 1, [file], *LABEL, "--ingest.min_cells", "0")[0], filtered(adata, min_cells=0))


def scanpys_own_file(runs, ranks):
    """The 700 cells of the scanpy wheel: written before anndata 0.7, X z-scored, raw.X log values."""
    file = os.path.join(os.path.dirname(sc.__file__), "datasets", "10x_pbmc68k_reduced.h5ad")
    atlas, done = runs.atlas(ranks, [file], "--ingest.label", "bulk_labels")
    old = sc.datasets.pbmc68k_reduced()
    expected = old.raw.to_adata()
    expected.obs["row"] = np.arange(expected.n_obs)
    sc.pp.filter_genes(expected, min_cells=3)
    same(atlas, expected, ("bulk_labels", "phase", "louvain"))
    assert not atlas.uns["retort"]["holds_counts"] and "log values" in done.stdout


def kidney(runs, ranks):
    shared = os.environ.get("RETORT_SHARED") or os.path.join(os.environ.get("RETORT_SOURCE", "."), "..", "shared")
    file = os.path.join(shared, "data", "kidney_5685x2000.h5ad")
    if not os.path.exists(file):
        print("skipped kidney: no shared data")
        return
    atlas, _ = runs.atlas(ranks, [file], "--ingest.label", "cell_type")
    same(atlas, filtered(ad.read_h5ad(file)), ("cell_type",))


def same_bytes(runs, ranks):
    """One rank, many ranks, and many small pieces make the same file."""
    adata = data(counts(3000, 300))
    plain, turned = runs.path(f"plain{ranks}.h5ad"), runs.path(f"turned{ranks}.h5ad")
    adata.write_h5ad(plain)
    adata.X = sp.csc_matrix(adata.X)
    adata.write_h5ad(turned, compression="gzip")
    for more in ((), ("--ingest.compression", "gzip")):
        made = set()
        for n in {1, ranks}:
            done, atlas = runs.run(n, [plain, turned], *LABEL, *more)
            assert done.returncode == 0, done.stderr
            made.add(digest(atlas))
        assert len(made) == 1, "the ranks change the bytes"


def small_memory(runs, ranks):
    """Under the least memory that the program accepts, rows pass in windows, and the file is the same."""
    x = sp.random(9000, 1200, 0.45, format="csr", dtype=np.float32, random_state=1)
    x.data = np.ceil(x.data * 90)
    adata = data(x)
    plain, turned = runs.path(f"large{ranks}.h5ad"), runs.path(f"large_csc{ranks}.h5ad")
    adata.write_h5ad(plain)
    adata.X = sp.csc_matrix(x)
    adata.write_h5ad(turned)
    refused, _ = runs.run(ranks, [turned], *LABEL, "--cells.memory_limit", "1MB")
    least = int(re.search(r"Set it to (\d+) MB", refused.stderr).group(1)) + 4
    digests = set()
    for file in (plain, turned):
        for limit in ("2GB", f"{least}MB"):
            done, atlas = runs.run(ranks, [file], *LABEL, "--cells.memory_limit", limit)
            assert done.returncode == 0, done.stderr
            with h5py.File(atlas) as f:
                digests.add(b"".join(f["X"][name][:].tobytes() for name in ("data", "indices", "indptr")))
            if limit != "2GB":
                assert done.peak <= least * 1.1e6, f"a rank took {done.peak} bytes of {least} MB"
    assert len(digests) == 1, "the memory changes the atlas"


def plans_and_reruns(runs, ranks):
    adata = data(counts(70, 30))
    file, folder = runs.path(f"plan{ranks}.h5ad"), runs.path(f"plan_run{ranks}")
    adata.write_h5ad(file)
    done, atlas = runs.run(ranks, [file], *LABEL, "--dry-run", folder=folder)
    assert done.returncode == 0 and "70 cells x 30 genes" in done.stdout and "memory" in done.stdout, (
        done.stdout + done.stderr
    )
    assert not os.path.exists(folder), "a plan writes nothing"
    done, atlas = runs.run(ranks, [file], *LABEL, folder=folder)
    with open(os.path.join(folder, "ingest", "summary.json")) as f:
        summary = json.load(f)
    expected = filtered(adata)
    assert summary["cells"]["kept"] == expected.n_obs and summary["cells"]["dropped_few_counts"] == 70 - expected.n_obs
    assert summary["genes"]["kept"] == expected.n_vars and summary["nonzeros"] == expected.X.nnz
    assert sum(c["fit"] + c["held_out"] + c["test"] for c in summary["classes"]) == expected.n_obs
    first = os.stat(atlas).st_mtime_ns
    done, _ = runs.run(ranks, [file], *LABEL, folder=folder)
    assert done.returncode == 0 and "already done" in done.stderr and os.stat(atlas).st_mtime_ns == first


if __name__ == "__main__":
    main(
        [
            small_memory,
            plans_and_reruns,
            storages,
            parts_and_types,
            layers_and_raw,
            several_files,
            duplicate_symbols,
            encodings,
            more_ranks_than_cells,
            scanpys_own_file,
            kidney,
            same_bytes,
        ],
        arguments(),
    )
