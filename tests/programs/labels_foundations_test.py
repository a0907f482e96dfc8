"""One ingest for several labels, and a foundation from another atlas: the same bytes at 1 and 2 ranks, and what is
refused."""

import os
import subprocess

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from foundation_runs import products, read_json

SETTINGS = """[ingest]
min_cells=0
min_counts=0
[foundation]
hidden=48,40
latent=16
batch=32
steps=150
rate=0.005
triplet_weight=0.5
[diffusion]
steps=20
hidden=32,32,16,16
[distill]
matchings=dm
spc=1,2
iterations=4
score_steps=0,4
[head]
epochs=60
[evaluate]
heads=3
rows=full,random,distilled
"""


def write(cells, file, genes, **columns):
    chosen = cells[:, genes].copy()
    obs = chosen.obs[["cell_type", "condition"]].assign(**columns)
    ad.AnnData(chosen.X.astype(np.float32), obs=obs, var=chosen.var[[]]).write_h5ad(file)


@pytest.fixture(scope="module")
def pipeline(runs, source):
    """Runs the pipeline of a name, and returns what it says."""

    def run(name, ranks, text, code=0):
        with open(runs.path(name + ".ini"), "w") as file:
            file.write(f"{SETTINGS}[run]\nfolder={runs.path(name)}\n{text}\n")
        done = subprocess.run(
            [source / "jobs" / "pipeline.sh", runs.path(name + ".ini"), "--local", str(ranks)],
            capture_output=True,
            text=True,
            timeout=200,
            env={**os.environ, "RETORT_BIN": runs.programs},
        )
        assert done.returncode == code, f"exit {done.returncode}, not {code}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    return run


@pytest.fixture(scope="module")
def cells(runs):
    """Two atlases of other cells are made of them; 150 of the first one's 250 genes are in the second."""
    spread = ["--simulate.nonzeros=120", "--simulate.batch_sd=0.1"]
    return ad.read_h5ad(runs.simulate_h5ad("cells.h5ad", "--simulate.cells=1200", "--simulate.genes=350", *spread))


@pytest.fixture(scope="module")
def second(runs, cells):
    made = cells[600:]
    missing = np.where(np.arange(600) < 5, None, made.obs["condition"].astype(str))
    columns = {"condition": pd.Categorical(missing), "depth": np.linspace(0.5, 1, 600)}
    write(made, runs.path("second.h5ad"), range(100, 350), **columns)
    return made


@pytest.fixture(scope="module")
def first(runs, cells, pipeline):
    """The run of the first atlas, whose foundation the others take."""
    write(cells[:600], runs.path("first.h5ad"), range(250))
    pipeline("first", 1, f"[ingest]\ninput={runs.path('first.h5ad')}\nlabel=cell_type")
    return runs.path("first")


@pytest.fixture(scope="module")
def ingest(runs, first, second):
    """The settings of a run of labels of the second atlas."""

    def settings(label, name="second"):
        return f"[ingest]\ninput={runs.path(name + '.h5ad')}\nlabel={label}\n[foundation]\nimport={first}/foundation"

    return settings


@pytest.fixture(scope="module")
def borrowed(runs, pipeline, ingest):
    """What is said, and what is made, with two labels and the foundation of another atlas."""
    said = pipeline("one", 1, ingest("cell_type,condition"))
    return said, products(runs.path("one"))


def folder_of(runs, label):
    return runs.path("one") if label == "cell_type" else runs.path("one", "labels", label)


def test_a_run_of_one_label_has_no_folder_of_labels(first):
    assert not any("labels" in name for name in products(first))


def test_shared_genes_and_cells_without_labels_are_told(borrowed):
    assert "the model has 250 genes, 150 of them in the atlas" in borrowed[0]
    assert "no label in 'cell_type' or 'condition'" in borrowed[0]


