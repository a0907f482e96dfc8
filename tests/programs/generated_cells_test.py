"""retort-evaluate-generated as a user runs it: sets of counts and of expression beside real cells, what a file can have wrong, and the page of it."""

import json
import os
import shutil

import anndata as ad
import numpy as np
from foundation_runs import Runs, log_normalised, read_bytes
from page_reading import Page, fits
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from scipy.stats import wasserstein_distance

GENES, COMPONENTS = 80, 8


def scores(folder):
    with open(os.path.join(folder, "generation.json")) as file:
        return json.load(file)


def close(a, b, tolerance=1e-4):
    assert abs(a - b) <= tolerance * max(1e-9, abs(b)), (a, b)


with Runs() as runs:
    here = runs.path("run")
    runs.must(
        "simulate",
        1,
        "--simulate.cells=500",
        "--simulate.genes=150",
        "--simulate.types=3",
        "--simulate.format=h5ad",
        f"--simulate.output={runs.path('cells.h5ad')}",
        f"--run.folder={runs.path('simulate')}",
    )
    runs.must(
        "ingest",
        1,
        f"--ingest.input={runs.path('cells.h5ad')}",
        "--ingest.label=cell_type,condition",
        f"--run.folder={here}",
    )
    runs.must(
        "train-vae",
        2,
        "--vae.model=scvi",
        "--vae.scvi_hidden=24",
        "--vae.scvi_latent=6",
        "--vae.batch=32",
        "--vae.steps=150",
        "--run.shards=4",
        f"--run.folder={here}",
    )
    atlas = ad.read_h5ad(os.path.join(here, "atlas.h5ad"))
    logs = np.asarray(log_normalised(os.path.join(here, "atlas.h5ad")), dtype=np.float32)
    is_test = (atlas.obs["split"] == "test").to_numpy()
    types = list(atlas.obs["cell_type"].cat.categories)

    def write(name, x, obs, genes, values=None, **more):
        made = ad.AnnData(
            np.asarray(x, dtype=np.float32), obs=obs.reset_index(drop=True).astype(dict.fromkeys(obs, "category"))
        )
        made.obs_names = [str(i) for i in range(len(obs))]
        made.var_names = genes
        made.uns["retort"] = {**({"values": values} if values else {}), **more}
        made.write_h5ad(runs.path(name))
        return runs.path(name)

    def evaluate(name, ranks, *settings):
        runs.must(
            "evaluate-generated",
            ranks,
            f"--run.base={here}",
            f"--run.folder={runs.path(name)}",
            f"--evaluate_generated.genes={GENES}",
            f"--evaluate_generated.components={COMPONENTS}",
            *settings,
        )
        return scores(runs.path(name))

    # Sets of counts: train cells in another order of genes, and the same with genes mixed up between cells.
    labels = atlas.obs[["cell_type", "condition"]]
    counts, train = np.asarray(atlas.X.todense(), dtype=np.float32), np.flatnonzero(~is_test)[:180]
    random = np.random.default_rng(1)
    order = random.permutation(len(atlas.var_names))
    near = write("near.h5ad", counts[train][:, order], labels.iloc[train], atlas.var_names[order], "counts")
    mixed = np.stack([random.permutation(column) for column in counts[train].T], axis=1)
    far = write("far.h5ad", mixed, labels.iloc[train], atlas.var_names)  # without a word: counts
    found = {
        ranks: evaluate(
            f"counts-{ranks}",
            ranks,
            f"--evaluate_generated.generated={near},{far}",
            "--evaluate_generated.label=cell_type",
        )
        for ranks in (1, 2, 3)
    }
    assert found[1] == found[2] == found[3], "the scores depend on the ranks"
    result = found[1]
    floor, kept, prior, standard, near_row, far_row = result["rows"]
    assert [row["kind"] for row in result["rows"]] == [
        "floor",
        "autoencoder",
        "prior",
        "standard prior",
        "generated",
        "generated",
    ]
    assert [row["set"] for row in (kept, prior, standard)] == [
        "latents of train cells",
        "Gaussian of latents",
        "N(0, I) latents",
    ]
    for key in ("w2", "mmd2", "frechet", "w1", "scrdit_mmd"):
        assert floor[key] < far_row[key] and near_row[key] < far_row[key], key
    assert len({row["w2"] for row in (kept, prior, standard)}) == 3
    assert result["classes"] == types and result["test_cells"] == is_test.sum() == sum(result["test_cells_of_class"])
    assert len(result["comparisons"]) == 1 and result["comparisons"][0]["variable_genes"] == GENES
    close(result["comparisons"][0]["real"]["zeros"], (counts[is_test] == 0).mean(), 1e-6)
    close(far_row["zeros"], (mixed == 0).mean(), 1e-6)
    assert (
        result["reconstruction"]["re"] > 0
        and 50 < result["classification"]["cell_type"]["logistic_regression"]["accuracy"] <= 100
    )
    assert {"accuracy", "macro_f1", "roc_auc", "pr_auc"} == set(result["classification"]["cell_type"]["neighbours"])

    # A set of expression over some genes, of one class: W2 and W1 as SciPy has them, with components from NumPy.
    some = sorted(random.choice(len(atlas.var_names), 60, replace=False))
    of_type = np.flatnonzero(~is_test & (atlas.obs["cell_type"] == types[1]))[:25]
    expression = np.maximum(logs[of_type][:, some] + 0.05, 0)
    one = write("one.h5ad", expression, labels.iloc[of_type], atlas.var_names[some], "log_normalised")
    bare = write(
        "bare.h5ad",
        expression,
        labels.iloc[of_type][[]],
        atlas.var_names[some],
        "log_normalised",
        label="cell_type",
        classes=[types[1]],
    )
    result = evaluate(
        "expression", 2, f"--evaluate_generated.generated={one},{bare},{far}", "--evaluate_generated.label=cell_type"
    )
    assert [row["kind"] for row in result["rows"]] == ["floor", "prior", "generated"] * 2 + [
        "floor",
        "autoencoder",
        "prior",
        "standard prior",
        "generated",
    ] and len(result["comparisons"]) == 3
    assert result["rows"][1]["set"] == "Gaussian of genes"
    of_one, of_bare = result["rows"][2], result["rows"][5]
    real = logs[is_test & (atlas.obs["cell_type"] == types[1]).to_numpy()][:, some]
    assert [c["test_cells"] for c in result["comparisons"]] == [len(real), len(real), is_test.sum()] and of_one[
        "library"
    ] is None
    axes = np.linalg.svd(real - real.mean(0), full_matrices=False)[2][:COMPONENTS].T
    n = min(len(real), len(expression))
    cost = cdist((real[:n] - real.mean(0)) @ axes, (expression[:n] - real.mean(0)) @ axes, "sqeuclidean")
    close(of_one["of_class"]["w2"][1], cost[linear_sum_assignment(cost)].mean() ** 0.5)
    close(of_one["of_class"]["w1"][1], wasserstein_distance(real[:n].ravel(), expression[:n].ravel()))
    assert (
        of_one["of_class"]["w2"][0] is None
        and of_bare["of_class"]["w2"] == [None] * 3
        and of_bare["w2"] == of_bare["of_all"]["w2"] > 0
    )

    # Combinations of two columns, one of which no generator saw.
    pair = f"{types[0]}/{atlas.obs['condition'].cat.categories[1]}"
    result = evaluate(
        "pairs",
        1,
        f"--evaluate_generated.generated={near}",
        "--evaluate_generated.label=cell_type,condition",
        f"--evaluate_generated.left_out={pair}",
    )
    place = result["classes"].index(pair)
    assert len(result["classes"]) == 6 and result["unseen"] == [i == place for i in range(6)]
    row = result["rows"][-1]
    assert row["unseen"]["w2"] == row["of_class"]["w2"][place] and set(result["classification"]) == {
        "cell_type",
        "condition",
    }

    # Refused, by name.
    to = [f"--run.base={here}", f"--run.folder={runs.path('refused')}", "--evaluate_generated.label=cell_type"]
    refused = lambda code, text, file, *more: runs.refused(
        code, text, "evaluate-generated", 2, *to, f"--evaluate_generated.generated={file}", *more
    )
    new = list(atlas.var_names)
    new[3] = "NEW1"
    holed = mixed.copy()
    holed[4, 5] = np.nan
    refused(65, "the gene 'NEW1', which the atlas lacks", write("new.h5ad", mixed, labels.iloc[train], new))
    refused(
        65,
        f"row 4 holds nan of gene '{atlas.var_names[5]}'",
        write("holed.h5ad", holed, labels.iloc[train], atlas.var_names),
    )
    refused(65, "has 0 cells", write("none.h5ad", mixed[:0], labels.iloc[:0], atlas.var_names))
    refused(
        65,
        "is 't99', and the atlas has no such cells",
        write("strange.h5ad", mixed[:2], labels.iloc[:2].assign(cell_type=["t99", types[0]]), atlas.var_names),
    )
    refused(65, "values is 'tpm'", write("tpm.h5ad", mixed, labels.iloc[train], atlas.var_names, "tpm"))
    refused(66, "is missing", runs.path("gone.h5ad"))
    refused(2, "evaluate_generated.neighbours is 0", near, "--evaluate_generated.neighbours=0")
    refused(2, "there are no cells 'x/y'", near, "--evaluate_generated.left_out=x/y")

    # The page has it all, the same at any number of ranks.
    pages = []
    for ranks in (1, 2):
        runs.must(
            "report",
            ranks,
            f"--run.base={here}",
            f"--run.folder={runs.path('expression')}",
            "--run.again=true",
            "--report.cells=60",
        )
        pages.append(read_bytes(runs.path("expression"), "report.html").decode())
    assert pages[0] == pages[1], "the page depends on the ranks"
    page = Page(pages[0])
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
    if shutil.which("chromium"):
        for width in (1280, 390):
            assert fits(runs.path("expression", "report.html"), runs.path(), width), f"wider than {width} pixels"
    else:
        print("skipped: no chromium to lay the page out")
    with open(runs.path("expression", "generation.json"), "w") as file:
        json.dump({**result, "comparisons": 7}, file)
    runs.refused(
        65,
        "Run retort-evaluate-generated again",
        "report",
        2,
        f"--run.base={here}",
        f"--run.folder={runs.path('expression')}",
    )
    print("passed")
