"""Strong and weak scaling of ingest, embedding, training and distilling over ranks and nodes, as a table and a picture.

usage: scaling.py [--points 1,2,4,2@2] [--work DIR] [--output FILE.json] [--only NAME,NAME]
A point is RANKS or RANKS@NODES. Strong: the same work on more ranks. Weak: work in proportion to ranks. Inside a Slurm
job the programs start under srun (jobs/scaling.sbatch); elsewhere under mpirun, and two nodes are those of
tests/slurm/cluster: one machine, TCP between them. Seconds are inside the programs, without their start.
"""

import argparse
import csv
import datetime
import json
import math
import os
import pathlib
import statistics
import sys

from launch import events_of, run_apart, run_program, stage_seconds
from provenance import ROOT, commit, cpu

STEPS, WARM = 24, 6
PARTS = ("compute", "ranks", "data")
preparing_ranks, most_ranks = 2, 4


def power_of_two(at_least: int) -> int:
    return 1 << (at_least - 1).bit_length()


def prepared(work: pathlib.Path, name: str, product: str, *programs: tuple[str, dict]) -> pathlib.Path:
    """A run folder in which `programs` have made `product`."""
    folder = work / name
    if not (folder / product).exists():
        for verb, settings in programs:
            run_program(verb, preparing_ranks, folder, **settings)
    return folder


def training_step(
    work: pathlib.Path, genes: int, ranks: int, nodes: int, batch: int, shards: int, link_rate: str = ""
) -> dict[str, float]:
    """Medians of what a step of training spends where, in seconds."""
    folder = prepared(
        work, f"genes{genes}", "atlas.h5ad", ("simulate", {"simulate__cells": 6000, "simulate__genes": genes})
    )
    run_program(
        "train-foundation",
        ranks,
        folder,
        nodes,
        link_rate,
        foundation__steps=STEPS,
        foundation__batch=batch,
        run__shards=shards,
        foundation__model=folder / "scratch",
    )
    with open(folder / "train-foundation" / "steps.tsv") as table:
        rows = list(csv.DictReader(table, delimiter="\t"))[WARM:]
    return {
        name: statistics.median(float(row[name + "_seconds"]) for row in rows)
        for name in ("read", "compute", "sum", "step")
    }


