"""The audits of retort-evaluate: the same at 1, 2 and 3 ranks, and what scikit-learn, scanpy, scipy and numpy say of
the same files."""

import os
import types

import anndata as ad
import numpy as np
import pytest
import scanpy as sc
import scipy.stats
from audited_sets import NAMES, noisy_means, write_rare_atlas, write_set
from foundation_runs import SMALL, encode, log_normalised, read_json
from sklearn.metrics import roc_auc_score

EVALUATE = [
    "--head.epochs=40",
    "--evaluate.heads=2",
    "--evaluate.draws=2",
    "--evaluate.rows=full,random,class_mean,distilled",
]


def audit_of(results, name):
    return next(one for one in results["audits"]["sets"] if one["set"] == name)


@pytest.fixture(scope="module")
def given(runs):
    """The atlas, which of its cells are for what, and the folder in which its sets lie."""
    folder = runs.path("run")
    spread = ["--simulate.types=5", "--simulate.type_sd=1.2", "--simulate.type_share=0.3"]
    cells = runs.simulate_h5ad("input.h5ad", "--simulate.cells=900", *spread)
    write_rare_atlas(cells)
    file = runs.ingest(1, cells, folder)
    runs.must("train-foundation", 1, *SMALL, f"--run.folder={folder}")
    runs.must("embed", 1, f"--run.folder={folder}")
    atlas, x = ad.read_h5ad(file), log_normalised(file).astype(np.float32)
    labels = atlas.obs["cell_type"].astype(str).to_numpy()
    train = (atlas.obs["split"] == "train").to_numpy()
    fit = train & ~atlas.obs["held_out"].to_numpy(bool)
    os.makedirs(os.path.join(folder, "distilled"))
    for draw in range(4):
        for variant in ("mean", "other"):
            for spc in (1, 6):
                made = noisy_means(x, labels, fit, spc, 10 * draw + spc + 100 * (variant == "other"))
                write_set(folder, atlas, *made, f"{variant}-dm-spc{spc}-draw{draw}")
    planted = fit & (labels != "T")  # a set that holds every member of all classes but one, so it leaks them
    write_set(folder, atlas, x[planted], labels[planted], "planted-dm-spc1-draw0")
    return types.SimpleNamespace(folder=folder, atlas=atlas, x=x, labels=labels, train=train, fit=fit, planted=planted)


@pytest.fixture(scope="module")
def at_ranks(runs, given):
    made = {}
    for ranks in (1, 2, 3):
        done = runs.must("evaluate", ranks, *EVALUATE, "--run.again=true", f"--run.folder={given.folder}")
        made[ranks] = done.stdout, read_json(given.folder, "results.json")
    return made


@pytest.fixture(scope="module")
def results(at_ranks):
    return at_ranks[3][1]


@pytest.fixture(scope="module")
def six(given):
    """A set of six cells per class: its cells and their classes."""
    made = ad.read_h5ad(os.path.join(given.folder, "distilled", "mean-dm-spc6-draw0.h5ad"))
    return np.asarray(made.X), made.obs["cell_type"].astype(str).to_numpy()


def test_the_rare_classes_are_there(given):
    assert (given.labels == "single").sum() == 1 and 0 < (given.labels[given.train] == "rare").sum() <= 10


@pytest.mark.parametrize("ranks", [2, 3])
def test_the_audits_are_those_of_one_rank(at_ranks, ranks):
    assert at_ranks[ranks][1]["audits"] == at_ranks[1][1]["audits"], "the audits depend on the ranks"


def test_a_leak_is_told(at_ranks):
    said = at_ranks[3][0]
    assert "Audits" in said and "planted-dm-spc1 leaks membership by its cells alone in" in said


def test_members_are_the_fitted_cells(given, results):
    audits = results["audits"]
    assert (audits["members"], audits["non_members"]) == (given.fit.sum(), (~given.fit).sum())
    train = given.x[given.train]
    assert abs(audits["smallest_real_value"] - train[train > 0].min()) < 1e-6


def nearest(real, labels, own, of_class):
    """Minus the distance of each cell to the nearest cell of its class in a set."""
    scores = np.full(len(labels), np.nan)
    for one in set(of_class):
        distances = np.linalg.norm(real[labels == one][:, None] - own[of_class == one][None], axis=2)
        scores[labels == one] = -distances.min(1)
    return scores


