"""retort-evaluate as a user runs it: the same table at 1, 2 and 3 ranks, and rows that numpy and sklearn confirm."""

import json
import os
import shutil

import anndata as ad
import numpy as np
from foundation_runs import SMALL, Runs, log_normalised
from sklearn.linear_model import LogisticRegression

EVALUATE = ["--head.epochs=40", "--evaluate.heads=3", "--evaluate.draws=2"]
NETWORKS = [
    "--head.epochs=1",
    "--evaluate.heads=1",
    "--evaluate.draws=2",
    "--evaluate.spc=1",
    "--evaluate.rows=full,random",
    "--evaluate.classifiers=cnn,tosica",
    "--evaluate.cnn_steps=60",
    "--evaluate.tosica_steps=6",
]


def row(results, variant, spc):
    return next(one for one in results["rows"] if one["variant"] == variant and one["spc"] == spc)


def write_class_means(atlas, x, file):
    """The class means of the train cells as numpy has them, in the form of a distilled set."""
    train = (atlas.obs["split"] == "train").to_numpy()
    names = list(atlas.obs["cell_type"].cat.categories)
    means = np.expm1(np.stack([x[train & (atlas.obs["cell_type"] == name).to_numpy()].mean(0) for name in names]))
    cells = np.log1p(means / means.sum(1, keepdims=True) * 1e4).astype(np.float32)
    made = ad.AnnData(
        cells[::-1].copy(), obs={"cell_type": names[::-1]}, var=atlas.var[[]]
    )  # in another order than the classes'
    made.obs["cell_type"] = made.obs["cell_type"].astype("category")
    made.write_h5ad(file)


