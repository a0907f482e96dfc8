"""What train-foundation and embed do with cells that are not theirs, other genes, bad settings and a diverging run."""

import shutil

import anndata as ad
import h5py
import numpy as np
import pytest
import scipy.sparse as sp
from foundation_runs import SMALL, encode, filled, refusals, weights


@pytest.fixture(scope="module")
def atlas(runs):
    return runs.simulate("atlas.h5ad")


@pytest.fixture(scope="module")
def fit(atlas):
    """Which cells the networks learn from."""
    obs = ad.read_h5ad(atlas).obs
    return ((obs["split"] == "train") & ~obs["held_out"]).to_numpy()


@pytest.fixture(scope="module")
def model(runs, atlas):
    return runs.train("plain", 1, atlas)


@pytest.fixture(scope="module")
def turned(atlas):
    """The same cells with 200 of the 300 genes in another order."""
    cells = ad.read_h5ad(atlas)
    made = cells[:, np.random.default_rng(0).permutation(300)[:200]].copy()
    made.uns = {}
    return made


def changed(atlas, copy, rows):
    """A copy in which the counts of `rows` are doubled and one more."""
    shutil.copy(atlas, copy)
    with h5py.File(copy, "r+") as file:
        begin, data = file["X/indptr"][:], file["X/data"][:]
        for row in rows:
            part = slice(begin[row], begin[row + 1])
            data[part] = np.minimum(data[part].astype(np.int64) * 2 + 1, np.iinfo(data.dtype).max)
        file["X/data"][...] = data
    return copy


def write_input(cells, file):
    obs, var = cells.obs[["cell_type"]], cells.var[[]]
    ad.AnnData(X=sp.csr_matrix(cells.X, dtype=np.float32), obs=obs, var=var).write_h5ad(file)
    return file


def test_a_good_half_of_the_cells_is_fitted(fit):
    assert 0.5 < fit.mean() < 0.6


def test_cells_outside_the_fit_part_change_no_weight(runs, atlas, fit, model):
    others = changed(atlas, runs.path("others.h5ad"), np.flatnonzero(~fit))
    assert weights(runs.train("others", 2, others)) == weights(model), "a cell held out or for testing changed a weight"


def test_fit_cells_change_weights(runs, atlas, fit, model):
    fitted = changed(atlas, runs.path("fitted.h5ad"), np.flatnonzero(fit)[:50])
    assert weights(runs.train("fitted", 2, fitted)) != weights(model)


def test_a_finished_stage_is_not_run_again(runs, atlas, model):
    settings = [f"--foundation.atlas={atlas}", "--foundation.label=cell_type", f"--run.folder={runs.path('plain')}"]
    assert "already done" in runs.must("train-foundation", 2, *SMALL, *settings).stderr


def test_an_atlas_of_other_genes_is_aligned_by_symbol_before_it_is_normalised(runs, atlas, model, turned):
    folder = runs.path("turned")
    runs.ingest(1, write_input(turned, runs.path("turned_input.h5ad")), folder, "--ingest.min_cells=0")
    runs.must("embed", 2, f"--embed.model={model}", f"--run.folder={folder}")
    x = ad.read_h5ad(runs.path("turned", "atlas.h5ad"))
    x = x.to_df().reindex(columns=ad.read_h5ad(atlas).var_names, fill_value=0).to_numpy(dtype=np.float64)
    x = np.log1p(x / np.maximum(x.sum(1, keepdims=True), 1) * 1e4)
    got = ad.read_h5ad(runs.path("turned", "features.h5ad")).obsm["X_retort"]
    assert np.abs(got - encode(model, x)).max() < 1e-5


def test_genes_that_the_model_lacks_are_refused(runs, model, turned):
    strange = turned.copy()
    strange.var_names = [f"STRANGE{i}" for i in range(200)]
    folder = runs.path("strange")
    runs.ingest(1, write_input(strange, runs.path("strange_input.h5ad")), folder)
    runs.refused(65, "gene", "embed", 3, f"--embed.model={model}", f"--run.folder={folder}")


@refusals(
    (66, "no_atlas.h5ad", "train-foundation", 3, "--foundation.atlas={folder}/no_atlas.h5ad"),
    (2, "foundation.mining", "train-foundation", 3, "--foundation.mining=softest"),
    (2, "shards", "train-foundation", 3, "--foundation.batch=33"),
    (65, "no_such_column", "train-foundation", 3, "--foundation.label=no_such_column"),
    (1, "are not finite", "train-foundation", 3, *SMALL, "--foundation.rate=1e30"),  # a run that diverges
)
def test_refuses(runs, atlas, code, says, verb, ranks, settings):
    own = [f"--foundation.atlas={atlas}", "--foundation.label=cell_type", f"--run.folder={runs.path('bad')}"]
    runs.refused(code, says, verb, ranks, *own, *filled(settings, folder=runs.folder))


def test_a_plan_tells_the_fitted_cells(runs, atlas):
    training = [f"--foundation.atlas={atlas}", "--foundation.label=cell_type", f"--run.folder={runs.path('bad')}"]
    assert "12 of 32 cells" in runs.must("train-foundation", 2, *SMALL, *training, "--dry-run").stdout
