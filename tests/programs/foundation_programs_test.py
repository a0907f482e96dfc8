"""What train-foundation and embed do with cells that are not theirs, other genes, bad settings and a run that diverges."""

import shutil

import anndata as ad
import h5py
import numpy as np
import scipy.sparse as sp
from foundation_runs import SMALL, Runs, encode, weights


def changed(atlas, copy, rows):
    """A copy in which the counts of `rows` are doubled and one more."""
    shutil.copy(atlas, copy)
    with h5py.File(copy, "r+") as file:
        begin, data = file["X/indptr"][:], file["X/data"][:]
        for row in rows:
            part = slice(begin[row], begin[row + 1])
            data[part] = np.minimum(data[part].astype(np.int64) * 2 + 1, np.iinfo(data.dtype).max)
        file["X/data"][...] = data


with Runs() as runs:
    atlas = runs.simulate("atlas.h5ad")
    obs = ad.read_h5ad(atlas).obs
    fit = ((obs["split"] == "train") & ~obs["held_out"]).to_numpy()
    assert 0.5 < fit.mean() < 0.6

    # Cells outside the fit part change no weight; cells inside do.
    model = runs.train("plain", 1, atlas)
    changed(atlas, runs.path("others.h5ad"), np.flatnonzero(~fit))
    changed(atlas, runs.path("fitted.h5ad"), np.flatnonzero(fit)[:50])
    assert weights(runs.train("others", 2, runs.path("others.h5ad"))) == weights(model), (
        "a cell that is held out or for testing changed a weight"
    )
    assert weights(runs.train("fitted", 2, runs.path("fitted.h5ad"))) != weights(model), "fit cells changed no weight"

    # A finished stage is not run again.
    again = runs.must(
        "train-foundation",
        2,
        *SMALL,
        f"--foundation.atlas={atlas}",
        "--foundation.label=cell_type",
        f"--run.folder={runs.path('plain')}",
    )
    assert "already done" in again.stderr, again.stderr

    # An atlas of other genes is aligned by symbol before it is normalised; what is missing is zero.
    cells = ad.read_h5ad(atlas)
    turned = cells[:, np.random.default_rng(0).permutation(300)[:200]].copy()
    turned.uns = {}
    runs_input = runs.path("turned_input.h5ad")
    ad.AnnData(
        X=sp.csr_matrix(turned.X, dtype=np.float32), obs=turned.obs[["cell_type"]], var=turned.var[[]]
    ).write_h5ad(runs_input)
    runs.must(
        "ingest",
        1,
        f"--ingest.input={runs_input}",
        "--ingest.label=cell_type",
        "--ingest.min_cells=0",
        f"--run.folder={runs.path('turned')}",
    )
    runs.must("embed", 2, f"--embed.model={model}", f"--run.folder={runs.path('turned')}")
    x = ad.read_h5ad(runs.path("turned", "atlas.h5ad"))
    x = x.to_df().reindex(columns=cells.var_names, fill_value=0).to_numpy(dtype=np.float64)
    x = np.log1p(x / np.maximum(x.sum(1, keepdims=True), 1) * 1e4)
    got = ad.read_h5ad(runs.path("turned", "features.h5ad")).obsm["X_retort"]
    assert np.abs(got - encode(model, x)).max() < 1e-5, "features of aligned genes"

    # Strange genes, bad settings, missing files.
    turned.var_names = [f"STRANGE{i}" for i in range(200)]
    ad.AnnData(
        X=sp.csr_matrix(turned.X, dtype=np.float32), obs=turned.obs[["cell_type"]], var=turned.var[[]]
    ).write_h5ad(runs_input)
    runs.must(
        "ingest", 1, f"--ingest.input={runs_input}", "--ingest.label=cell_type", f"--run.folder={runs.path('strange')}"
    )
    runs.refused(65, "gene", "embed", 3, f"--embed.model={model}", f"--run.folder={runs.path('strange')}")
    training = [f"--foundation.atlas={atlas}", "--foundation.label=cell_type", f"--run.folder={runs.path('bad')}"]
    runs.refused(
        66,
        "no_atlas.h5ad",
        "train-foundation",
        3,
        f"--foundation.atlas={runs.path('no_atlas.h5ad')}",
        f"--run.folder={runs.path('bad')}",
    )
    runs.refused(2, "foundation.mining", "train-foundation", 3, *training, "--foundation.mining=softest")
    runs.refused(2, "shards", "train-foundation", 3, *training, "--foundation.batch=33")
    runs.refused(
        65, "no_such_column", "train-foundation", 3, training[0], training[2], "--foundation.label=no_such_column"
    )

    # A run that diverges stops on all ranks with the step, and writes no model.
    runs.refused(1, "are not finite", "train-foundation", 3, *SMALL, *training, "--foundation.rate=1e30")
    plan = runs.must("train-foundation", 2, *SMALL, *training, "--dry-run")
    assert "12 of 32 cells" in plan.stdout, plan.stdout
    print("passed")