def train(work: pathlib.Path, genes: int, ranks: int, nodes: int, weak: bool) -> dict:
    """Cells per second, and how a step's time is split."""
    shards = power_of_two(4 * ranks if weak else max(4, most_ranks))  # strong: the same for all points
    batch = -(-max(shards, 256 * ranks if weak else 512) // shards) * shards
    part = training_step(work, genes, ranks, nodes, batch, shards)
    return {
        "rate": batch / sum(part.values()),
        "data": part["read"],
        "compute": part["compute"] + part["step"],
        "ranks": part["sum"],
    }


def embed(work: pathlib.Path, ranks: int, nodes: int, weak: bool) -> dict:
    cells = 16000 * ranks if weak else 64000
    folder = prepared(
        work,
        f"cells{cells}",
        "foundation/config.json",
        ("simulate", {"simulate__cells": cells, "simulate__genes": 2000}),
        ("train-foundation", {"foundation__steps": 2, "foundation__batch": 64}),
    )
    run_program("embed", ranks, folder, nodes)
    return {"rate": cells / stage_seconds(folder, "embed")}


def ingest(work: pathlib.Path, ranks: int, nodes: int, weak: bool) -> dict:
    cells = 50000 * ranks if weak else 50000 * max(2, most_ranks // 2)
    source = work / f"ingest{cells}.h5ad"
    if not source.exists():
        run_program(
            "simulate",
            preparing_ranks,
            work / "made",
            simulate__cells=cells,
            simulate__genes=20000,
            simulate__format="h5ad",
            simulate__output=source,
        )
    folder = work / f"ingest{cells}"
    run_program(
        "ingest", ranks, folder, nodes, ingest__input=source, ingest__label="cell_type", cells__memory_limit="4GB"
    )
    return {"rate": cells / stage_seconds(folder, "ingest")}


def distil(work: pathlib.Path, ranks: int, nodes: int, weak: bool) -> dict:
    types = max(10, most_ranks)  # a chunk each at this SPC
    folder = prepared(
        work,
        f"distilling{types}",
        "generator/config.json",
        ("simulate", {"simulate__cells": 600 * types, "simulate__genes": 2000, "simulate__types": types}),
        ("train-foundation", {"foundation__steps": 2, "foundation__batch": 64}),
        ("embed", {}),
        ("train-diffusion", {"diffusion__steps": 2}),
    )
    spc = 16 * ranks if weak else 64

    def seconds(iterations: int) -> float:
        run_program(
            "distill",
            ranks,
            folder,
            nodes,
            distill__matchings="dc",
            distill__spc=spc,
            distill__rates=0.003,
            distill__iterations=iterations,
            distill__score_steps=iterations,
            distill__outer_steps=1,
            head__epochs=1,
        )
        return events_of(folder, "distill", "set")[-1]["seconds"]

    return {"rate": spc * types * 20 / (seconds(25) - seconds(5))}


def ceilings(work: pathlib.Path) -> dict:
    """What the machine gives: two one-rank programs that share nothing, at once, against one. Medians of five."""
    embedded = prepared(
        work,
        "cells64000",
        "foundation/config.json",
        ("simulate", {"simulate__cells": 64000, "simulate__genes": 2000}),
        ("train-foundation", {"foundation__steps": 2, "foundation__batch": 64}),
    )
    source = work / "ingest100000.h5ad"
    if not source.exists():
        run_program(
            "simulate",
            preparing_ranks,
            work / "made",
            simulate__cells=100000,
            simulate__genes=20000,
            simulate__format="h5ad",
            simulate__output=source,
        )
    cases = {
        "embedding, 2,000 genes": ("embed", {"run__base": embedded}),
        "ingest, 20,000 genes": (
            "ingest",
            {"ingest__input": source, "ingest__label": "cell_type", "cells__memory_limit": "2GB"},
        ),
    }
    lines = []
    for name, (verb, settings) in cases.items():
        folders = [work / f"apart-{verb}-{k}" for k in range(2)]
        gains = [2 * run_apart(verb, folders[:1], **settings) / run_apart(verb, folders, **settings) for _ in range(5)]
        lines.append([name, f"{statistics.median(gains):.2f}"])
    return {
        "title": "Two separate programs at once on this machine, in throughput of one",
        "header": ["what", "gain"],
        "lines": lines,
        "left": 1,
    }


WORK = {
    "training-2000": ("training, 2,000 genes", lambda *at: train(at[0], 2000, *at[1:])),
    "training-20000": ("training, 20,000 genes", lambda *at: train(at[0], 20000, *at[1:])),
    "embed": ("embedding, 2,000 genes", embed),
    "ingest": ("ingest, 20,000 genes", ingest),
    "distil": ("distilling (DC), 2,000 genes", distil),
}


def picture(curves: dict[str, list[tuple[int, float]]]) -> str:
    """Efficiency of weak scaling on one node against ranks, as SVG."""
    width, height, left, bottom = 640, 360, 60, 40
    ranks = sorted({r for points in curves.values() for r, _ in points})
    x = lambda r: left + (width - left - 210) * math.log2(r) / max(1, math.log2(max(ranks)))
    y = lambda e: (height - bottom) - (height - bottom - 20) * e / 1.2
    colours = ["#1b6ca8", "#c0392b", "#27865a", "#8e5ea2", "#b7791f"]
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        'font-size="12">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for e in (0, 0.25, 0.5, 0.75, 1):
        lines.append(
            f'<line x1="{left}" x2="{x(max(ranks)):.0f}" y1="{y(e):.0f}" y2="{y(e):.0f}" stroke="#ddd"/>'
            f'<text x="{left - 8}" y="{y(e) + 4:.0f}" text-anchor="end">{e:g}</text>'
        )
    for r in ranks:
        lines.append(f'<text x="{x(r):.0f}" y="{height - bottom + 18}" text-anchor="middle">{r}</text>')
    lines.append(
        f'<text x="{(left + x(max(ranks))) / 2:.0f}" y="{height - 6}" text-anchor="middle">'
        "ranks of one node (weak scaling)</text>"
        f'<text x="14" y="{height / 2:.0f}" transform="rotate(-90 14 {height / 2:.0f})" text-anchor="middle">'
        "rate a rank, of one rank</text>"
    )
    for points, colour in zip(curves.values(), colours):
        path = " ".join(f"{x(r):.1f},{y(e):.1f}" for r, e in points)
        lines.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
    for place, (name, colour) in enumerate(zip(curves, colours)):
        lines.append(
            f'<rect x="{width - 200}" y="{24 + 20 * place}" width="12" height="12" fill="{colour}"/>'
            f'<text x="{width - 182}" y="{34 + 20 * place}">{name}</text>'
        )
    return "\n".join([*lines, "</svg>", ""])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--points", default="1,2,4,2@2")
    parser.add_argument("--work", type=pathlib.Path, default=ROOT / "build" / "bench")
    parser.add_argument("--output", type=pathlib.Path, default=ROOT / "docs" / "results" / "scaling.json")
    parser.add_argument("--only", default=",".join(WORK))
    given = parser.parse_args()
    points = [tuple(map(int, (point + "@1").split("@")[:2])) for point in given.points.split(",")]
    global preparing_ranks, most_ranks
    preparing_ranks = min(2, max(ranks for ranks, nodes in points if nodes == 1))
    most_ranks = max(ranks for ranks, _ in points)
    measured_on = {"commit": commit(), "cpu": cpu(), "date": datetime.date.today().isoformat()}

    def save(tables: list[dict], curves: dict) -> None:
        image = given.output.with_suffix(".svg")
        image.write_text(picture(curves) if curves else "")
        given.output.write_text(
            json.dumps(
                {
                    "title": "Scaling",
                    "command": f"build/python/bin/python bench/scaling.py --points {given.points}",
                    **measured_on,
                    "notes": [
                        f"![weak scaling]({image.name})",
                        "Seconds are inside the programs. More ranks than the machine has cores share them. The two "
                        "nodes are name spaces of one machine with TCP between them.",
                    ],
                    "tables": tables,
                },
                indent=1,
            )
            + "\n"
        )

    given.work.mkdir(parents=True, exist_ok=True)
    tables, curves = [], {}
    for kind in ("strong", "weak"):
        lines = []
        tables.append(
            {
                "title": f"{kind.capitalize()} scaling",
                "header": [
                    "what",
                    "ranks",
                    "nodes",
                    "cells/s",
                    "speed-up",
                    "efficiency",
                    "a step: compute / ranks / data, ms",
                ],
                "lines": lines,
                "left": 1,
            }
        )
        for name, measure in (WORK[key] for key in given.only.split(",")):
            one = None
            for ranks, nodes in points:
                found = measure(given.work, ranks, nodes, kind == "weak")
                one = one or found["rate"] / ranks
                efficiency = found["rate"] / one / ranks
                split = "–" if "compute" not in found else " / ".join(f"{1000 * found[part]:.1f}" for part in PARTS)
                lines.append(
                    [
                        name,
                        str(ranks),
                        str(nodes),
                        f"{found['rate']:,.0f}",
                        f"{efficiency * ranks:.2f}",
                        f"{efficiency:.2f}",
                        split,
                    ]
                )
                print(kind, *lines[-1], file=sys.stderr, flush=True)
                if kind == "weak" and nodes == 1:
                    curves.setdefault(name, []).append((ranks, efficiency))
                save(tables, curves)
    if "SLURM_JOB_ID" not in os.environ:
        tables.append(ceilings(given.work))
        save(tables, curves)
    for table in tables:
        print(table["title"], *("\t".join(line) for line in [table["header"], *table["lines"]]), sep="\n")


if __name__ == "__main__":
    main()
