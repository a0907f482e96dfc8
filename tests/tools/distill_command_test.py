"""The README's main command, tools/distill, as a newcomer types it: without arguments, and with everything in one line.

python -m pytest -q tests/tools/distill_command_test.py
"""

import json
import pathlib
import subprocess

import anndata
import celltypist
import numpy as np
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
ATLAS = ROOT / "build" / "demo" / "10x_pbmc68k_reduced.h5ad"


def distill(*arguments):
    return subprocess.run([ROOT / "tools" / "distill", *map(str, arguments)], capture_output=True, text=True)


def results(folder):
    return json.loads((folder / "results.json").read_text())


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run without arguments: its folder, and what it printed."""
    folder = tmp_path_factory.mktemp("distill") / "run"
    done = distill("--ranks", 2, "--run-folder", folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder, done


@pytest.fixture(scope="module")
def cells(run):
    return anndata.read_h5ad(run[0] / "distilled.h5ad")


def test_stages_are_counted_and_products_named(run):
    folder, done = run
    for line in ("[1 of 7] ingest", "[7 of 7] report", f"retort: distilled cells: {folder}/distilled.h5ad"):
        assert line in done.stderr, done.stderr
    assert done.stderr.rstrip().endswith(f"{folder}/report.html"), done.stderr


def test_summary_says_that_the_file_has_no_counts(run):
    assert "log values" in run[1].stdout + run[1].stderr


def test_distilled_cells_are_log_normalised(cells):
    assert cells.X.dtype == np.float32 and (np.asarray(cells.X) >= 0).all() and "X_latent" in cells.obsm
    assert np.allclose(np.expm1(np.asarray(cells.X, dtype=np.float64)).sum(1), 1e4, rtol=1e-4)


def test_celltypist_trains_on_them(cells):
    # Its default solver asks scikit-learn for an option that 1.8 removed.
    model = celltypist.train(cells, labels="bulk_labels", check_expression=True, n_jobs=1, use_SGD=True)
    assert len(model.classifier.classes_) == cells.obs["bulk_labels"].nunique()


def test_every_set_is_there(run):
    expected = {f"scdd-{matching}-spc{spc}-draw0" for matching in ("dm", "dc", "head") for spc in (1, 10)}
    assert {file.stem for file in (run[0] / "distilled").iterdir()} == expected


def test_table_is_whole_and_beats_random_cells(run):
    rows = results(run[0])["rows"]
    for key in ("variant", "matching", "spc", "draws", "accuracy_mean", "accuracy_sd", "macro_f1", "seconds"):
        assert all(key in row for row in rows), key
    accuracy = {(row["variant"], row["spc"]): row["accuracy_mean"] for row in rows}
    assert accuracy["full", 0] > 50, accuracy  # 700 cells, 10 classes: it has learned something
    assert accuracy["scdd", 1] > accuracy["random", 1], accuracy


def test_report_has_the_confusion(run):
    assert "Which classes are taken for which" in (run[0] / "report.html").read_text()


def test_started_again_nothing_is_done_twice(run):
    again = distill("--ranks", 2, "--run-folder", run[0])
    assert again.returncode == 0 and again.stderr.count("already done") == 7, again.stderr


def test_table_two_labels_and_a_foundation_in_one_line(run, tmp_path):
    table, foundation = ROOT / "configs" / "table-v.ini", run[0] / "foundation"
    few = ["--set", "distill.draws=1", "--distill.iterations=5", "--diffusion.steps=100", "--ranks", 2]
    done = distill(
        ATLAS, "bulk_labels,phase", "--config", table, "--foundation", foundation, *few, "--run-folder", tmp_path
    )
    assert done.returncode == 0 and "imported" in done.stderr, done.stdout + done.stderr
    assert "[8 of 11] train-diffusion (phase)" in done.stderr, done.stderr
    for place, label in ((tmp_path, "bulk_labels"), (tmp_path / "labels" / "phase", "phase")):
        found = results(place)
        made = {(row["variant"], row["matching"]) for row in found["rows"]}
        assert found["data"]["label"] == label
        assert {("cells", "dc"), ("decoder", "dm"), ("scdd", "dc")} <= made, made


@pytest.mark.parametrize(
    "arguments, code",
    [
        ("missing.h5ad label", 66),
        ("--set distill.iteration=3", 2),
        ("--distill.iteration=3", 2),
        ("--set nonsense", 2),
        ("one_argument", 2),
        ("--config missing.ini", 66),
        ("--foundation missing", 66),
        ("--run-folder /proc/nothing", 73),
    ],
)
def test_refused_in_one_line(arguments, code, tmp_path):
    place = [] if "--run-folder" in arguments else ["--run-folder", tmp_path / "run"]
    done = distill(*arguments.split(), *place)
    lines = [line for line in done.stderr.splitlines() if "error:" in line]
    assert done.returncode == code and len(lines) == 1, (done.returncode, done.stderr)
