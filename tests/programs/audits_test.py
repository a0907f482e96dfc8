"""The audits of retort-evaluate: the same at 1, 2 and 3 ranks, and what scikit-learn, scanpy, scipy and numpy say of the same files."""

import json
import os
import warnings

warnings.filterwarnings("ignore")
import anndata as ad
import numpy as np
import scanpy as sc
import scipy.stats
from foundation_runs import SMALL, Runs, encode, log_normalised
from sklearn.metrics import roc_auc_score

EVALUATE = [
    "--head.epochs=40",
    "--evaluate.heads=2",
    "--evaluate.draws=2",
    "--evaluate.rows=full,random,class_mean,distilled",
]
NAMES = ['a "quoted"\n{class}', "naïve / \\ 2", "T", "B", "rare", "single"]


def write_set(folder, atlas, cells, labels, name):
    made = ad.AnnData(cells.astype(np.float32), obs={"cell_type": labels}, var=atlas.var[[]])
    made.obs["cell_type"] = made.obs["cell_type"].astype("category")
    made.write_h5ad(os.path.join(folder, "distilled", name + ".h5ad"))


def noisy_means(x, labels, rows, spc, seed):
    """Means of a few cells a class, as a distilled set looks."""
    random, cells, of_class = np.random.default_rng(seed), [], []
    for name in sorted(set(labels[rows])):
        own = np.flatnonzero(rows & (labels == name))
        for _ in range(spc):
            cells.append(x[random.choice(own, 3)].mean(0))
            of_class.append(name)
    cells = np.expm1(np.array(cells))
    return np.log1p(cells / cells.sum(1, keepdims=True) * 1e4).astype(np.float32), np.array(of_class)


def folds(x, labels, name):
    return (x[labels == name].mean(0) - x[labels != name].mean(0)) / np.log(2)


def top(values):
    return set(np.argsort(-values, kind="stable")[:50])


def audit_of(results, name):
    return next(one for one in results["audits"]["sets"] if one["set"] == name)


