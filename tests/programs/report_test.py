"""retort-report as a user runs it: one whole page at any number of ranks, of whole runs and of parts, with names that
would break HTML."""

import json
import os
import re
import shutil

import anndata as ad
import pytest
from foundation_runs import SMALL, read_bytes, read_json
from page_reading import Page, fits

HOSTILE = "<script>alert('T & \"B\"')</script>"
NAMES = [HOSTILE, "a very long name of a class of cells, longer than any label", "β", "d"]
JUDGE = ["--head.epochs=30", "--evaluate.heads=2"]


def page_of(folder):
    return read_bytes(folder, "report.html").decode()


@pytest.fixture(scope="module")
def settings(runs):
    return [f"--run.folder={runs.path('run')}"]


@pytest.fixture(scope="module")
def before(runs, settings):
    """What is refused before there is an atlas, and what is said and shown of an atlas alone."""
    runs.refused(66, "Run retort-ingest", "report", 3, *settings)
    input_file = runs.simulate_h5ad("input.h5ad")
    cells = ad.read_h5ad(input_file)
    cells.obs["cell_type"] = cells.obs["cell_type"].cat.rename_categories(NAMES)
    cells.write_h5ad(input_file)
    runs.ingest(1, input_file, runs.path("run"))
    said = runs.must("report", 2, *settings).stderr
    return said, page_of(runs.path("run"))


@pytest.fixture(scope="module")
def folder(runs, settings, before):
    """A whole run."""
    runs.must("train-foundation", 2, *SMALL, *settings)
    runs.must("embed", 2, *settings)
    runs.must("train-diffusion", 2, "--diffusion.steps=20", "--diffusion.hidden=32,32,16,16", *settings)
    short = ["--distill.iterations=4", "--distill.score_steps=0,2,4", "--head.epochs=30"]
    sets = ["--distill.spc=1,3", "--distill.draws=2", "--distill.matchings=dm,head"]
    runs.must("distill", 2, *short, *sets, *settings)
    runs.must("evaluate", 2, *JUDGE, *settings)
    return runs.path("run")


@pytest.fixture(scope="module")
def results(folder):
    return read_json(folder, "results.json")


@pytest.fixture(scope="module")
def texts(runs, folder, settings):
    """The page at each number of ranks."""
    made = {}
    for ranks in (1, 2, 3):
        runs.must("report", ranks, "--run.again=true", *settings)
        made[ranks] = page_of(folder)
    return made


@pytest.fixture(scope="module")
def page(texts):
    return Page(texts[1])


@pytest.fixture(scope="module")
def product(results):
    """The row of the set that was chosen."""
    chosen = results["confusion"][1]["set"]
    return next(row for row in results["rows"] if f"{row['variant']}-{row['matching']}-spc{row['spc']}-" in chosen)


def test_the_page_of_an_atlas_alone_says_what_is_left_out(before):
    said, text = before
    assert "left out accuracy (run retort-evaluate)" in said
    bare = Page(text)
    assert bare.says("accuracy (run retort-evaluate)") and bare.says("How it was made") and "svg" not in bare.count


def test_confusions_count_the_test_cells(folder, results):
    obs = ad.read_h5ad(os.path.join(folder, "atlas.h5ad")).obs
    tested = obs.query("split == 'test'")["cell_type"].value_counts()
    assert [one["set"] for one in results["confusion"]][0] == "full" and len(results["confusion"]) == 2
    for one in results["confusion"]:
        assert [sum(row) for row in one["counts"]] == [tested[name] for name in results["data"]["class_names"]]


@pytest.mark.parametrize("ranks", [2, 3])
def test_the_page_is_that_of_one_rank(texts, ranks):
    same = texts[ranks] == texts[1]
    assert same, "the page depends on the ranks"


@pytest.mark.parametrize(
    "title",
    [
        "Is distilled.h5ad good enough?",
        "Class by class",
        "How to use it",
        "What each set gives away",
        "Rare classes",
        "Accuracy against size",
        "Map of cells",
        "Which classes are taken for which",
        "Marker genes",
        "Most variable genes",
        "Training of the networks",
        "Distillation, set by set",
        "All rows",
        "What the names mean",
        "How it was made",
    ],
)
def test_the_whole_page_has_the_section(page, title):
    assert page.says(title)