@pytest.mark.parametrize("space", ["membership", "expression"])
@pytest.mark.parametrize("name", ["mean-dm-spc1", "other-dm-spc6", "planted-dm-spc1"])
def test_membership_is_sklearns_area(given, results, name, space):
    audit, labels = audit_of(results, name), given.labels
    made = ad.read_h5ad(os.path.join(given.folder, "distilled", f"{name}-draw0.h5ad"))
    of_class = made.obs["cell_type"].astype(str).to_numpy()
    if space == "membership":
        features = ad.read_h5ad(os.path.join(given.folder, "features.h5ad")).obsm["X_retort"]
        own = encode(os.path.join(given.folder, "foundation"), np.asarray(made.X, np.float64))
        # In the planted set distances of copies differ by rounding: our encoder has float32.
        scores = np.round(nearest(features, labels, own, of_class), 5)
    else:
        scores = nearest(given.x, labels, made.X, of_class)
    known = ~np.isnan(scores)
    found, expected = audit[f"{space}_auc"], roc_auc_score(given.fit[known], scores[known])
    assert abs(found - expected) < 1e-3
    areas = {
        one: roc_auc_score(given.fit[labels == one], scores[labels == one]) for one in set(of_class) & set(NAMES[:4])
    }
    by_class = audit[f"{space}_auc_by_class"]
    assert areas.keys() == by_class.keys() and all(abs(areas[one] - by_class[one]) < 1e-3 for one in areas)
    low, high = audit[f"{space}_interval"]
    assert 0 <= low <= found <= high <= 1


def test_a_planted_set_leaks_what_it_holds(given, results):
    audit = audit_of(results, "planted-dm-spc1")
    assert audit["membership_auc"] > 0.95 and audit["expression_auc"] == 1
    assert audit["copies"] == given.planted.sum()
    assert set(audit["expression_leaks"]) == set(NAMES[:4]) - {"T"} == set(audit["leaks"])
    assert set(audit["too_few_cells"]) == {"T", "rare", "single"}


@pytest.mark.parametrize("name", ["mean-dm-spc1", "other-dm-spc6"])
def test_means_leak_nothing_but_a_class_of_one_cell(given, results, name):
    made = ad.read_h5ad(os.path.join(given.folder, "distilled", f"{name}-draw0.h5ad"))
    copies = sum(
        np.abs(given.x[given.labels == one] - cell).max(1).min() < 1e-4
        for one, cell in zip(made.obs["cell_type"].astype(str), made.X)
    )  # of the class of one cell, all
    audit = audit_of(results, name)
    assert abs(audit["expression_auc"] - 0.5) < 0.12 and audit["copies"] == copies > 0


def test_class_means_leak_nothing(results):
    assert abs(audit_of(results, "class_mean-spc1")["expression_auc"] - 0.5) < 0.06


def test_zeros_and_detected_genes_are_numpys(given, results, six):
    (own, of_class), x, audit = six, given.x, audit_of(results, "mean-dm-spc6")
    of_train = {one: x[given.train & (given.labels == one)] for one in sorted(set(of_class))}
    smallest, zeros = np.float32(results["audits"]["smallest_real_value"]), audit["zero_proportion"]
    assert abs(zeros["distilled"] - (own == 0).mean()) < 1e-9
    assert abs(zeros["real"] - np.mean([(cells == 0).mean() for cells in of_train.values()])) < 1e-9
    assert abs(zeros["below_smallest"] - (own < smallest).mean()) < 1e-9
    detected = (own >= smallest).sum(1)
    limits = {one: np.quantile((cells > 0).sum(1), [0.05, 0.95]) for one, cells in of_train.items()}
    inside = np.mean([limits[one][0] <= count <= limits[one][1] for one, count in zip(of_class, detected)])
    genes = audit["detected_genes"]
    assert abs(genes["inside"] - inside) < 1e-9 and abs(genes["distilled"] - detected.mean()) < 1e-6
    assert np.allclose(genes["real_interval"], np.mean(list(limits.values()), axis=0))
    assert audit["library_size"]["largest_deviation"] < 1e-4


def test_the_spread_of_genes_is_scipys(given, results, six):
    spread = [
        (values.std(0) / np.maximum(values.mean(0), 1e-30)).astype(np.float32)
        for values in (given.x[given.train].astype(float), six[0].astype(float))
    ]
    both = (spread[0] > 0) & (spread[1] > 0)
    variation = audit_of(results, "mean-dm-spc6")["coefficient_of_variation"]
    assert abs(variation["spearman"] - scipy.stats.spearmanr(spread[0][both], spread[1][both]).statistic) < 5e-3
    assert abs(variation["real"] - np.median(spread[0][both])) < 1e-4
    assert abs(variation["distilled"] - np.median(spread[1][both])) < 1e-4


