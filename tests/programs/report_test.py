"""retort-report as a user runs it: one whole page at any number of ranks, of whole runs and of parts, with names that would break HTML."""

import json
import os
import re
import shutil

import anndata as ad
from foundation_runs import SMALL, Runs, read_bytes
from page_reading import Page, fits

HOSTILE = "<script>alert('T & \"B\"')</script>"


def page_of(folder):
    return read_bytes(folder, "report.html").decode()


with Runs() as runs:
    folder, settings = runs.path("run"), [f"--run.folder={runs.path('run')}"]
    runs.refused(66, "Run retort-ingest", "report", 3, *settings)
    runs.must(
        "simulate",
        1,
        "--simulate.cells=600",
        "--simulate.genes=300",
        "--simulate.types=4",
        "--simulate.format=h5ad",
        f"--simulate.output={runs.path('input.h5ad')}",
        f"--run.folder={runs.path('simulate')}",
    )
    cells = ad.read_h5ad(runs.path("input.h5ad"))
    cells.obs["cell_type"] = cells.obs["cell_type"].cat.rename_categories(
        [HOSTILE, "a very long name of a class of cells, longer than any label", "β", "d"]
    )
    cells.write_h5ad(runs.path("input.h5ad"))
    runs.must("ingest", 1, f"--ingest.input={runs.path('input.h5ad')}", "--ingest.label=cell_type", *settings)

    # Of an atlas alone there is little to tell, which the page says.
    assert "left out accuracy (run retort-evaluate)" in runs.must("report", 2, *settings).stderr
    bare = Page(page_of(folder))
    assert bare.says("accuracy (run retort-evaluate)") and bare.says("How it was made") and "svg" not in bare.count

    runs.must("train-foundation", 2, *SMALL, *settings)
    runs.must("embed", 2, *settings)
    runs.must("train-diffusion", 2, "--diffusion.steps=20", "--diffusion.hidden=32,32,16,16", *settings)
    runs.must(
        "distill",
        2,
        "--distill.iterations=4",
        "--distill.score_steps=0,2,4",
        "--distill.spc=1,3",
        "--distill.draws=2",
        "--distill.matchings=dm,head",
        "--head.epochs=30",
        *settings,
    )
    runs.must("evaluate", 2, "--head.epochs=30", "--evaluate.heads=2", *settings)
    with open(os.path.join(folder, "results.json")) as file:
        results = json.load(file)
    tested = ad.read_h5ad(os.path.join(folder, "atlas.h5ad")).obs.query("split == 'test'")["cell_type"].value_counts()
    assert [one["set"] for one in results["confusion"]][0] == "full" and len(results["confusion"]) == 2, results[
        "confusion"
    ]
    for one in results["confusion"]:
        assert [sum(row) for row in one["counts"]] == [tested[name] for name in results["data"]["class_names"]], one

    # The whole page, the same bytes at 1, 2 and 3 ranks.
    pages = []
    for ranks in (1, 2, 3):
        runs.must("report", ranks, "--run.again=true", *settings)
        pages.append(page_of(folder))
    assert pages[0] == pages[1] == pages[2], "the page depends on the ranks"
    page = Page(pages[0])
    assert len(page.links) > 10, page.links
    for title in (
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
    ):
        assert page.says(title), title
    assert page.says(HOSTILE), "a name is not there as it is written"
    assert page.count["svg"] > 10 and page.count["circle"] > 12 and not page.says("Not on this page"), page.count
    assert "http" not in re.sub(r"http-equiv", "", pages[0]), "the page names the network"
    product = next(
        row
        for row in results["rows"]
        if f"{row['variant']}-{row['matching']}-spc{row['spc']}-" in results["confusion"][1]["set"]
    )
    assert page.says(f"{product['accuracy_mean']:.2f} %"), product
    for one in results["data"]["class_names"]:
        row = f"{product['recall'][one]:.1f}{results['rows'][0]['recall'][one]:.1f}"  # cells of the table side by side
        assert page.says(row), (one, row)

    # What the page says to run and to load is so.
    code = next(text for text in page.text if "sc.read_h5ad" in text)
    assert ad.read_h5ad(re.search(r'read_h5ad\("([^"]+)"\)', code)[1]).n_obs == product["spc"] * 4
    command = re.search(r"retort-embed --config (\S+)", "".join(page.text))[1]
    assert "already done" in runs.must("embed", 2, "--config", command).stderr

    # Done is done, also after other programs were asked again; a new table is a new page.
    runs.must("evaluate", 1, "--head.epochs=30", "--evaluate.heads=2", *settings)
    assert "already done" in runs.must("report", 1, *settings).stderr
    assert runs.run("report", 1, "--is-done", *settings).returncode == 0
    assert "real cells" in runs.must("report", 1, "--dry-run", "--run.again=true", *settings).stdout
    runs.refused(2, "report.cells is 0", "report", 2, "--report.cells=0", *settings)

    # Several runs on one page; audits and other judges as other versions write them.
    other = runs.path("other")
    shutil.copytree(folder, other)
    results["audits"] = {
        "sets": [{"set": "scdd-dm-spc1-draw0", "membership_auc": 0.5}],
        "rare_classes": [{"class": HOSTILE, "cells": 3}],
    }
    results["cnn"] = results["rows"][2:]
    with open(os.path.join(other, "results.json"), "w") as file:
        json.dump(results, file)
    both = runs.path("both.html")
    runs.must(
        "report", 1, f"--report.runs={folder},{other}", f"--report.page={both}", f"--run.folder={runs.path('reports')}"
    )
    page = Page(read_bytes(both).decode())
    assert (
        page.says("Runs on this page")
        and page.says("Audit: rare classes")
        and page.says("Convolutional network on genes")
        and page.count["h1"] == 2
    )

    # Damaged results end all ranks with one line.
    with open(os.path.join(other, "results.json"), "w") as file:
        file.write('{"rows": [')
    runs.refused(65, "Run retort-evaluate again", "report", 3, f"--run.folder={other}")
    with open(os.path.join(other, "results.json"), "w") as file:
        json.dump({**results, "rows": [{"variant": 7, "spc": "one", "accuracy_mean": None}]}, file)
    runs.refused(65, "is not as retort-evaluate writes it", "report", 3, f"--run.folder={other}")

    if shutil.which("chromium"):
        for width in (1280, 390):
            assert fits(both, runs.path(), width), f"wider than {width} pixels"
    else:
        print("skipped: no chromium to lay the page out")
    print("passed")
