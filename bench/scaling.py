"""Strong and weak scaling of ingest, embedding, training and distilling, and the sums between ranks: writes
docs/results/scaling.json and docs/results/scaling.svg.

usage: scaling.py [--ranks 1,2] [--work DIR] [--no-nodes]
Strong: the same work on more ranks. Weak: work in proportion to ranks. Two nodes are those of tests/slurm/cluster (one
machine, TCP between them), one rank each. Seconds are inside the programs, without their start.
"""
import argparse
import csv
import datetime
import json
import math
import os
import pathlib
import statistics
import subprocess
import sys

from provenance import ROOT, commit, cpu
from speed import events_of, prepare_kidney, program, run_program, stage_seconds

TARGET = ROOT / "docs" / "results" / "scaling.json"
PICTURE = TARGET.with_suffix(".svg")
STEPS, WARM = 24, 6


def train(work: pathlib.Path, genes: int, ranks: int, weak: bool, run=run_program) -> dict:
    """Cells a second, and how a step's time is split."""
    folder = work / f"genes{genes}"
    if not (folder / "atlas.h5ad").exists():
        run_program("simulate", 2, folder, simulate__cells=6000, simulate__genes=genes)
    batch, shards = (256 * ranks, 4 * ranks) if weak else (512, 4)
    run("train-foundation", ranks, folder, foundation__steps=STEPS, foundation__batch=batch, run__shards=shards, foundation__model=folder / "scratch")
    with open(folder / "train-foundation" / "steps.tsv") as table:
        rows = list(csv.DictReader(table, delimiter="\t"))[WARM:]
    part = {name: statistics.median(float(row[name + "_seconds"]) for row in rows) for name in ("read", "compute", "sum", "step")}
    return {"rate": batch / sum(part.values()), "data": part["read"], "compute": part["compute"] + part["step"], "ranks": part["sum"]}


def embed(work: pathlib.Path, ranks: int, weak: bool) -> dict:
    cells = 8000 * (ranks if weak else 4)
    folder = work / f"cells{cells}"
    if not (folder / "foundation" / "config.json").exists():
        run_program("simulate", 2, folder, simulate__cells=cells, simulate__genes=2000)
        run_program("train-foundation", 2, folder, foundation__steps=2, foundation__batch=64)
    run_program("embed", ranks, folder)
    return {"rate": cells / stage_seconds(folder, "embed")}


def ingest(work: pathlib.Path, ranks: int, weak: bool) -> dict:
    cells = 20000 * (ranks if weak else 4)
    folder, source = work / f"ingest{cells}", work / f"ingest{cells}.h5ad"
    if not source.exists():
        run_program("simulate", 2, folder / "made", simulate__cells=cells, simulate__genes=5000, simulate__format="h5ad", simulate__output=source)
    run_program("ingest", ranks, folder, ingest__input=source, ingest__label="cell_type")
    return {"rate": cells / stage_seconds(folder, "ingest")}


def distil(work: pathlib.Path, ranks: int, weak: bool) -> dict:
    folder = prepare_kidney(work)
    spc = 8 * ranks if weak else 32

    def seconds(iterations: int) -> float:
        run_program("distill", ranks, folder, distill__matchings="dc", distill__spc=spc, distill__rates=0.003, distill__iterations=iterations, distill__score_steps=iterations,
                    distill__outer_steps=1, head__epochs=1)
        return events_of(folder, "distill", "set")[-1]["seconds"]

    return {"rate": spc * 11 * 20 / (seconds(25) - seconds(5))}


def on_two_nodes(verb: str, ranks: int, folder: pathlib.Path, **settings) -> None:
    """The program under srun, one rank on each node of the test cluster."""
    cluster = [str(ROOT / "tests" / "slurm" / "cluster"), str(ROOT / "build" / "scaling-cluster"), "srun", "--mpi=pmix", "-N2", f"-n{ranks}"]
    done = subprocess.run([*cluster, *program(verb, folder, settings)], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"scaling: two nodes failed\n{done.stderr[-2000:]}")


