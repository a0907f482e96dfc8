"""retort-evaluate-generated as a user runs it: sets of counts and of expression beside real cells, what a file can have
wrong, and the page of it."""

import json
import os
import shutil
import types

import anndata as ad
import numpy as np
import pytest
from foundation_runs import digest, log_normalised, read_bytes, read_json
from page_reading import Page, fits
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from scipy.stats import wasserstein_distance

GENES, COMPONENTS = 80, 8
OF_TYPES = "--evaluate_generated.label=cell_type"


def close(a, b, tolerance=1e-4):
    assert abs(a - b) <= tolerance * max(1e-9, abs(b)), (a, b)


@pytest.fixture(scope="module")
def here(runs):
    """A run with an autoencoder."""
    folder = runs.path("run")
    small = ["--simulate.cells=500", "--simulate.genes=150", "--simulate.types=3"]
    runs.ingest(1, runs.simulate_h5ad("cells.h5ad", *small), folder, label="cell_type,condition")
    scvi = ["--vae.model=scvi", "--vae.scvi_hidden=24", "--vae.scvi_latent=6", "--vae.batch=32", "--vae.steps=150"]
    runs.must("train-vae", 2, *scvi, "--run.shards=4", f"--run.folder={folder}")
    return folder


@pytest.fixture(scope="module")
def real(here):
    """The atlas as numpy has it."""
    atlas = ad.read_h5ad(os.path.join(here, "atlas.h5ad"))
    tested = (atlas.obs["split"] == "test").to_numpy()
    return types.SimpleNamespace(
        genes=atlas.var_names,
        labels=atlas.obs[["cell_type", "condition"]],
        types=list(atlas.obs["cell_type"].cat.categories),
        conditions=list(atlas.obs["condition"].cat.categories),
        logs=np.asarray(log_normalised(os.path.join(here, "atlas.h5ad")), dtype=np.float32),
        counts=np.asarray(atlas.X.todense(), dtype=np.float32),
        tested=tested,
        train=np.flatnonzero(~tested)[:180],
    )


@pytest.fixture(scope="module")
def write(runs):
    """Writes a set as a generator of whatever kind would."""

    def written(name, x, obs, genes, values=None, **more):
        categories = obs.reset_index(drop=True).astype(dict.fromkeys(obs, "category"))
        made = ad.AnnData(np.asarray(x, dtype=np.float32), obs=categories)
        made.obs_names = [str(i) for i in range(len(obs))]
        made.var_names = genes
        made.uns["retort"] = {**({"values": values} if values else {}), **more}
        made.write_h5ad(runs.path(name))
        return runs.path(name)

    return written


@pytest.fixture(scope="module")
def evaluate(runs, here):
    """Scores sets in a folder of that name."""

    def evaluated(name, ranks, files, *settings):
        size = [f"--evaluate_generated.genes={GENES}", f"--evaluate_generated.components={COMPONENTS}"]
        places = [f"--run.base={here}", f"--run.folder={runs.path(name)}"]
        sets = f"--evaluate_generated.generated={','.join(files)}"
        runs.must("evaluate-generated", ranks, *places, *size, sets, *settings)
        return read_json(runs.path(name), "generation.json")

    return evaluated


@pytest.fixture(scope="module")
def mixed(real):
    """Train cells with each gene mixed up between them."""
    random = np.random.default_rng(1)
    random.permutation(len(real.genes))
    return np.stack([random.permutation(column) for column in real.counts[real.train].T], axis=1)


@pytest.fixture(scope="module")
def near(real, write):
    """Train cells, with their genes in another order."""
    order = np.random.default_rng(1).permutation(len(real.genes))
    cells = real.counts[real.train][:, order]
    return write("near.h5ad", cells, real.labels.iloc[real.train], real.genes[order], "counts")


@pytest.fixture(scope="module")
def far(real, write, mixed):
    return write("far.h5ad", mixed, real.labels.iloc[real.train], real.genes)  # without a word: counts


@pytest.fixture(scope="module")
def of_counts(evaluate, near, far):
    return {ranks: evaluate(f"counts-{ranks}", ranks, [near, far], OF_TYPES) for ranks in (1, 2, 3)}


@pytest.mark.parametrize("ranks", [2, 3])
def test_scores_are_those_of_one_rank(of_counts, ranks):
    assert of_counts[ranks] == of_counts[1]