def test_the_whole_page_is_one_file_with_links_and_drawings(page, texts):
    assert len(page.links) > 10
    assert page.count["svg"] > 10 and page.count["circle"] > 12 and not page.says("Not on this page")
    assert "http" not in re.sub(r"http-equiv", "", texts[1]), "the page names the network"


def test_a_name_is_there_as_it_is_written(page):
    assert page.says(HOSTILE)


def test_the_page_has_the_numbers_of_the_chosen_set(page, product):
    assert page.says(f"{product['accuracy_mean']:.2f} %")


@pytest.mark.parametrize("name", NAMES, ids=["hostile", "long", "greek", "short"])
def test_the_page_has_the_recall_of_every_class(page, results, product, name):
    assert set(results["data"]["class_names"]) == set(NAMES)
    # Cells of the table side by side.
    assert page.says(f"{product['recall'][name]:.1f}{results['rows'][0]['recall'][name]:.1f}")


def test_what_the_page_says_to_load_can_be_loaded(page, product):
    code = next(text for text in page.text if "sc.read_h5ad" in text)
    assert ad.read_h5ad(re.search(r'read_h5ad\("([^"]+)"\)', code)[1]).n_obs == product["spc"] * 4


def test_what_the_page_says_to_run_can_be_run(runs, page):
    command = re.search(r"retort-embed --config (\S+)", "".join(page.text))[1]
    assert "already done" in runs.must("embed", 2, "--config", command).stderr


def test_done_is_done_also_after_other_programs_were_asked_again(runs, settings, texts):
    runs.must("evaluate", 1, *JUDGE, *settings)
    assert "already done" in runs.must("report", 1, *settings).stderr
    assert runs.run("report", 1, "--is-done", *settings).returncode == 0


def test_a_plan_tells_the_cells(runs, settings, folder):
    assert "real cells" in runs.must("report", 1, "--dry-run", "--run.again=true", *settings).stdout


def test_a_map_without_cells_is_refused(runs, settings, folder):
    runs.refused(2, "report.cells is 0", "report", 2, "--report.cells=0", *settings)


def copy_with(runs, folder, name, text):
    """A copy of the run with other results."""
    other = runs.path(name)
    shutil.copytree(folder, other)
    with open(os.path.join(other, "results.json"), "w") as file:
        file.write(text)
    return other


@pytest.fixture(scope="module")
def both(runs, folder, results):
    """A page of two runs, of which one has audits and other judges as other versions write them."""
    audits = {
        "sets": [{"set": "scdd-dm-spc1-draw0", "membership_auc": 0.5}],
        "rare_classes": [{"class": HOSTILE, "cells": 3}],
    }
    older = {**results, "audits": audits, "cnn": results["rows"][2:]}
    other, made = copy_with(runs, folder, "other", json.dumps(older)), runs.path("both.html")
    asked = [f"--report.runs={folder},{other}", f"--report.page={made}", f"--run.folder={runs.path('reports')}"]
    runs.must("report", 1, *asked)
    return made


def test_several_runs_are_on_one_page(both):
    page = Page(read_bytes(both).decode())
    assert page.says("Runs on this page") and page.count["h1"] == 2
    assert page.says("Audit: rare classes") and page.says("Convolutional network on genes")


@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_is_no_wider_than_a_window(runs, both, width):
    if not shutil.which("chromium"):
        pytest.skip("no chromium to lay the page out")
    assert fits(both, runs.path(), width), f"wider than {width} pixels"


def test_results_that_are_cut_short_are_refused(runs, folder):
    cut = copy_with(runs, folder, "cut", '{"rows": [')
    runs.refused(65, "Run retort-evaluate again", "report", 3, f"--run.folder={cut}")


def test_results_of_another_form_are_refused(runs, folder, results):
    rows = [{"variant": 7, "spc": "one", "accuracy_mean": None}]
    strange = copy_with(runs, folder, "strange", json.dumps({**results, "rows": rows}))
    runs.refused(65, "is not as retort-evaluate writes it", "report", 3, f"--run.folder={strange}")
