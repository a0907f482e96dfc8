"""From simulated cells to distilled files: same bytes on any number of ranks, files that anndata and CellTypist take,
test and held-out cells that change no weight, faults that are spoken."""

import json
import os
import shutil
import warnings

warnings.filterwarnings("ignore")
import anndata as ad
import celltypist
import h5py
import numpy as np
from foundation_runs import SMALL, Runs, read_bytes
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
    return {
        name: read_bytes(folder, "distilled", name) for name in sorted(os.listdir(os.path.join(folder, "distilled")))
    }


with Runs() as runs:
    folder = runs.path("run")
    here = f"--run.folder={folder}"
    cells = runs.path("cells.h5ad")
    runs.must(
        "simulate",
        1,
        "--simulate.cells=600",
        "--simulate.genes=300",
        "--simulate.types=4",
        "--simulate.format=h5ad",
        f"--simulate.output={cells}",
        f"--run.folder={runs.path('simulate')}",
    )
    runs.must("ingest", 1, f"--ingest.input={cells}", "--ingest.label=cell_type", here)
    runs.must("train-foundation", 1, *SMALL, here)
    runs.must("embed", 1, here)

    # Same bytes on any number of ranks.
    generator, files = None, None
    for ranks in (1, 2, 3, 4):
        runs.must("train-diffusion", ranks, *TRAIN, "--run.again=true", here)
        now = read_bytes(folder, "generator", "scdg.safetensors")
        generator = generator or now
        assert now == generator, f"the generator at {ranks} ranks is not that at 1"
        runs.must("distill", ranks, *QUICK, here)
        now = sets_of(folder)
        files = files or now
        assert len(now) == 16, list(now)  # variants x matchings x spc x draws
        assert now == files, f"at {ranks} ranks another {[name for name in now if now[name] != files[name]]}"
        assert read_bytes(folder, "distilled.h5ad") in files.values(), "distilled.h5ad is none of the sets"
    assert files["scdd-dm-spc1-draw0.h5ad"] != files["scdd-dm-spc1-draw1.h5ad"]

    # The exported set is the one that did best on the held-out part, by features and by genes, and every set says how well it did.
    made = {name: ad.read_h5ad(os.path.join(folder, "distilled", name)) for name in files}
    both = lambda set: (
        (float(set.uns["retort"]["held_out_accuracy"]) + float(set.uns["retort"]["held_out_genes_accuracy"])) / 2
    )
    assert both(ad.read_h5ad(os.path.join(folder, "distilled.h5ad"))) == max(map(both, made.values()))
    scores = [json.loads(line) for line in open(os.path.join(folder, "distill", "log.jsonl")) if '"score"' in line]
    first = [each for each in scores if each["set"] == "scdd-dm-spc20-draw0"]
    chosen = made["scdd-dm-spc20-draw0.h5ad"].uns["retort"]
    assert {chosen["held_out_accuracy"]} == {
        each["held_out"] for each in first if each["rate"] == chosen["rate"] and each["step"] == chosen["iterations"]
    }
    assert {(each["rate"], each["step"]) for each in first} == {(0.01, 0), (0.01, 3), (0.01, 6), (0.05, 3), (0.05, 6)}

    # Cells as anndata and CellTypist want them.
    atlas = ad.read_h5ad(os.path.join(folder, "atlas.h5ad"))
    for name, each in made.items():
        assert each.X.dtype == np.float32 and each.X.min() >= 0, name
        assert np.abs(np.expm1(each.X.astype(np.float64)).sum(1) - 1e4).max() < 0.5, name
        assert list(each.obs["cell_type"].cat.categories) == list(atlas.obs["cell_type"].cat.categories), name
        assert (each.obs["cell_type"].value_counts() == int(each.uns["retort"]["spc"])).all(), name
        assert list(each.var_names) == list(atlas.var_names), name
        assert ("X_latent" in each.obsm) == name.startswith("scdd"), name
        assert not any("seconds" in key for key in each.uns["retort"]), name
    # use_SGD: CellTypist's other path passes multi_class, which scikit-learn 1.8 took away. The check of X stays on.
    model = celltypist.train(
        made["scdd-dm-spc20-draw0.h5ad"],
        labels="cell_type",
        use_SGD=True,
        check_expression=True,
        n_jobs=1,
        max_iter=100,
    )
    assert len(model.cell_types) == 4

    # The other variants: what they are made of, and that evaluation judges features by features and cells by cells.
    other = runs.path("variants")
    inputs = [
        f"--distill.{name}={folder}/{file}"
        for name, file in (
            ("atlas", "atlas.h5ad"),
            ("features", "features.h5ad"),
            ("foundation", "foundation"),
            ("generator", "generator"),
        )
    ]
    runs.must(
        "distill",
        2,
        *QUICK,
        *inputs,
        "--distill.variants=decoder,features,features_decoded,generator,random",
        "--distill.matchings=dm,head",
        "--distill.spc=2",
        "--distill.draws=1",
        f"--run.folder={other}",
    )
    runs.refused(
        2,
        "no genes to learn",
        "distill",
        1,
        "--distill.variants=features_decoded",
        "--distill.matchings=genes",
        *inputs,
        "--run.again=true",
        f"--run.folder={other}",
    )
    variants = {
        name: ad.read_h5ad(os.path.join(other, "distilled", name))
        for name in os.listdir(os.path.join(other, "distilled"))
    }
    assert sorted(variants) == sorted(
        [
            f"{variant}-{matching}-spc2-draw0.h5ad"
            for variant in ("decoder", "features", "features_decoded")
            for matching in ("dm", "head")
        ]
        + ["generator-none-spc2-draw0.h5ad", "random-none-spc2-draw0.h5ad"]
    ), sorted(variants)
    log = atlas.X.astype(np.float64).toarray()
    log = np.log1p(log / log.sum(1, keepdims=True) * 1e4)
    for cell in variants["random-none-spc2-draw0.h5ad"].X:
        assert np.abs(log - cell).max(1).min() < 1e-3, "a random cell is no real cell"
    fit_features = ad.read_h5ad(os.path.join(folder, "features.h5ad")).obsm["X_retort"]
    for code in variants["generator-none-spc2-draw0.h5ad"].obsm["X_latent"]:
        assert np.abs(fit_features - code).max(1).min() == 0, "the generator does not start from a real cell's latent"
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
        f"--run.folder={other}",
    )
    rows = {
        (row["variant"], row["matching"]): row for row in json.load(open(os.path.join(other, "results.json")))["rows"]
    }
    assert ("features", "head") in rows and ("random", "none") in rows, list(rows)
    # CellTypist's classifier is scikit-learn's on the same files: standardised, cut at 10, one against the rest. Logistic regression takes its defaults.
    others, plain = (
        {
            (row["variant"], row["matching"]): row["accuracy_mean"]
            for row in json.load(open(os.path.join(other, "results.json")))[key]
        }
        for key in ("celltypist", "logistic")
    )
    assert ("features", "dm") not in others and ("decoder", "head") in others, list(others)
    test = (atlas.obs["split"] == "test").values
    for variant, matching in (("random", "none"), ("decoder", "dm")):
        train = variants[f"{variant}-{matching}-spc2-draw0.h5ad"]
        scaler = StandardScaler().fit(train.X.astype(np.float64))
        scaled = lambda x: np.minimum(scaler.transform(x.astype(np.float64)), 10) * (train.X.sum(0) > 0)
        model = OneVsRestClassifier(LogisticRegression(C=1, max_iter=1000, tol=1e-6)).fit(
            scaled(train.X), train.obs["cell_type"]
        )
        accuracy = 100 * (model.predict(scaled(log[test])) == atlas.obs["cell_type"][test]).mean()
        assert abs(accuracy - others[variant, matching]) <= 100 / test.sum() + 1e-6, (variant, accuracy, others)
        model = LogisticRegression(max_iter=1000, tol=1e-6).fit(train.X.astype(np.float64), train.obs["cell_type"])
        accuracy = 100 * (model.predict(log[test]) == atlas.obs["cell_type"][test]).mean()
        assert abs(accuracy - plain[variant, matching]) <= 100 / test.sum() + 1e-6, (variant, accuracy, plain)
    runs.refused(
        2,
        "features alone",
        "distill",
        1,
        "--distill.variants=features",
        *inputs,
        "--run.again=true",
        f"--run.folder={other}",
    )

    # Cells outside the fit part change no weight: with their features replaced the generator is the same.
    other = runs.path("other")
    os.makedirs(other)
    shutil.copy(os.path.join(folder, "features.h5ad"), os.path.join(other, "features.h5ad"))
    fit = ((atlas.obs["split"] == "train") & ~atlas.obs["held_out"]).values
    assert 0.3 < fit.mean() < 0.7 and atlas.obs["held_out"].any(), fit.mean()
    with h5py.File(os.path.join(other, "features.h5ad"), "r+") as file:
        values = file["obsm/X_retort"][:]
        values[~fit] = 1.0
        file["obsm/X_retort"][:] = values
    runs.must("train-diffusion", 2, *TRAIN, f"--diffusion.atlas={folder}/atlas.h5ad", f"--run.folder={other}")
    assert read_bytes(other, "generator", "scdg.safetensors") == generator, (
        "cells outside the fit part changed the generator"
    )

    # Faults are spoken once, on any number of ranks.
    again = ["--run.again=true", here]
    for ranks in (1, 3):
        runs.refused(2, "distill.variants has 'glad'", "distill", ranks, "--distill.variants=glad", *again)
        runs.refused(2, "distill.matchings has 'mtt'", "distill", ranks, "--distill.matchings=mtt", *again)
        runs.refused(2, "'dit'", "train-diffusion", ranks, "--diffusion.model=dit", *again)
        runs.refused(66, "/nowhere.h5ad", "distill", ranks, "--distill.features=/nowhere.h5ad", *again)
    config = os.path.join(folder, "generator", "config.json")
    described = json.load(open(config))
    described["encoder"] = "0" * 16
    json.dump(described, open(config, "w"))
    runs.refused(65, "trained on other features", "distill", 3, *again)
    print("passed")
