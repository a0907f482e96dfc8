"""Weights and features have the same bits at 1, 2, 3 and 4 ranks, and are what numpy computes from the weights."""

import anndata as ad
import numpy as np
import pytest
from foundation_runs import digest, encode, log_normalised, tensors, weights


@pytest.fixture(scope="module")
def atlas(runs):
    return runs.simulate("atlas.h5ad")


@pytest.fixture(scope="module")
def models(runs, atlas):
    return {ranks: runs.train(f"ranks{ranks}", ranks, atlas) for ranks in (1, 2, 3, 4)}


@pytest.fixture(scope="module")
def features(runs, atlas, models):
    made = {}
    for ranks in (1, 2, 3):
        folder = runs.path(f"embed{ranks}")
        runs.must("embed", ranks, f"--embed.atlas={atlas}", f"--embed.model={models[1]}", f"--run.folder={folder}")
        made[ranks] = ad.read_h5ad(f"{folder}/features.h5ad").obsm["X_retort"]
    return made


@pytest.mark.parametrize("ranks", [2, 3, 4])
def test_the_model_is_that_of_one_rank(models, ranks):
    assert weights(models[ranks]) == weights(models[1]), f"weights at {ranks} ranks are not those at 1"
    assert digest(models[ranks], "config.json") == digest(models[1], "config.json"), f"config at {ranks} ranks"


def test_the_encoder_has_the_layers_of_its_settings(models):
    encoder = tensors(models[1], "encoder.safetensors")
    assert encoder["network.0.1.weight"].shape == (48, 300) and encoder["network.2.weight"].shape == (16, 40)


def test_batch_normalisation_has_seen_every_step(models):
    encoder = tensors(models[1], "encoder.safetensors")
    assert int(encoder["network.0.2.num_batches_tracked"]) == 12
    assert np.abs(encoder["network.0.2.running_mean"]).max() > 0


@pytest.mark.parametrize("ranks", [2, 3])
def test_features_are_those_of_one_rank(features, ranks):
    assert np.array_equal(features[1], features[ranks]), "features depend on the ranks"


def test_features_are_what_numpy_computes(atlas, models, features):
    difference = np.abs(features[1] - encode(models[1], log_normalised(atlas))).max()
    assert difference < 1e-5, f"features differ from numpy's by {difference}"
