"""From simulated cells to distilled files: same bytes on any number of ranks, files that anndata and CellTypist take,
test and held-out cells that change no weight, faults that are spoken."""

import json
import os
import shutil

import anndata as ad
import celltypist
import h5py
import numpy as np
import pytest
from foundation_runs import SMALL, digest, read_json, refusals
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.preprocessing import StandardScaler

TRAIN = ["--diffusion.steps=20", "--diffusion.hidden=64,32", "--run.shards=4"]
QUICK = [
    "--distill.variants=scdd,cells",
    "--distill.matchings=dm,dc",
    "--distill.spc=1,20",
    "--distill.iterations=6",
    "--distill.score_steps=0,3",
    "--distill.rates=0.01,0.05",
    "--distill.draws=2",
    "--head.epochs=20",
    "--run.shards=4",
    "--run.again=true",
]


def sets_of(folder):
    place = os.path.join(folder, "distilled")
    return {name: digest(place, name) for name in sorted(os.listdir(place))}


def read_sets(folder):
    return {name: ad.read_h5ad(os.path.join(folder, "distilled", name)) for name in sets_of(folder)}


@pytest.fixture(scope="module")
def folder(runs):
    """A run with features."""
    made = runs.path("run")
    runs.ingest(1, runs.simulate_h5ad("cells.h5ad"), made)
    runs.must("train-foundation", 1, *SMALL, f"--run.folder={made}")
    runs.must("embed", 1, f"--run.folder={made}")
    return made


@pytest.fixture(scope="module")
def at_ranks(runs, folder):
    """The generator, the sets and the chosen set at each number of ranks."""
    made = {}
    for ranks in (1, 2, 3, 4):
        runs.must("train-diffusion", ranks, *TRAIN, "--run.again=true", f"--run.folder={folder}")
        runs.must("distill", ranks, *QUICK, f"--run.folder={folder}")
        generator = digest(folder, "generator", "scdg.safetensors")
        made[ranks] = generator, sets_of(folder), digest(folder, "distilled.h5ad")
    return made


@pytest.fixture(scope="module")
def made(folder, at_ranks):
    return read_sets(folder)


@pytest.fixture(scope="module")
def atlas(folder):
    return ad.read_h5ad(os.path.join(folder, "atlas.h5ad"))


@pytest.fixture(scope="module")
def log(atlas):
    counts = atlas.X.astype(np.float64).toarray()
    return np.log1p(counts / counts.sum(1, keepdims=True) * 1e4)


@pytest.fixture(scope="module")
def inputs(folder, at_ranks):
    files = {"atlas": "atlas.h5ad", "features": "features.h5ad", "foundation": "foundation", "generator": "generator"}
    return [f"--distill.{name}={folder}/{file}" for name, file in files.items()]


@pytest.fixture(scope="module")
def others(runs, inputs):
    """A run of the other variants."""
    folder = runs.path("variants")
    runs.must(
        "distill",
        2,
        *QUICK,
        *inputs,
        "--distill.variants=decoder,features,features_decoded,generator,random",
        "--distill.matchings=dm,head",
        "--distill.spc=2",
        "--distill.draws=1",
        f"--run.folder={folder}",
    )
    return folder


@pytest.fixture(scope="module")
def judged(runs, folder, others):
    """What the evaluation says of them."""
    runs.must(
        "evaluate",
        2,
        f"--evaluate.atlas={folder}/atlas.h5ad",
        f"--evaluate.features={folder}/features.h5ad",
        f"--evaluate.foundation={folder}/foundation",
        "--evaluate.rows=full,random,distilled",
        "--evaluate.classifiers=head,celltypist,logistic",
        "--evaluate.heads=2",
        "--head.epochs=50",
        f"--run.folder={others}",
    )
    results = read_json(others, "results.json")
    return {
        key: {(row["variant"], row["matching"]): row["accuracy_mean"] for row in results[key]}
        for key in ("rows", "celltypist", "logistic")
    }