def picture(curves: dict[str, list[tuple[int, float]]], ranks: list[int]) -> str:
    """Efficiency of weak scaling against ranks, as SVG."""
    width, height, left, bottom = 640, 360, 60, 40
    x = lambda r: left + (width - left - 190) * math.log2(r) / max(1, math.log2(max(ranks)))
    y = lambda e: (height - bottom) - (height - bottom - 20) * e / 1.2
    colours = ["#1b6ca8", "#c0392b", "#27865a", "#8e5ea2", "#b7791f"]
    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">', f'<rect width="{width}" height="{height}" fill="white"/>']
    for e in (0, 0.25, 0.5, 0.75, 1):
        lines.append(f'<line x1="{left}" x2="{x(max(ranks)):.0f}" y1="{y(e):.0f}" y2="{y(e):.0f}" stroke="#ddd"/><text x="{left - 8}" y="{y(e) + 4:.0f}" text-anchor="end">{e:g}</text>')
    for r in ranks:
        lines.append(f'<text x="{x(r):.0f}" y="{height - bottom + 18}" text-anchor="middle">{r}</text>')
    lines.append(f'<text x="{(left + x(max(ranks))) / 2:.0f}" y="{height - 6}" text-anchor="middle">ranks (weak scaling)</text><text x="14" y="{height / 2:.0f}" transform="rotate(-90 14 {height / 2:.0f})" text-anchor="middle">rate a rank, of one rank</text>')
    for (name, points), colour in zip(curves.items(), colours):
        path = " ".join(f"{x(r):.1f},{y(e):.1f}" for r, e in points)
        lines.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
    for place, (name, colour) in enumerate(zip(curves, colours)):
        lines.append(f'<rect x="{width - 180}" y="{24 + 20 * place}" width="12" height="12" fill="{colour}"/><text x="{width - 162}" y="{34 + 20 * place}">{name}</text>')
    return "\n".join([*lines, "</svg>", ""])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--ranks", default="1,2")
    parser.add_argument("--work", type=pathlib.Path, default=ROOT / "build" / "bench")
    parser.add_argument("--no-nodes", action="store_true")
    given = parser.parse_args()
    ranks = [int(r) for r in given.ranks.split(",")]
    given.work.mkdir(parents=True, exist_ok=True)
    work = {"training, 2,000 genes": lambda r, weak: train(given.work, 2000, r, weak), "training, 20,000 genes": lambda r, weak: train(given.work, 20000, r, weak),
            "embedding": lambda r, weak: embed(given.work, r, weak), "ingest": lambda r, weak: ingest(given.work, r, weak),
            "distilling (DC)": lambda r, weak: distil(given.work, r, weak)}
    tables, curves = [], {}
    for kind in ("strong", "weak"):
        lines = []
        for name, measure in work.items():
            found = {r: measure(r, kind == "weak") for r in ranks}
            print(kind, name, {r: round(found[r]["rate"]) for r in ranks}, file=sys.stderr, flush=True)
            one = found[ranks[0]]["rate"]
            for r in ranks:
                split = "–" if "compute" not in found[r] else " / ".join(f"{1000 * found[r][part]:.1f}" for part in ("compute", "ranks", "data"))
                lines.append([name, str(r), f"{found[r]['rate']:,.0f}", f"{found[r]['rate'] / one:.2f}", f"{found[r]['rate'] / one / r:.2f}", split])
            if kind == "weak":
                curves[name] = [(r, found[r]["rate"] / one / r) for r in ranks]
        tables.append({"title": f"{kind.capitalize()} scaling", "header": ["what", "ranks", "cells/s", "speed-up", "efficiency", "a step: compute / ranks / data, ms"], "lines": lines, "left": 1})
    if not given.no_nodes:
        split = train(given.work, 2000, 2, True, on_two_nodes)
        near = train(given.work, 2000, 2, True)
        tables.append({"title": "Two nodes (TCP on one machine) against one, training at 2,000 genes, one rank a node, weak", "left": 1,
                       "header": ["where", "cells/s", "a step: compute / ranks / data, ms"],
                       "lines": [[where, f"{found['rate']:,.0f}", " / ".join(f"{1000 * found[part]:.1f}" for part in ("compute", "ranks", "data"))] for where, found in (("one node", near), ("two nodes", split))]})

    run_program("measure", 2, given.work / "measure")
    sums = json.loads((given.work / "measure" / "measure.json").read_text())["sums"]
    lines = [[f"{row['bytes']:,}", f"{1e6 * row['ordered_seconds']:.1f}", f"{row['algbw']:.2f}", f"{row['busbw']:.2f}", f"{row['mpi_seconds'] / row['ordered_seconds']:.2f}"] for row in sums]
    tables.append({"title": "Sums between two ranks of one node", "header": ["bytes", "µs", "algbw, GB/s", "busbw, GB/s", "times MPI_Allreduce"], "lines": lines, "left": 0})
    PICTURE.write_text(picture(curves, ranks))
    TARGET.write_text(json.dumps({"title": "Scaling", "command": f"build/python/bin/python bench/scaling.py --ranks {given.ranks}", "commit": commit(), "cpu": cpu(), "date": datetime.date.today().isoformat(),
                                  "notes": ["![weak scaling](results/scaling.svg)", "Seconds are inside the programs. More ranks than the machine has cores share them."], "tables": tables}, indent=1) + "\n")


if __name__ == "__main__":
    main()
