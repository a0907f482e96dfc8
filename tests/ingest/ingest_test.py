"""retort-ingest against anndata and scanpy: files of every storage, value by value."""

import os

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
import scipy.sparse as sp
from ingest_runs import LABEL, counts, data, filtered, same

STORAGES = {  # how X is stored, and the file compressed
    "csr": (sp.csr_matrix, None),
    "csr gzip": (sp.csr_matrix, "gzip"),
    "csc": (sp.csc_matrix, None),
    "dense": (lambda x: x.toarray(), None),
    "uint16 gzip": (lambda x: x.astype(np.uint16), "gzip"),
    "int64": (lambda x: x.astype(np.int64), None),
    "float64 dense gzip": (lambda x: x.toarray().astype(np.float64), "gzip"),
}


@pytest.mark.parametrize("name", STORAGES)
def test_every_storage_gives_the_same_values(runs, ranks, name):
    adata = data(counts(150, 60))
    stored, compression = STORAGES[name]
    file, given = runs.path(f"{name.replace(' ', '_')}.h5ad"), adata.copy()
    given.X = stored(adata.X)
    given.write_h5ad(file, compression=compression)
    atlas, _ = runs.atlas(ranks, [file], *LABEL)
    same(atlas, filtered(adata))
    assert atlas.X.dtype == np.uint8
    assert sp.issparse(atlas.X) and atlas.X.has_sorted_indices


@pytest.fixture(scope="module")
def parts():
    """Cells of a rare class, of two large ones, and one without a class, with a count that needs four bytes."""
    x = counts(200, 40).tolil()
    x[5, 3] = 70000
    x[0, :20] = 3  # the rare cell is kept
    adata = data(x.tocsr())
    adata.obs["type"] = ["rare"] + ["a", "b"] * 99 + ["a"]
    adata.obs["batch"] = np.where(np.arange(200) % 3, "one", "two")
    adata.obs.loc["cell7", "type"] = np.nan
    adata.obs["type"] = adata.obs["type"].astype("category")
    return adata


@pytest.fixture(scope="module")
def parted(runs, ranks, parts):
    file = runs.path("parts.h5ad")
    parts.write_h5ad(file)
    return runs.atlas(ranks, [file], *LABEL, "--ingest.compression", "gzip")


def test_cells_without_a_class_are_left_out(parts, parted):
    atlas, done = parted
    expected = filtered(parts[parts.obs["type"].notna()].copy(), min_cells=0)
    expected.obs["row"] = [int(name[4:]) for name in expected.obs_names]
    sc.pp.filter_genes(expected, min_cells=3)
    same(atlas, expected, ("type", "batch"))
    assert "1  no label in 'type'" in done.stdout, done.stdout


def test_a_large_count_is_kept_in_four_bytes(parted):
    assert parted[0].X.dtype == np.uint32


def test_a_class_of_one_cell_is_for_training_and_told_once(parted):
    atlas, done = parted
    rare = atlas.obs[atlas.obs["type"] == "rare"]
    assert list(rare["split"]) == ["train"] and done.stderr.count("rare") == 1, done.stderr


@pytest.mark.parametrize("name", ["a", "b"])
def test_three_tenths_of_a_class_are_for_testing(parted, name):
    own = parted[0].obs[parted[0].obs["type"] == name]
    assert (own["split"] == "test").sum() == int(np.floor(len(own) * 0.3 + 0.5))


def test_cells_are_shuffled(parted):
    assert not np.all(np.diff(parted[0].obs["source_row"]) > 0)


@pytest.fixture(scope="module")
def adata():
    return data(counts(80, 30))


@pytest.fixture(scope="module")
def logged(adata):
    made = adata.copy()
    sc.pp.normalize_total(made, target_sum=1e4)
    sc.pp.log1p(made)
    return made


def test_counts_are_taken_from_a_layer(runs, ranks, adata, logged):
    layered = logged.copy()
    layered.layers["counts"] = adata.X
    layered.layers["other"] = adata.X * 2
    file = runs.path("layered.h5ad")
    layered.write_h5ad(file)
    same(runs.atlas(ranks, [file], *LABEL)[0], filtered(adata))
    twice = adata.copy()
    twice.X = adata.X * 2
    same(runs.atlas(ranks, [file], *LABEL, "--ingest.layer", "layers/other")[0], filtered(twice))