def test_generated_cells_stand_beside_the_floor_and_what_the_autoencoder_and_priors_give(of_counts, real):
    rows = of_counts[1]["rows"]
    assert [row["kind"] for row in rows] == [
        "floor",
        "autoencoder",
        "prior",
        "standard prior",
        "generated",
        "generated",
    ]
    assert [row["set"] for row in rows[1:4]] == ["latents of train cells", "Gaussian of latents", "N(0, I) latents"]
    assert len({row["w2"] for row in rows[1:4]}) == 3
    assert of_counts[1]["classes"] == real.types
    assert of_counts[1]["test_cells"] == real.tested.sum() == sum(of_counts[1]["test_cells_of_class"])


@pytest.mark.parametrize("key", ["w2", "mmd2", "frechet", "w1", "scrdit_mmd"])
def test_mixed_up_cells_are_farther_than_real_ones(of_counts, key):
    floor, *_, near_row, far_row = of_counts[1]["rows"]
    assert floor[key] < far_row[key] and near_row[key] < far_row[key]


def test_zeros_are_counted(of_counts, real, mixed):
    compared = of_counts[1]["comparisons"]
    assert len(compared) == 1 and compared[0]["variable_genes"] == GENES
    close(compared[0]["real"]["zeros"], (real.counts[real.tested] == 0).mean(), 1e-6)
    close(of_counts[1]["rows"][-1]["zeros"], (mixed == 0).mean(), 1e-6)


def test_real_cells_are_reconstructed_and_classified(of_counts):
    judged = of_counts[1]["classification"]["cell_type"]
    assert of_counts[1]["reconstruction"]["re"] > 0
    assert 50 < judged["logistic_regression"]["accuracy"] <= 100
    assert {"accuracy", "macro_f1", "roc_auc", "pr_auc"} == set(judged["neighbours"])


@pytest.fixture(scope="module")
def expression(real):
    """Some genes, and cells of one class that are real ones but a little off."""
    random = np.random.default_rng(2)
    some = sorted(random.choice(len(real.genes), 60, replace=False))
    rows = np.flatnonzero(~real.tested & (real.labels["cell_type"] == real.types[1]))[:25]
    return some, rows, np.maximum(real.logs[rows][:, some] + 0.05, 0)


@pytest.fixture(scope="module")
def of_expression(evaluate, write, real, expression, far):
    """The scores of that set, of the same without labels, and of a set of counts."""
    some, rows, x = expression
    genes, labels, values = real.genes[some], real.labels.iloc[rows], "log_normalised"
    one = write("one.h5ad", x, labels, genes, values)
    bare = write("bare.h5ad", x, labels[[]], genes, values, label="cell_type", classes=[real.types[1]])
    return evaluate("expression", 2, [one, bare, far], OF_TYPES)


def test_every_kind_of_set_has_comparisons_of_its_own(of_expression, real):
    over_genes = ["floor", "prior", "generated"]
    of_counts = ["floor", "autoencoder", "prior", "standard prior", "generated"]
    assert [row["kind"] for row in of_expression["rows"]] == [*over_genes, *over_genes, *of_counts]
    assert of_expression["rows"][1]["set"] == "Gaussian of genes"
    assert of_expression["rows"][2]["library"] is None
    of_type = (real.tested & (real.labels["cell_type"] == real.types[1]).to_numpy()).sum()
    compared = [one["test_cells"] for one in of_expression["comparisons"]]
    assert compared == [of_type, of_type, real.tested.sum()]


def test_distances_over_genes_are_scipys(of_expression, real, expression):
    some, _, made = expression
    cells = real.logs[real.tested & (real.labels["cell_type"] == real.types[1]).to_numpy()][:, some]
    axes = np.linalg.svd(cells - cells.mean(0), full_matrices=False)[2][:COMPONENTS].T
    n = min(len(cells), len(made))
    cost = cdist((cells[:n] - cells.mean(0)) @ axes, (made[:n] - cells.mean(0)) @ axes, "sqeuclidean")
    of_class = of_expression["rows"][2]["of_class"]
    close(of_class["w2"][1], cost[linear_sum_assignment(cost)].mean() ** 0.5)
    close(of_class["w1"][1], wasserstein_distance(cells[:n].ravel(), made[:n].ravel()))
    assert of_class["w2"][0] is None


def test_a_set_without_labels_is_judged_as_a_whole(of_expression):
    bare = of_expression["rows"][5]
    assert bare["of_class"]["w2"] == [None] * 3 and bare["w2"] == bare["of_all"]["w2"] > 0


