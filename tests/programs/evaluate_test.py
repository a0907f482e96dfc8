"""retort-evaluate as a user runs it: the same table at 1, 2 and 3 ranks, and rows that numpy and sklearn confirm."""

import os
import shutil

import anndata as ad
import numpy as np
import pytest
from foundation_runs import SMALL, filled, log_normalised, read_json, refusals
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


@pytest.fixture(scope="module")
def folder(runs):
    """A run with features, and two sets that numpy made."""
    made = runs.path("run")
    spread = ["--simulate.types=5", "--simulate.type_sd=1.2", "--simulate.type_share=0.3"]
    file = runs.ingest(1, runs.simulate_h5ad("input.h5ad", "--simulate.cells=900", *spread), made)
    runs.must("train-foundation", 1, *SMALL, f"--run.folder={made}")
    runs.must("embed", 1, f"--run.folder={made}")
    os.makedirs(os.path.join(made, "distilled"))
    for name in ("numpy-mean-spc1-draw0", "numpy-mean-spc1-draw1"):
        write_class_means(ad.read_h5ad(file), log_normalised(file), os.path.join(made, "distilled", name + ".h5ad"))
    return made


@pytest.fixture(scope="module")
def atlas(folder):
    return ad.read_h5ad(os.path.join(folder, "atlas.h5ad"))


@pytest.fixture(scope="module")
def x(folder):
    return log_normalised(os.path.join(folder, "atlas.h5ad"))


@pytest.fixture(scope="module")
def tables(runs, folder):
    """What is said, and the results, at each number of ranks."""
    made = {}
    for ranks in (1, 2, 3):
        settings = [*EVALUATE, "--evaluate.spc=1,4", "--run.again=true", f"--run.folder={folder}"]
        made[ranks] = runs.must("evaluate", ranks, *settings).stdout, read_json(folder, "results.json")
    return made


@pytest.fixture(scope="module")
def results(tables):
    return tables[3][1]


@pytest.fixture(scope="module")
def networks(runs, folder):
    """Classifiers of which one is taught by all ranks, the others by one each."""
    made = {}
    for ranks in (1, 2, 3):
        done = runs.must("evaluate", ranks, *NETWORKS, "--run.again=true", f"--run.folder={folder}")
        made[ranks] = done, read_json(folder, "results.json")
    return made


@refusals(
    (66, "is missing", "evaluate", 3, "--evaluate.atlas={place}/nothing.h5ad"),
    (2, "evaluate.rows has 'best'", "evaluate", 1, "--evaluate.rows=best"),
    (2, "evaluate.classifiers has 'svm'", "evaluate", 1, "--evaluate.classifiers=head,svm"),
    (66, "pathways", "evaluate", 3, "--evaluate.pathways={place}/nothing.gmt"),
)
def test_refuses(runs, folder, code, says, verb, ranks, settings):
    runs.refused(code, says, verb, ranks, *filled(settings, place=runs.folder), f"--run.folder={folder}")


def test_a_broken_file_of_pathways_is_refused_by_its_line(runs, folder):
    with open(runs.path("broken.gmt"), "w") as file:
        file.write("one two three\n")
    short = ["--evaluate.rows=random", "--evaluate.spc=1", "--evaluate.heads=1", "--head.epochs=1"]
    given = ["--evaluate.classifiers=tosica", f"--evaluate.pathways={runs.path('broken.gmt')}"]
    runs.refused(65, "broken.gmt' line 1", "evaluate", 3, *short, *given, f"--run.folder={folder}")


def test_a_set_that_is_no_cell_file_ends_all_ranks_with_one_line(runs, folder):
    file = os.path.join(folder, "distilled", "numpy-mean-spc1-draw2.h5ad")
    shutil.copy(__file__, file)
    try:
        runs.refused(65, "numpy-mean-spc1-draw2.h5ad", "evaluate", 3, *EVALUATE, f"--run.folder={folder}")
    finally:
        os.remove(file)


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_the_table_is_printed(tables, ranks):
    assert "class_mean" in tables[ranks][0] and "headroom" in tables[ranks][0]
    assert all(one["seconds"] > 0 for one in tables[ranks][1]["rows"])


@pytest.mark.parametrize("ranks", [2, 3])
def test_the_results_are_those_of_one_rank(tables, ranks):
    one, many = ({**tables[n][1], "rows": [dict(row, seconds=0) for row in tables[n][1]["rows"]]} for n in (1, ranks))
    assert one == many, "the results depend on the ranks"


def test_the_table_has_the_rows_that_were_asked_for(results):
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


def test_class_means_are_numpys(results, atlas):
    ours, numpys = row(results, "class_mean", 1), row(results, "numpy", 1)
    assert numpys["draws"] == 2 and numpys["matching"] == "mean" and numpys["held_out_accuracy"] is not None
    # The second draw has other initial heads.
    assert abs(ours["accuracy_mean"] - numpys["accuracy_mean"]) < 2, (ours, numpys)
    assert set(ours["recall"]) == set(atlas.obs["cell_type"].cat.categories)


def test_the_data_are_counted(results, atlas):
    train, held_out = (atlas.obs["split"] == "train").to_numpy(), atlas.obs["held_out"].to_numpy(bool)
    data = results["data"]
    counted = (train & ~held_out).sum(), held_out.sum(), (~train).sum()
    assert (data["fit_cells"], data["held_out_cells"], data["test_cells"]) == counted


def test_the_regression_on_genes_is_sklearns(results, atlas, x):
    train, labels = (atlas.obs["split"] == "train").to_numpy(), atlas.obs["cell_type"].to_numpy()
    penalty = results["gene_regression"]["penalty"]
    model = LogisticRegression(C=1 / (penalty * train.sum()), max_iter=5000).fit(x[train], labels[train])
    accuracy = 100 * (model.predict(x[~train]) == labels[~train]).mean()
    ours = row(results, "genes", 0)["accuracy_mean"]
    assert abs(ours - accuracy) < 0.5, f"gene regression gives {ours} and sklearn {accuracy}"
    assert ours > 60


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_networks_say_what_they_stand_for(networks, ranks):
    done, results = networks[ranks]
    assert "stand-in for scDeepInsight" in done.stdout
    assert "299 random gene sets (no file was given)" in done.stderr
    for classifier in ("cnn", "tosica"):
        rows = [(one["variant"], one["spc"], one["draws"]) for one in results[classifier]]
        assert rows == [("full", 0, 1), ("random", 1, 2)]


@pytest.mark.parametrize("ranks", [2, 3])
def test_networks_are_those_of_one_rank(networks, ranks):
    def timeless(results):
        rows = [dict(row, seconds=0) for name in ("cnn", "tosica") for row in results[name]]
        return rows, results["pathways"]

    assert timeless(networks[ranks][1]) == timeless(networks[1][1]), "the networks depend on the ranks"


def test_networks_learn_five_classes(networks):
    results = networks[3][1]
    assert results["pathways"]["random"] and results["pathways"]["count"] == 299
    assert results["cnn"][0]["accuracy_mean"] > 60