def test_every_label_has_its_products(borrowed):
    of_label = [
        "distilled.h5ad",
        "distilled/scdd-dm-spc1-draw0.h5ad",
        "distilled/scdd-dm-spc2-draw0.h5ad",
        "generator/scdg.safetensors",
    ]
    shared = {"atlas.h5ad", "features.h5ad", "foundation/encoder.safetensors", "foundation/decoder.safetensors"}
    assert {at + name for at in ("", "labels/condition/") for name in of_label} | shared == set(borrowed[1])


def test_products_are_those_of_one_rank(runs, pipeline, ingest, borrowed):
    pipeline("two", 2, ingest("cell_type,condition"))
    assert products(runs.path("two")) == borrowed[1]


def test_the_encoder_is_the_other_atlass(runs, first, borrowed):
    taken, given = (read_json(folder, "foundation", "config.json") for folder in (runs.path("one"), first))
    assert taken["weights"] == given["weights"]


@pytest.mark.parametrize("label", ["cell_type", "condition"])
def test_sets_have_the_genes_of_the_encoder_and_the_classes_of_their_label(runs, cells, borrowed, label):
    distilled = ad.read_h5ad(os.path.join(folder_of(runs, label), "distilled", "scdd-dm-spc2-draw0.h5ad"))
    assert list(distilled.var_names) == list(cells.var_names[:250])
    assert distilled.obs[label].value_counts().to_dict() == dict.fromkeys(cells.obs[label].unique(), 2)


@pytest.mark.parametrize("label", ["cell_type", "condition"])
def test_every_label_has_its_table_and_page(runs, cells, borrowed, label):
    data = read_json(folder_of(runs, label), "results.json")["data"]
    assert data["label"] == label and data["cells"] == 595
    with open(os.path.join(folder_of(runs, label), "report.html")) as page:
        assert cells.obs[label].iloc[0] in page.read()


def test_the_other_atlass_encoder_tells_classes_apart(runs, borrowed):
    rows = {row["variant"]: row["accuracy_mean"] for row in read_json(runs.path("one"), "results.json")["rows"]}
    assert rows["full"] > rows["random"] + 10


def test_a_second_run_does_nothing(pipeline, ingest, borrowed):
    assert pipeline("one", 1, ingest("cell_type,condition")).count("already done") == 11


def refused(pipeline, name, text, says):
    lines = [line for line in pipeline(name, 1, text, code=65).splitlines() if "error:" in line]
    assert len(lines) == 1 and says in lines[0], lines


@pytest.mark.parametrize(
    "name, genes, says",
    [
        ("few", range(230, 350), "has 20 of the model's 250 genes"),
        ("strange", range(250, 350), "zero genes in common"),
    ],
)
def test_too_few_shared_genes_are_refused(runs, pipeline, ingest, second, name, genes, says):
    write(second, runs.path(name + ".h5ad"), genes)
    refused(pipeline, name, ingest("cell_type", name), says)


def test_log_values_are_refused(runs, pipeline, ingest, second):
    logged = second[:, 100:].copy()
    logged.X = np.log1p(logged.X.astype(np.float32) * 1.3)
    write(logged, runs.path("logged.h5ad"), range(250))
    refused(pipeline, "logged", ingest("cell_type", "logged"), "has no counts")


@pytest.mark.parametrize(
    "name, label, says",
    [
        ("numbers", "cell_type,depth", "no classes but other values in column 'depth'"),
        ("absent", "cell_type,stage", "no label column 'stage'"),
    ],
)
def test_columns_without_classes_are_refused(pipeline, ingest, name, label, says):
    refused(pipeline, name, ingest(label), says)


def test_a_class_that_nothing_could_be_learned_from_is_refused(runs, pipeline, ingest, second, borrowed):
    classes = np.array(second.obs["condition"].astype(str))
    atlas = ad.read_h5ad(runs.path("one", "atlas.h5ad")).obs
    classes[atlas["source_row"][atlas["split"] == "test"].iloc[0]] = "rare"
    write(second[5:], runs.path("rare.h5ad"), range(100, 350), condition=pd.Categorical(classes[5:]))
    says = "class 'rare' of 'condition' has 1 cells and none to learn from"
    refused(pipeline, "rare", ingest("cell_type,condition", "rare"), says)