def test_counts_are_taken_from_raw(runs, ranks, adata, logged):
    scaled = logged.copy()
    scaled.raw = adata
    scaled = scaled[:, :20].copy()
    sc.pp.scale(scaled)
    file = runs.path("raw.h5ad")
    scaled.write_h5ad(file)
    atlas, done = runs.atlas(ranks, [file], *LABEL)
    same(atlas, filtered(adata))
    assert "raw/X was taken" in done.stdout


def test_log_values_stay_log_values(runs, ranks, logged):
    file = runs.path("log.h5ad")
    logged.write_h5ad(file)
    atlas, done = runs.atlas(ranks, [file], *LABEL)
    same(atlas, filtered(logged, min_counts=0))
    assert atlas.X.dtype == np.float32 and "log values" in done.stdout
    assert not atlas.uns["retort"]["holds_counts"]


@pytest.fixture(scope="module")
def three():
    """Parts of an atlas that share some of their genes."""
    made = [data(counts(40 + 9 * i, 30 + i, seed=i), seed=i) for i in range(3)]
    for i, part in enumerate(made):
        part.var_names = [f"G{j + 2 * i}" for j in range(part.n_vars)]
        part.obs["only" + str(i)] = "x"
    return made


@pytest.fixture(scope="module")
def files(runs, three):
    made = [runs.path(f"part{i}.h5ad") for i in range(3)]
    for i, (part, file) in enumerate(zip(three, made)):
        part.write_h5ad(file, compression="gzip" if i == 1 else None)
    return made


@pytest.mark.parametrize("join, how", [("intersection", "inner"), ("union", "outer")])
def test_several_files_are_joined(runs, ranks, three, files, join, how):
    expected = filtered(ad.concat(three, join=how, fill_value=0, index_unique="-"))
    atlas, _ = runs.atlas(ranks, files, *LABEL, "--ingest.genes", join)
    same(atlas[:, expected.var_names], expected)
    assert set(atlas.var_names) == set(expected.var_names)
    assert set(atlas.obs["source_file"]) == {os.path.basename(file) for file in files}


def test_a_vocabulary_says_which_genes(runs, ranks, three, files):
    names = ["G9", "absent", "G4", "G5", "G20", "G3"]
    with open(runs.path("vocabulary.txt"), "w") as out:
        out.write("\n".join(names) + "\n")
    atlas, _ = runs.atlas(ranks, files, *LABEL, "--ingest.vocabulary", runs.path("vocabulary.txt"))
    outer = ad.concat(three, join="outer", fill_value=0, index_unique="-")
    absent = ad.AnnData(sp.csr_matrix((outer.n_obs, 1)), obs=outer.obs[[]], var=pd.DataFrame(index=["absent"]))
    outer = ad.concat([outer, absent], axis=1, merge="first")
    same(atlas, filtered(outer[:, names].copy(), min_cells=0))


@pytest.mark.parametrize("place", ["column", "names"])
def test_genes_of_one_symbol_are_summed(runs, ranks, place):
    adata = data(counts(60, 24))
    symbols = [f"S{i % 20}" for i in range(24)]
    x = adata.X.toarray()
    x[:, :4] += x[:, 20:]
    file, column = runs.path(f"duplicates_{place}.h5ad"), ()
    if place == "names":
        adata.var_names = symbols
    else:
        adata.var["symbol"] = pd.Categorical(symbols)
        column = ("--ingest.gene_column", "symbol")
    adata.write_h5ad(file)
    same(runs.atlas(ranks, [file], *LABEL, *column)[0], filtered(data(sp.csr_matrix(x[:, :20]), prefix="S")))


def test_more_ranks_than_cells(runs, ranks):
    adata = data(sp.csr_matrix(np.full((2, 4), 9, np.float32)))
    file = runs.path("two.h5ad")
    adata.write_h5ad(file)
    same(runs.atlas(ranks + 1, [file], *LABEL, "--ingest.min_cells", "0")[0], filtered(adata, min_cells=0))