with Runs() as runs:
    folder = runs.path("run")
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
        f"--run.folder={folder}",
    )
    runs.must(
        "ingest", 1, f"--ingest.input={runs.path('input.h5ad')}", "--ingest.label=cell_type", f"--run.folder={folder}"
    )
    runs.must("train-foundation", 1, *SMALL, f"--run.folder={folder}")
    runs.must("embed", 1, f"--run.folder={folder}")
    runs.refused(
        66, "is missing", "evaluate", 3, f"--evaluate.atlas={runs.path('nothing.h5ad')}", f"--run.folder={folder}"
    )
    runs.refused(2, "evaluate.rows has 'best'", "evaluate", 1, "--evaluate.rows=best", f"--run.folder={folder}")

    runs.refused(
        2, "evaluate.classifiers has 'svm'", "evaluate", 1, "--evaluate.classifiers=head,svm", f"--run.folder={folder}"
    )
    runs.refused(
        66, "pathways", "evaluate", 3, f"--evaluate.pathways={runs.path('nothing.gmt')}", f"--run.folder={folder}"
    )
    with open(runs.path("broken.gmt"), "w") as file:
        file.write("one two three\n")
    broken = [
        "--evaluate.rows=random",
        "--evaluate.spc=1",
        "--evaluate.heads=1",
        "--head.epochs=1",
        "--evaluate.classifiers=tosica",
        f"--evaluate.pathways={runs.path('broken.gmt')}",
    ]
    runs.refused(65, "broken.gmt' line 1", "evaluate", 3, *broken, f"--run.folder={folder}")

    atlas, x = ad.read_h5ad(os.path.join(folder, "atlas.h5ad")), log_normalised(os.path.join(folder, "atlas.h5ad"))
    os.makedirs(os.path.join(folder, "distilled"))
    for name in ("numpy-mean-spc1-draw0", "numpy-mean-spc1-draw1"):
        write_class_means(atlas, x, os.path.join(folder, "distilled", name + ".h5ad"))

    texts = []
    for ranks in (1, 2, 3):
        done = runs.must(
            "evaluate", ranks, *EVALUATE, "--evaluate.spc=1,4", "--run.again=true", f"--run.folder={folder}"
        )
        assert "class_mean" in done.stdout and "headroom" in done.stdout, done.stdout
        with open(os.path.join(folder, "results.json")) as file:
            results = json.load(file)
        for one in results["rows"]:
            assert one.pop("seconds") > 0
        texts.append(json.dumps(results))
    assert texts[0] == texts[1] == texts[2], "the results depend on the ranks"

    wanted = {
        ("full", 0),
        ("genes", 0),
        ("random", 1),
        ("medoid", 1),
        ("class_mean", 1),
        ("numpy", 1),
        ("random", 4),
        ("kmeans", 4),
        ("kmeans_mean", 4),
    }
    assert {(one["variant"], one["spc"]) for one in results["rows"]} == wanted
    assert {(one["variant"], one["spc"]) for one in results["celltypist"]} == wanted - {("full", 0), ("genes", 0)}
    ours, numpys = row(results, "class_mean", 1), row(results, "numpy", 1)
    assert numpys["draws"] == 2 and numpys["matching"] == "mean" and numpys["held_out_accuracy"] is not None
    assert abs(ours["accuracy_mean"] - numpys["accuracy_mean"]) < 2, (
        ours,
        numpys,
    )  # other initial heads in the second draw
    assert set(ours["recall"]) == set(atlas.obs["cell_type"].cat.categories)

    train, held_out = (atlas.obs["split"] == "train").to_numpy(), atlas.obs["held_out"].to_numpy(bool)
    data = results["data"]
    assert (data["fit_cells"], data["held_out_cells"], data["test_cells"]) == (
        (train & ~held_out).sum(),
        held_out.sum(),
        (~train).sum(),
    )
    labels = atlas.obs["cell_type"].to_numpy()
    penalty = results["gene_regression"]["penalty"]
    model = LogisticRegression(C=1 / (penalty * train.sum()), max_iter=5000).fit(x[train], labels[train])
    accuracy = 100 * (model.predict(x[~train]) == labels[~train]).mean()
    genes = row(results, "genes", 0)
    assert abs(genes["accuracy_mean"] - accuracy) < 0.5, (
        f"gene regression gives {genes['accuracy_mean']} and sklearn {accuracy}"
    )
    assert genes["accuracy_mean"] > 60, genes["accuracy_mean"]
    print(
        f"genes {genes['accuracy_mean']:.2f}, sklearn {accuracy:.2f}; class mean {ours['accuracy_mean']:.2f}, numpy's {numpys['accuracy_mean']:.2f}"
    )

    # Networks: one is taught by all ranks, the others by one each.
    texts = []
    for ranks in (1, 2, 3):
        done = runs.must("evaluate", ranks, *NETWORKS, "--run.again=true", f"--run.folder={folder}")
        assert (
            "stand-in for scDeepInsight" in done.stdout and "299 random gene sets (no file was given)" in done.stderr
        ), done.stdout + done.stderr
        with open(os.path.join(folder, "results.json")) as file:
            results = json.load(file)
        for classifier in ("cnn", "tosica"):
            assert [(one["variant"], one["spc"], one["draws"]) for one in results[classifier]] == [
                ("full", 0, 1),
                ("random", 1, 2),
            ], results[classifier]
            for one in results[classifier]:
                one.pop("seconds")
        texts.append(json.dumps([results["cnn"], results["tosica"], results["pathways"]]))
    assert texts[0] == texts[1] == texts[2], "the networks depend on the ranks"
    assert results["pathways"]["random"] and results["pathways"]["count"] == 299, results["pathways"]
    assert results["cnn"][0]["accuracy_mean"] > 60, results["cnn"]  # five classes

    # A set that is no cell file ends all ranks with one line.
    shutil.copy(__file__, os.path.join(folder, "distilled", "numpy-mean-spc1-draw2.h5ad"))
    runs.refused(65, "numpy-mean-spc1-draw2.h5ad", "evaluate", 3, *EVALUATE, f"--run.folder={folder}")
    print("passed")