@pytest.mark.parametrize("ranks", [2, 3, 4])
def test_generator_and_sets_are_those_of_one_rank(at_ranks, ranks):
    assert at_ranks[ranks][0] == at_ranks[1][0], f"the generator at {ranks} ranks is not that at 1"
    assert at_ranks[ranks][1] == at_ranks[1][1], f"other sets at {ranks} ranks"


@pytest.mark.parametrize("ranks", [1, 2, 3, 4])
def test_all_sets_are_there_and_one_is_chosen(at_ranks, ranks):
    _, sets, chosen = at_ranks[ranks]
    assert len(sets) == 16  # variants x matchings x spc x draws
    assert chosen in sets.values(), "distilled.h5ad is none of the sets"


def test_draws_differ(at_ranks):
    assert at_ranks[1][1]["scdd-dm-spc1-draw0.h5ad"] != at_ranks[1][1]["scdd-dm-spc1-draw1.h5ad"]


def test_the_chosen_set_did_best_on_the_held_out_part_by_features_and_by_genes(folder, made):
    def both(cells):
        said = cells.uns["retort"]
        return (float(said["held_out_accuracy"]) + float(said["held_out_genes_accuracy"])) / 2

    assert both(ad.read_h5ad(os.path.join(folder, "distilled.h5ad"))) == max(map(both, made.values()))


def test_every_set_says_how_well_it_did(folder, made):
    with open(os.path.join(folder, "distill", "log.jsonl")) as file:
        scores = [json.loads(line) for line in file if '"score"' in line]
    first = [each for each in scores if each["set"] == "scdd-dm-spc20-draw0"]
    chosen = made["scdd-dm-spc20-draw0.h5ad"].uns["retort"]
    assert {chosen["held_out_accuracy"]} == {
        each["held_out"] for each in first if each["rate"] == chosen["rate"] and each["step"] == chosen["iterations"]
    }
    assert {(each["rate"], each["step"]) for each in first} == {(0.01, 0), (0.01, 3), (0.01, 6), (0.05, 3), (0.05, 6)}


def test_sets_are_cells_as_anndata_wants_them(made, atlas):
    for name, each in made.items():
        assert each.X.dtype == np.float32 and each.X.min() >= 0, name
        assert np.abs(np.expm1(each.X.astype(np.float64)).sum(1) - 1e4).max() < 0.5, name
        assert list(each.obs["cell_type"].cat.categories) == list(atlas.obs["cell_type"].cat.categories), name
        assert (each.obs["cell_type"].value_counts() == int(each.uns["retort"]["spc"])).all(), name
        assert list(each.var_names) == list(atlas.var_names), name
        assert ("X_latent" in each.obsm) == name.startswith("scdd"), name
        assert not any("seconds" in key for key in each.uns["retort"]), name


def test_celltypist_takes_a_set_as_it_is(made):
    # use_SGD: CellTypist's other path passes multi_class, which scikit-learn 1.8 took away. The check of X stays on.
    settings = {"labels": "cell_type", "use_SGD": True, "check_expression": True, "n_jobs": 1, "max_iter": 100}
    assert len(celltypist.train(made["scdd-dm-spc20-draw0.h5ad"], **settings).cell_types) == 4


def test_the_other_variants_are_there(others):
    matched = [
        f"{name}-{by}-spc2-draw0.h5ad" for name in ("decoder", "features", "features_decoded") for by in ("dm", "head")
    ]
    taken = [f"{name}-none-spc2-draw0.h5ad" for name in ("generator", "random")]
    assert sorted(sets_of(others)) == sorted(matched + taken)


def test_random_cells_are_real_cells(others, log):
    for cell in read_sets(others)["random-none-spc2-draw0.h5ad"].X:
        assert np.abs(log - cell).max(1).min() < 1e-3


def test_the_generator_starts_from_latents_of_real_cells(folder, others):
    features = ad.read_h5ad(os.path.join(folder, "features.h5ad")).obsm["X_retort"]
    for code in read_sets(others)["generator-none-spc2-draw0.h5ad"].obsm["X_latent"]:
        assert np.abs(features - code).max(1).min() == 0