def tested(cells, labels, genes):
    """scanpy's tests of each class against the rest."""
    data = ad.AnnData(cells, obs={"cell_type": labels}, var=genes)
    data.obs["cell_type"] = data.obs["cell_type"].astype("category")
    groups = [one for one in sorted(set(labels)) if (labels == one).sum() >= 5]
    sc.tl.rank_genes_groups(data, "cell_type", groups=groups, method="wilcoxon", tie_correct=True)
    return {one: sc.get.rank_genes_groups_df(data, one).set_index("names").loc[data.var_names] for one in groups}


@pytest.fixture(scope="module")
def scanpys(given, six):
    genes = given.atlas.var[[]]
    return tested(given.x[given.train], given.labels[given.train], genes), tested(*six, genes)


def test_marker_genes_are_scanpys(given, results, six, scanpys):
    def folds(x, labels, name):
        return (x[labels == name].mean(0) - x[labels != name].mean(0)) / np.log(2)

    def top(values):
        return set(np.argsort(-values, kind="stable")[:50])

    (own, of_class), real = six, scanpys[0]
    for one, audited in audit_of(results, "mean-dm-spc6")["differential_expression"]["by_class"].items():
        ours = folds(own.astype(float), of_class, one)
        theirs = folds(given.x[given.train].astype(float), given.labels[given.train], one)
        shared = len(top(ours) & top(theirs))
        assert abs(audited["fold_spearman"] - scipy.stats.spearmanr(ours, theirs).statistic) < 1e-3
        assert abs(audited["jaccard_at_50"] - shared / (100 - shared)) < 0.03
        if one in real:
            precision = len(top(ours) & top(real[one]["scores"].to_numpy())) / 50
            assert abs(audited["precision_at_50"] - precision) < 0.021, one


def test_calls_of_genes_are_scanpys(results, scanpys):
    both = sorted(set(scanpys[0]) & set(scanpys[1]))
    real, distilled = (
        np.concatenate([np.sign(tests[one]["scores"]) * (tests[one]["pvals_adj"] < 0.05) for one in both])
        for tests in scanpys
    )
    right = ((real == distilled) & (distilled != 0)).sum()
    calls = audit_of(results, "mean-dm-spc6")["differential_expression"]["calls"]
    assert calls["classes"] == len(both) >= 4
    for ours, theirs in (
        (calls["real"], (real != 0).sum()),
        (calls["distilled"], (distilled != 0).sum()),
        (calls["recall"] * calls["real"], right),
        (calls["precision"] * calls["distilled"], right),
    ):
        assert abs(ours - theirs) <= 0.02 * theirs
    assert audit_of(results, "mean-dm-spc1")["differential_expression"]["calls"] is None


def test_rare_classes_are_told_apart(results):
    rare = results["audits"]["rare_classes"]
    assert {"rare", "single"} <= set(rare["train_cells"]) and rare["rows"][0]["set"] == "full"
    assert rare["rows"][0]["recall"]["single"] is None


def test_pairs_of_variants_are_tested_as_scipy_tests(results):
    pairs = {(test["classifier"], test["spc"]): test for test in results["audits"]["paired_tests"]}
    assert set(pairs) == {("head", 1), ("head", 6), ("celltypist", 1), ("celltypist", 6)}
    for (classifier, spc), test in pairs.items():
        table = results["rows" if classifier == "head" else classifier]
        rows = {one["variant"]: one for one in table if one["spc"] == spc and one["matching"]}
        a, b = (np.array(rows[name.split("-")[0]]["accuracy_by_draw"]) for name in test["sets"])
        assert abs(a.mean() - rows["mean"]["accuracy_mean"]) < 1e-9 and test["draws"] == 4
        assert abs(test["difference"] - (a - b).mean()) < 1e-9
        if test["t_p"] is not None:
            student = scipy.stats.ttest_rel(a, b)
            assert abs(test["t_p"] - student.pvalue) < 1e-6
            assert np.allclose(test["interval"], student.confidence_interval(), atol=1e-6)
        if len(set(abs(a - b))) == 4 and np.all(a != b):
            assert abs(test["signed_rank_p"] - scipy.stats.wilcoxon(a, b, method="exact").pvalue) < 1e-9


def test_audits_can_be_left_out(runs, given):
    off = runs.must("evaluate", 1, *EVALUATE, "--evaluate.audits=false", f"--run.folder={given.folder}")
    assert "audits" not in read_json(given.folder, "results.json") and "Audits" not in off.stdout


def test_the_attack_by_confidence_goes_through_hidden_layers(runs, given):
    runs.must("evaluate", 2, *EVALUATE, "--head.hidden=7", f"--run.folder={given.folder}")
    assert all(0 <= one["confidence_auc"] <= 1 for one in read_json(given.folder, "results.json")["audits"]["sets"])