def test_a_combination_that_no_generator_saw_is_scored_alone(evaluate, near, real):
    pair = f"{real.types[0]}/{real.conditions[1]}"
    of_both = "--evaluate_generated.label=cell_type,condition"
    result = evaluate("pairs", 1, [near], of_both, f"--evaluate_generated.left_out={pair}")
    place = result["classes"].index(pair)
    assert len(result["classes"]) == 6 and result["unseen"] == [i == place for i in range(6)]
    row = result["rows"][-1]
    assert row["unseen"]["w2"] == row["of_class"]["w2"][place]
    assert set(result["classification"]) == {"cell_type", "condition"}


@pytest.fixture(scope="module")
def refused(runs, here):
    to = [f"--run.base={here}", f"--run.folder={runs.path('refused')}", OF_TYPES]
    return lambda code, text, file, *more: runs.refused(
        code, text, "evaluate-generated", 2, *to, f"--evaluate_generated.generated={file}", *more
    )


def test_a_gene_that_the_atlas_lacks_is_refused(refused, write, real, mixed):
    genes = list(real.genes)
    genes[3] = "NEW1"
    file = write("new.h5ad", mixed, real.labels.iloc[real.train], genes)
    refused(65, "the gene 'NEW1', which the atlas lacks", file)


def test_a_value_that_is_no_number_is_refused_by_row_and_gene(refused, write, real, mixed):
    holed = mixed.copy()
    holed[4, 5] = np.nan
    file = write("holed.h5ad", holed, real.labels.iloc[real.train], real.genes)
    refused(65, f"row 4 holds nan of gene '{real.genes[5]}'", file)


def test_a_set_without_cells_is_refused(refused, write, real, mixed):
    refused(65, "has 0 cells", write("none.h5ad", mixed[:0], real.labels.iloc[:0], real.genes))


def test_a_class_that_the_atlas_lacks_is_refused(refused, write, real, mixed):
    labels = real.labels.iloc[:2].assign(cell_type=["t99", real.types[0]])
    file = write("strange.h5ad", mixed[:2], labels, real.genes)
    refused(65, "is 't99', and the atlas has no such cells", file)


def test_values_of_another_kind_are_refused(refused, write, real, mixed):
    refused(65, "values is 'tpm'", write("tpm.h5ad", mixed, real.labels.iloc[real.train], real.genes, "tpm"))


def test_a_missing_file_and_bad_settings_are_refused(runs, refused, near):
    refused(66, "is missing", runs.path("gone.h5ad"))
    refused(2, "evaluate_generated.neighbours is 0", near, "--evaluate_generated.neighbours=0")
    refused(2, "there are no cells 'x/y'", near, "--evaluate_generated.left_out=x/y")


@pytest.fixture(scope="module")
def pages(runs, here, of_expression):
    made = {}
    for ranks in (1, 2):
        places = [f"--run.base={here}", f"--run.folder={runs.path('expression')}"]
        runs.must("report", ranks, *places, "--run.again=true", "--report.cells=60")
        made[ranks] = digest(runs.path("expression"), "report.html")
    return made


def test_the_page_is_that_of_one_rank(pages):
    assert pages[2] == pages[1]


def test_the_page_has_it_all(runs, pages):
    page = Page(read_bytes(runs.path("expression"), "report.html").decode())
    for title in (
        "Generated cells beside real ones: one",
        "Generated cells, class by class",
        "Map of real and generated cells",
        "What the autoencoder keeps",
        "Autoencoder of counts",
        "Gaussian of genes (prior)",
    ):
        assert page.says(title), title
    assert not page.says("Run retort-distill") and not page.says("Not on this page")


@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_is_no_wider_than_a_window(runs, pages, width):
    if not shutil.which("chromium"):
        pytest.skip("no chromium to lay the page out")
    assert fits(runs.path("expression", "report.html"), runs.path(), width), f"wider than {width} pixels"


def test_the_page_of_damaged_scores_is_refused(runs, here, of_expression, pages):
    with open(runs.path("expression", "generation.json"), "w") as file:
        json.dump({**of_expression, "comparisons": 7}, file)
    places = [f"--run.base={here}", f"--run.folder={runs.path('expression')}"]
    runs.refused(65, "Run retort-evaluate-generated again", "report", 2, *places)