with Runs() as runs:
    folder = runs.path("run")
    here = f"--run.folder={folder}"
    runs.must(
        "simulate",
        1,
        "--simulate.cells=900",
        "--simulate.genes=300",
        "--simulate.types=5",
        "--simulate.type_sd=1.2",
        "--simulate.type_share=0.3",
        f"--simulate.output={runs.path('input.h5ad')}",
        "--simulate.format=h5ad",
        here,
    )
    given = ad.read_h5ad(runs.path("input.h5ad"))
    types = given.obs["cell_type"].cat.codes.to_numpy()
    order = np.argsort(types == 4, kind="stable")
    kept = np.sort(
        np.concatenate([order[types[order] != 4], order[types[order] == 4][:9]])
    )  # nine cells of the fifth type, one of which is alone
    given = given[kept].copy()
    types = types[kept]
    types[np.flatnonzero(types == 4)[-1]] = 5
    given.obs["cell_type"] = [NAMES[code] for code in types]
    given.obs["cell_type"] = given.obs["cell_type"].astype("category")
    given.write_h5ad(runs.path("input.h5ad"))
    runs.must("ingest", 1, f"--ingest.input={runs.path('input.h5ad')}", "--ingest.label=cell_type", here)
    runs.must("train-foundation", 1, *SMALL, here)
    runs.must("embed", 1, here)

    atlas = ad.read_h5ad(os.path.join(folder, "atlas.h5ad"))
    x = log_normalised(os.path.join(folder, "atlas.h5ad")).astype(np.float32)
    labels = atlas.obs["cell_type"].astype(str).to_numpy()
    train = (atlas.obs["split"] == "train").to_numpy()
    fit = train & ~atlas.obs["held_out"].to_numpy(bool)
    assert (labels == "single").sum() == 1 and 0 < (labels[train] == "rare").sum() <= 10, (
        "the rare classes are not there"
    )
    os.makedirs(os.path.join(folder, "distilled"))
    for draw in range(4):
        for variant in ("mean", "other"):
            for spc in (1, 6):
                write_set(
                    folder,
                    atlas,
                    *noisy_means(x, labels, fit, spc, 10 * draw + spc + 100 * (variant == "other")),
                    f"{variant}-dm-spc{spc}-draw{draw}",
                )
    planted = fit & (labels != "T")  # a set that holds every member of all classes but one, so it leaks them
    write_set(folder, atlas, x[planted], labels[planted], "planted-dm-spc1-draw0")

    texts = []
    for ranks in (1, 2, 3):
        done = runs.must("evaluate", ranks, *EVALUATE, "--run.again=true", here)
        with open(os.path.join(folder, "results.json")) as file:
            results = json.load(file)
        texts.append(json.dumps(results["audits"]))
    assert texts[0] == texts[1] == texts[2], "the audits depend on the ranks"
    assert "Audits" in done.stdout and "planted-dm-spc1 leaks membership by its cells alone in" in done.stdout, (
        done.stdout
    )
    audits = results["audits"]
    assert (audits["members"], audits["non_members"]) == (fit.sum(), (~fit).sum())
    assert abs(audits["smallest_real_value"] - x[train][x[train] > 0].min()) < 1e-6

    # Membership.
    features = ad.read_h5ad(os.path.join(folder, "features.h5ad")).obsm["X_retort"]
    for name in ("mean-dm-spc1", "other-dm-spc6", "planted-dm-spc1"):
        audit = audit_of(results, name)
        made = ad.read_h5ad(os.path.join(folder, "distilled", f"{name}-draw0.h5ad"))
        of_class = made.obs["cell_type"].astype(str).to_numpy()
        for prefix, real, own in (
            ("membership", features, encode(os.path.join(folder, "foundation"), np.asarray(made.X, np.float64))),
            ("expression", x, made.X),
        ):
            scores = np.full(len(labels), np.nan)
            for one in set(of_class):
                scores[labels == one] = -np.linalg.norm(
                    real[labels == one][:, None] - own[of_class == one][None], axis=2
                ).min(1)
            if (
                prefix == "membership"
            ):  # in the planted set distances of copies differ by rounding: our encoder has float32
                scores = np.round(scores, 5)
            known = ~np.isnan(scores)
            areas = {
                one: roc_auc_score(fit[labels == one], scores[labels == one]) for one in NAMES[:4] if one in of_class
            }
            assert abs(audit[f"{prefix}_auc"] - roc_auc_score(fit[known], scores[known])) < 1e-3, (
                name,
                prefix,
                audit[f"{prefix}_auc"],
                roc_auc_score(fit[known], scores[known]),
            )
            assert areas.keys() == audit[f"{prefix}_auc_by_class"].keys() and all(
                abs(areas[one] - audit[f"{prefix}_auc_by_class"][one]) < 1e-3 for one in areas
            ), (areas, audit)
            low, high = audit[f"{prefix}_interval"]
            assert 0 <= low <= audit[f"{prefix}_auc"] <= high <= 1
        if name.startswith("planted"):
            assert (
                audit["membership_auc"] > 0.95 and audit["expression_auc"] == 1 and audit["copies"] == planted.sum()
            ), audit
            assert set(audit["expression_leaks"]) == set(NAMES[:4]) - {"T"} == set(audit["leaks"]) and set(
                audit["too_few_cells"]
            ) == {"T", "rare", "single"}, audit
        else:
            copies = sum(
                np.abs(x[labels == one] - cell).max(1).min() < 1e-4 for one, cell in zip(of_class, made.X)
            )  # of the class of one cell, all
            assert abs(audit["expression_auc"] - 0.5) < 0.12 and audit["copies"] == copies > 0, (audit, copies)
    assert abs(audit_of(results, "class_mean-spc1")["expression_auc"] - 0.5) < 0.06

    # Zeros, detected genes, spread.
    made = ad.read_h5ad(os.path.join(folder, "distilled", "mean-dm-spc6-draw0.h5ad"))
    own, of_class = np.asarray(made.X), made.obs["cell_type"].astype(str).to_numpy()
    audit, classes = audit_of(results, "mean-dm-spc6"), sorted(set(of_class))
    zeros = audit["zero_proportion"]
    assert abs(zeros["distilled"] - (own == 0).mean()) < 1e-9
    assert abs(zeros["real"] - np.mean([(x[train & (labels == one)] == 0).mean() for one in classes])) < 1e-9
    smallest = np.float32(audits["smallest_real_value"])
    assert abs(zeros["below_smallest"] - (own < smallest).mean()) < 1e-9
    detected, limits = (
        (own >= smallest).sum(1),
        {one: np.quantile((x[train & (labels == one)] > 0).sum(1), [0.05, 0.95]) for one in classes},
    )
    inside = np.mean([limits[one][0] <= count <= limits[one][1] for one, count in zip(of_class, detected)])
    genes = audit["detected_genes"]
    assert abs(genes["inside"] - inside) < 1e-9 and abs(genes["distilled"] - detected.mean()) < 1e-6
    assert np.allclose(genes["real_interval"], np.mean(list(limits.values()), axis=0))
    assert audit["library_size"]["largest_deviation"] < 1e-4
    spread = [
        (values.std(0) / np.maximum(values.mean(0), 1e-30)).astype(np.float32)
        for values in (x[train].astype(float), own.astype(float))
    ]
    both = (spread[0] > 0) & (spread[1] > 0)
    variation = audit["coefficient_of_variation"]
    assert abs(variation["spearman"] - scipy.stats.spearmanr(spread[0][both], spread[1][both]).statistic) < 5e-3
    assert (
        abs(variation["real"] - np.median(spread[0][both])) < 1e-4
        and abs(variation["distilled"] - np.median(spread[1][both])) < 1e-4
    )

    # Marker genes.
    def tested(cells, of_cells):
        data = ad.AnnData(cells, obs={"cell_type": of_cells}, var=atlas.var[[]])
        data.obs["cell_type"] = data.obs["cell_type"].astype("category")
        groups = [one for one in sorted(set(of_cells)) if (of_cells == one).sum() >= 5]
        sc.tl.rank_genes_groups(data, "cell_type", groups=groups, method="wilcoxon", tie_correct=True)
        return {one: sc.get.rank_genes_groups_df(data, one).set_index("names").loc[data.var_names] for one in groups}

    real, distilled = tested(x[train], labels[train]), tested(own, of_class)
    markers = audit["differential_expression"]
    for one, audited in markers["by_class"].items():
        ours, theirs = folds(own.astype(float), of_class, one), folds(x[train].astype(float), labels[train], one)
        shared = len(top(ours) & top(theirs))
        assert abs(audited["fold_spearman"] - scipy.stats.spearmanr(ours, theirs).statistic) < 1e-3
        assert abs(audited["jaccard_at_50"] - shared / (100 - shared)) < 0.03
        if one in real:
            assert (
                abs(audited["precision_at_50"] - len(top(ours) & top(real[one]["scores"].to_numpy())) / 50) < 0.021
            ), one
    calls = markers["calls"]
    both = sorted(set(real) & set(distilled))
    signs = [
        np.concatenate([np.sign(tests[one]["scores"]) * (tests[one]["pvals_adj"] < 0.05) for one in both])
        for tests in (real, distilled)
    ]
    right = ((signs[0] == signs[1]) & (signs[1] != 0)).sum()
    assert calls["classes"] == len(both) >= 4, calls
    for ours, theirs in (
        (calls["real"], (signs[0] != 0).sum()),
        (calls["distilled"], (signs[1] != 0).sum()),
        (calls["recall"] * calls["real"], right),
        (calls["precision"] * calls["distilled"], right),
    ):
        assert abs(ours - theirs) <= 0.02 * theirs, (calls, ours, theirs)
    assert audit_of(results, "mean-dm-spc1")["differential_expression"]["calls"] is None

    # Rare classes, and pairs of variants.
    rare = audits["rare_classes"]
    assert {"rare", "single"} <= set(rare["train_cells"]) and rare["rows"][0]["set"] == "full", rare
    assert rare["rows"][0]["recall"]["single"] is None
    pairs = {(test["classifier"], test["spc"]): test for test in audits["paired_tests"]}
    assert set(pairs) == {("head", 1), ("head", 6), ("celltypist", 1), ("celltypist", 6)}, pairs.keys()
    for (classifier, spc), test in pairs.items():
        rows = {
            one["variant"]: one
            for one in (results["rows"] if classifier == "head" else results["celltypist"])
            if one["spc"] == spc and one["matching"]
        }
        a, b = (np.array(rows[name.split("-")[0]]["accuracy_by_draw"]) for name in test["sets"])
        assert abs(a.mean() - rows["mean"]["accuracy_mean"]) < 1e-9 and test["draws"] == 4
        assert abs(test["difference"] - (a - b).mean()) < 1e-9
        if test["t_p"] is not None:
            student = scipy.stats.ttest_rel(a, b)
            assert abs(test["t_p"] - student.pvalue) < 1e-6 and np.allclose(
                test["interval"], student.confidence_interval(), atol=1e-6
            )
        if len(set(abs(a - b))) == 4 and np.all(a != b):
            assert abs(test["signed_rank_p"] - scipy.stats.wilcoxon(a, b, method="exact").pvalue) < 1e-9

    off = runs.must("evaluate", 1, *EVALUATE, "--evaluate.audits=false", here)
    with open(os.path.join(folder, "results.json")) as file:
        assert "audits" not in json.load(file) and "Audits" not in off.stdout

    runs.must("evaluate", 2, *EVALUATE, "--head.hidden=7", here)  # the attack by confidence goes through all layers
    with open(os.path.join(folder, "results.json")) as file:
        assert all(0 <= one["confidence_auc"] <= 1 for one in json.load(file)["audits"]["sets"])
    print("passed")
