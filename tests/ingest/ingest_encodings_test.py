"""retort-ingest reads what other programs and earlier versions of anndata wrote."""

import os

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
import scipy.sparse as sp
from ingest_runs import LABEL, counts, data, filtered, same


@pytest.fixture(scope="module")
def adata():
    return data(counts(50, 20))


def test_nullable_strings(runs, ranks, adata):
    strings = adata.copy()
    strings.obs["type"] = pd.array(adata.obs["type"].astype(str), dtype="string")
    strings.obs.loc["cell3", "type"] = pd.NA
    file = runs.path("nullable.h5ad")
    with ad.settings.override(allow_write_nullable_strings=True):
        strings.write_h5ad(file)
    without = filtered(adata[[i for i in range(50) if i != 3]].copy(), min_cells=0)
    without.obs["row"] = [int(name[4:]) for name in without.obs_names]
    sc.pp.filter_genes(without, min_cells=3)
    same(runs.atlas(ranks, [file], *LABEL)[0], without)


def test_whole_numbers_as_classes(runs, ranks, adata):
    whole = adata.copy()
    whole.obs["type"] = adata.obs["type"].cat.codes.astype(np.int64) + 3
    file = runs.path("integers.h5ad")
    whole.write_h5ad(file)
    wanted = filtered(adata)
    wanted.obs["type"] = whole.obs["type"][wanted.obs_names].astype(str)
    same(runs.atlas(ranks, [file], *LABEL)[0], wanted)


def test_anndata_before_0_7(runs, ranks, adata):
    """Codes in obs, categories beside it, and no encoding of strings."""
    file = runs.path("seven.h5ad")
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
    same(runs.atlas(ranks, [file], *LABEL)[0], filtered(adata))


def test_10x_genes_by_cells_by_column(runs, ranks, adata):
    file = runs.path("tenx.h5")
    with h5py.File(file, "w") as f:
        turned = sp.csc_matrix(adata.X.T)
        m = f.create_group("matrix")
        m["data"], m["indices"], m["indptr"] = turned.data.astype(np.int32), turned.indices, turned.indptr
        m["shape"] = np.array(turned.shape, dtype=np.int32)
        m["barcodes"] = np.array(adata.obs_names, dtype="S")
        m["features/name"] = np.array(adata.var_names, dtype="S")
        m["features/id"] = np.array(["E" + name for name in adata.var_names], dtype="S")
    same(runs.atlas(ranks, [file])[0], filtered(adata), ())


def test_the_700_cells_of_the_scanpy_wheel(runs, ranks):
    """Written before anndata 0.7, X z-scored, raw.X log values."""
    file = os.path.join(os.path.dirname(sc.__file__), "datasets", "10x_pbmc68k_reduced.h5ad")
    atlas, done = runs.atlas(ranks, [file], "--ingest.label", "bulk_labels")
    expected = sc.datasets.pbmc68k_reduced().raw.to_adata()
    expected.obs["row"] = np.arange(expected.n_obs)
    sc.pp.filter_genes(expected, min_cells=3)
    same(atlas, expected, ("bulk_labels", "phase", "louvain"))
    assert not atlas.uns["retort"]["holds_counts"] and "log values" in done.stdout
