"""Weights and features have the same bits at 1, 2, 3 and 4 ranks, and are those that numpy computes from the weights."""

import anndata as ad
import numpy as np
from foundation_runs import Runs, encode, log_normalised, read_bytes, tensors, weights

with Runs() as runs:
    atlas = runs.simulate("atlas.h5ad")
    models = {ranks: runs.train(f"ranks{ranks}", ranks, atlas) for ranks in (1, 2, 3, 4)}
    for ranks in (2, 3, 4):
        assert weights(models[ranks]) == weights(models[1]), f"weights at {ranks} ranks are not those at 1"
        assert read_bytes(models[ranks], "config.json") == read_bytes(models[1], "config.json"), (
            f"config at {ranks} ranks"
        )
    encoder = tensors(models[1], "encoder.safetensors")
    assert encoder["network.0.1.weight"].shape == (48, 300) and encoder["network.2.weight"].shape == (16, 40)
    assert int(encoder["network.0.2.num_batches_tracked"]) == 12
    assert np.abs(encoder["network.0.2.running_mean"]).max() > 0

    features = {}
    for ranks in (1, 2, 3):
        runs.must(
            "embed",
            ranks,
            f"--embed.atlas={atlas}",
            f"--embed.model={models[1]}",
            f"--run.folder={runs.path(f'embed{ranks}')}",
        )
        features[ranks] = ad.read_h5ad(runs.path(f"embed{ranks}", "features.h5ad")).obsm["X_retort"]
    assert np.array_equal(features[1], features[2]) and np.array_equal(features[1], features[3]), (
        "features depend on the ranks"
    )
    difference = np.abs(features[1] - encode(models[1], log_normalised(atlas))).max()
    assert difference < 1e-5, f"features differ from numpy's by {difference}"
    print("passed")
