"""One ingest for several labels, and a foundation from another atlas: the same bytes at 1 and 2 ranks, and what is refused."""

import json
import os
import subprocess

import anndata as ad
import numpy as np
import pandas as pd
from foundation_runs import Runs, read_bytes

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


def pipeline(runs, name, ranks, text, code=0):
    with open(runs.path(name + ".ini"), "w") as file:
        file.write(f"{SETTINGS}[run]\nfolder={runs.path(name)}\n{text}\n")
    done = subprocess.run(
        [
            os.path.join(os.environ["RETORT_SOURCE"], "jobs", "pipeline.sh"),
            runs.path(name + ".ini"),
            "--local",
            str(ranks),
        ],
        capture_output=True,
        text=True,
        timeout=200,
        env={**os.environ, "RETORT_BIN": runs.programs},
    )
    assert done.returncode == code, f"exit {done.returncode}, not {code}\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def products(folder):
    made = {}
    for root, _, files in os.walk(folder):
        for name in files:
            if name.endswith((".h5ad", ".safetensors")):
                made[os.path.relpath(os.path.join(root, name), folder)] = read_bytes(root, name)
    return made


def write(cells, file, genes, **columns):
    chosen = cells[:, genes].copy()
    ad.AnnData(
        chosen.X.astype(np.float32), obs=chosen.obs[["cell_type", "condition"]].assign(**columns), var=chosen.var[[]]
    ).write_h5ad(file)


with Runs() as runs:
    # Two atlases of other cells; 150 of the first one's 250 genes are in the second.
    runs.must(
        "simulate",
        1,
        "--simulate.cells=1200",
        "--simulate.genes=350",
        "--simulate.types=4",
        "--simulate.nonzeros=120",
        "--simulate.batch_sd=0.1",
        "--simulate.format=h5ad",
        f"--simulate.output={runs.path('cells.h5ad')}",
        f"--run.folder={runs.path('simulate')}",
    )
    cells = ad.read_h5ad(runs.path("cells.h5ad"))
    first, second = cells[:600], cells[600:]
    write(first, runs.path("first.h5ad"), range(250))
    missing = np.where(np.arange(600) < 5, None, second.obs["condition"].astype(str))
    write(
        second,
        runs.path("second.h5ad"),
        range(100, 350),
        condition=pd.Categorical(missing),
        depth=np.linspace(0.5, 1, 600),
    )

    pipeline(runs, "first", 1, f"[ingest]\ninput={runs.path('first.h5ad')}\nlabel=cell_type")
    own = products(runs.path("first"))
    assert not any("labels" in name for name in own), sorted(own)
    borrowed = f"[ingest]\ninput={runs.path('second.h5ad')}\nlabel=cell_type,condition\n[foundation]\nimport={runs.path('first', 'foundation')}"
    said = pipeline(runs, "one", 1, borrowed)
    assert (
        "the model has 250 genes, 150 of them in the atlas" in said and "no label in 'cell_type' or 'condition'" in said
    ), said
    made = products(runs.path("one"))
    expected = {
        f"{at}{name}"
        for at in ("", "labels/condition/")
        for name in (
            "distilled.h5ad",
            "distilled/scdd-dm-spc1-draw0.h5ad",
            "distilled/scdd-dm-spc2-draw0.h5ad",
            "generator/scdg.safetensors",
        )
    }
    assert expected | {
        "atlas.h5ad",
        "features.h5ad",
        "foundation/encoder.safetensors",
        "foundation/decoder.safetensors",
    } == set(made), sorted(made)
    pipeline(runs, "two", 2, borrowed)
    for name, content in products(runs.path("two")).items():
        assert content == made[name], f"{name} differs at 2 ranks"

    # The encoder is the other atlas's, sets have its genes, and each label its own classes and table.
    assert (
        json.load(open(runs.path("one", "foundation", "config.json")))["weights"]
        == json.load(open(runs.path("first", "foundation", "config.json")))["weights"]
    )
    for folder, label in ((runs.path("one"), "cell_type"), (runs.path("one", "labels", "condition"), "condition")):
        distilled = ad.read_h5ad(os.path.join(folder, "distilled", "scdd-dm-spc2-draw0.h5ad"))
        assert list(distilled.var_names) == list(first.var_names[:250])
        assert distilled.obs[label].value_counts().to_dict() == dict.fromkeys(cells.obs[label].unique(), 2)
        results = json.load(open(os.path.join(folder, "results.json")))
        assert results["data"]["label"] == label and results["data"]["cells"] == 595
        with open(os.path.join(folder, "report.html")) as page:
            assert cells.obs[label].iloc[0] in page.read()
    rows = {row["variant"]: row["accuracy_mean"] for row in json.load(open(runs.path("one", "results.json")))["rows"]}
    assert rows["full"] > rows["random"] + 10, f"the other atlas's encoder tells classes no better than chance: {rows}"
    again = pipeline(runs, "one", 1, borrowed)
    assert again.count("already done") == 11, again

    # Refused with one line: no shared genes, too few, no counts, no classes, a class that nothing could be learned from.
    def refused(name, text, says):
        lines = [line for line in pipeline(runs, name, 1, text, code=65).splitlines() if "error:" in line]
        assert len(lines) == 1 and says in lines[0], lines

    def ingest(label, name="second"):
        return f"[ingest]\ninput={runs.path(name + '.h5ad')}\nlabel={label}\n[foundation]\nimport={runs.path('first', 'foundation')}"

    write(second, runs.path("few.h5ad"), range(230, 350))
    refused("few", ingest("cell_type", "few"), "has 20 of the model's 250 genes")
    write(second, runs.path("strange.h5ad"), range(250, 350))
    refused("strange", ingest("cell_type", "strange"), "zero genes in common")
    logged = second[:, 100:].copy()
    logged.X = np.log1p(logged.X.astype(np.float32) * 1.3)
    write(logged, runs.path("logged.h5ad"), range(250))
    refused("logged", ingest("cell_type", "logged"), "has no counts")
    refused("numbers", ingest("cell_type,depth"), "no classes but other values in column 'depth'")
    refused("absent", ingest("cell_type,stage"), "no label column 'stage'")
    rare = np.array(second.obs["condition"].astype(str))
    test = ad.read_h5ad(runs.path("one", "atlas.h5ad")).obs
    rare[test["source_row"][test["split"] == "test"].iloc[0]] = "rare"
    write(second[5:], runs.path("rare.h5ad"), range(100, 350), condition=pd.Categorical(rare[5:]))
    refused(
        "rare", ingest("cell_type,condition", "rare"), "class 'rare' of 'condition' has 1 cells and none to learn from"
    )
    print("passed")