def test_features_are_judged_by_features_and_cells_by_cells(judged):
    assert ("features", "head") in judged["rows"] and ("random", "none") in judged["rows"]
    assert ("features", "dm") not in judged["celltypist"] and ("decoder", "head") in judged["celltypist"]


@pytest.mark.parametrize("variant, matching", [("random", "none"), ("decoder", "dm")])
def test_celltypist_and_logistic_regression_are_sklearns(others, judged, atlas, log, variant, matching):
    """CellTypist's: standardised, cut at 10, one class against the rest. Logistic regression takes its defaults."""
    train, test = read_sets(others)[f"{variant}-{matching}-spc2-draw0.h5ad"], (atlas.obs["split"] == "test").values
    cells, labels = train.X.astype(np.float64), train.obs["cell_type"]
    scaler = StandardScaler().fit(cells)

    def scaled(x):
        return np.minimum(scaler.transform(x.astype(np.float64)), 10) * (train.X.sum(0) > 0)

    one_cell = 100 / test.sum() + 1e-6
    model = OneVsRestClassifier(LogisticRegression(C=1, max_iter=1000, tol=1e-6)).fit(scaled(train.X), labels)
    accuracy = 100 * (model.predict(scaled(log[test])) == atlas.obs["cell_type"][test]).mean()
    assert abs(accuracy - judged["celltypist"][variant, matching]) <= one_cell
    model = LogisticRegression(max_iter=1000, tol=1e-6).fit(cells, labels)
    accuracy = 100 * (model.predict(log[test]) == atlas.obs["cell_type"][test]).mean()
    assert abs(accuracy - judged["logistic"][variant, matching]) <= one_cell


def test_cells_outside_the_fit_part_change_no_weight(runs, folder, at_ranks, atlas):
    other = runs.path("other")
    os.makedirs(other)
    shutil.copy(os.path.join(folder, "features.h5ad"), os.path.join(other, "features.h5ad"))
    fit = ((atlas.obs["split"] == "train") & ~atlas.obs["held_out"]).values
    assert 0.3 < fit.mean() < 0.7 and atlas.obs["held_out"].any()
    with h5py.File(os.path.join(other, "features.h5ad"), "r+") as file:
        values = file["obsm/X_retort"][:]
        values[~fit] = 1.0
        file["obsm/X_retort"][:] = values
    runs.must("train-diffusion", 2, *TRAIN, f"--diffusion.atlas={folder}/atlas.h5ad", f"--run.folder={other}")
    assert digest(other, "generator", "scdg.safetensors") == at_ranks[1][0]


@refusals(
    (2, "no genes to learn", "distill", 1, "--distill.variants=features_decoded", "--distill.matchings=genes"),
    (2, "features alone", "distill", 1, "--distill.variants=features"),
    *[
        row
        for ranks in (1, 3)
        for row in (
            (2, "distill.variants has 'glad'", "distill", ranks, "--distill.variants=glad"),
            (2, "distill.matchings has 'mtt'", "distill", ranks, "--distill.matchings=mtt"),
            (2, "'dit'", "train-diffusion", ranks, "--diffusion.model=dit"),
            (66, "/nowhere.h5ad", "distill", ranks, "--distill.features=/nowhere.h5ad"),
        )
    ],
)
def test_refuses(runs, folder, at_ranks, code, says, verb, ranks, settings):
    runs.refused(code, says, verb, ranks, *settings, "--run.again=true", f"--run.folder={folder}")


def test_a_generator_of_other_features_is_refused(runs, folder, at_ranks):
    other = runs.path("other_generator")
    shutil.copytree(os.path.join(folder, "generator"), other)
    described = read_json(other, "config.json")
    described["encoder"] = "0" * 16
    with open(os.path.join(other, "config.json"), "w") as file:
        json.dump(described, file)
    settings = [f"--distill.generator={other}", "--run.again=true", f"--run.folder={folder}"]
    runs.refused(65, "trained on other features", "distill", 3, *settings)
