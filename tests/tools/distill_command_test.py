"""The README's main command without arguments, as a newcomer types it: usage distill_command_test.py TOOL"""

import json
import os
import subprocess
import sys
import tempfile

import anndata
import celltypist
import numpy as np

tool = sys.argv[1]
with tempfile.TemporaryDirectory() as work:
    folder = os.path.join(work, "run")
    done = subprocess.run([tool, "--ranks", "2", "--run-folder", folder], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "log values" in done.stdout + done.stderr, "the summary does not say that the file has no counts"

    made = anndata.read_h5ad(os.path.join(folder, "distilled.h5ad"))
    assert made.X.dtype == np.float32 and (np.asarray(made.X) >= 0).all() and "X_latent" in made.obsm
    assert np.allclose(np.expm1(np.asarray(made.X, dtype=np.float64)).sum(1), 1e4, rtol=1e-4)
    model = celltypist.train(
        made, labels="bulk_labels", check_expression=True, n_jobs=1, use_SGD=True
    )  # its default solver asks scikit-learn for an option that 1.8 removed
    assert len(model.classifier.classes_) == made.obs["bulk_labels"].nunique()
    expected = {f"scdd-{matching}-spc{spc}-draw0" for matching in ("dm", "dc", "head") for spc in (1, 10)}
    made_sets = {name.removesuffix(".h5ad") for name in os.listdir(os.path.join(folder, "distilled"))}
    assert made_sets == expected, made_sets

    with open(os.path.join(folder, "results.json")) as file:
        rows = json.load(file)["rows"]
    for key in ("variant", "matching", "spc", "draws", "accuracy_mean", "accuracy_sd", "macro_f1", "seconds"):
        assert all(key in row for row in rows), key
    accuracy = {(row["variant"], row["spc"]): row["accuracy_mean"] for row in rows}
    assert accuracy["full", 0] > 50, accuracy  # 700 cells, 10 classes: it has learned something
    assert accuracy["scdd", 1] > accuracy["random", 1], accuracy

    with open(os.path.join(folder, "report.html")) as file:
        assert "Which classes are taken for which" in file.read() and done.stderr.rstrip().endswith("report.html"), (
            done.stderr
        )

    again = subprocess.run([tool, "--ranks", "2", "--run-folder", folder], capture_output=True, text=True)
    assert again.returncode == 0 and again.stderr.count("already done") == 7, again.stderr

    # Settings of a table, two labels and the foundation of another run, in one line.
    root = os.path.dirname(os.path.dirname(os.path.abspath(tool)))
    borrowed = os.path.join(work, "borrowed")
    done = subprocess.run(
        [
            tool,
            os.path.join(root, "build", "demo", "10x_pbmc68k_reduced.h5ad"),
            "bulk_labels,phase",
            "--config",
            os.path.join(root, "configs", "table-v.ini"),
            "--foundation",
            os.path.join(folder, "foundation"),
            "--set",
            "distill.draws=1",
            "--set",
            "distill.iterations=5",
            "--ranks",
            "2",
            "--run-folder",
            borrowed,
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and "imported" in done.stderr, done.stdout + done.stderr
    for place, label in ((borrowed, "bulk_labels"), (os.path.join(borrowed, "labels", "phase"), "phase")):
        with open(os.path.join(place, "results.json")) as file:
            results = json.load(file)
        assert results["data"]["label"] == label
        assert {("cells", "dc"), ("decoder", "dm"), ("scdd", "dc")} <= {
            (row["variant"], row["matching"]) for row in results["rows"]
        }, results["rows"]

for arguments, code in [
    (["missing.h5ad", "label"], 66),
    (["--set", "distill.iteration=3"], 2),
    (["--distill.iteration=3"], 2),
    (["--set", "nonsense"], 2),
    (["one_argument"], 2),
    (["--config", "missing.ini"], 66),
    (["--foundation", "missing"], 66),
    (["--run-folder", "/proc/nothing"], 73),
]:
    with tempfile.TemporaryDirectory() as work:
        place = [] if "--run-folder" in arguments else ["--run-folder", os.path.join(work, "run")]
        done = subprocess.run([tool, *arguments, *place], capture_output=True, text=True)
        lines = [line for line in done.stderr.splitlines() if "error:" in line]
        assert done.returncode == code and len(lines) == 1, (arguments, done.returncode, done.stderr)
