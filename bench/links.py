"""What sums between nodes cost: a model of latency and bandwidth. Writes docs/results/links.json.

It is fitted on the two nodes of the test cluster, checked there with a slowed link, and extrapolated to 1,024 ranks.

usage: links.py [--work DIR] [--rate 1gbit]
The model, for a vector of S bytes on N nodes (methods of src/ranks/ordered_sum.cpp: each node sends and receives a
vector twice, slice by slice, to each other node):
    T = local(S) + 2 (N - 1) a + 2 (N - 1) / N * S / b
a: seconds a message; b: bytes a second that a node sends; local(S): the sum inside a node, measured there.
"""

import argparse
import datetime
import json
import os
import pathlib
import sys

from launch import run_program
from provenance import ROOT, commit, cpu
from scaling import training_step

SIZES = [4096, 65536, 262144, 1048576, 4194304, 16777216, 67108864]


def sums(work: pathlib.Path, ranks: int, nodes: int, link_rate: str = "") -> dict[int, float]:
    """Seconds of an ordered sum by bytes."""
    folder = work / "links"
    run_program(
        "measure", ranks, folder, nodes, link_rate, measure__bytes=",".join(map(str, SIZES)), measure__file_bytes="1MB"
    )
    return {row["bytes"]: row["ordered_seconds"] for row in json.loads((folder / "measure.json").read_text())["sums"]}


def step(work: pathlib.Path, ranks: int, nodes: int, link_rate: str = "") -> dict[str, float]:
    """Medians of a training step at 2,000 genes, 256 cells per rank, in seconds."""
    return training_step(work, 2000, ranks, nodes, 256 * ranks, 4 * ranks, link_rate)


def fit(two_nodes: dict[int, float], local: dict[int, float]) -> tuple[float, float]:
    """a and 1 / b by least squares on relative errors, N = 2: T - local = 2 a + S / b."""
    saa = sab = sbb = sa = sb = 0.0
    for size, seconds in two_nodes.items():
        x, y, target = 2 / seconds, size / seconds, (seconds - local[size]) / seconds
        saa, sab, sbb, sa, sb = saa + x * x, sab + x * y, sbb + y * y, sa + x * target, sb + y * target
    determinant = saa * sbb - sab * sab
    return (sa * sbb - sb * sab) / determinant, (saa * sb - sab * sa) / determinant


def predict(size: float, nodes: int, local: float, latency: float, seconds_a_byte: float) -> float:
    return local + 2 * (nodes - 1) * latency + 2 * (nodes - 1) / nodes * size * seconds_a_byte


def local_at(local: dict[int, float], size: float) -> float:
    """Between measured sizes on the straight line, past them in proportion."""
    known = sorted(local)
    if size >= known[-1]:
        return local[known[-1]] * size / known[-1]
    high = next(s for s in known if s >= size)
    low = max((s for s in known if s <= size), default=high)
    return local[low] + (local[high] - local[low]) * ((size - low) / (high - low) if high > low else 0)


def bits_a_second(rate: str) -> float:
    return float(rate.removesuffix("gbit")) * 1e9


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--work", type=pathlib.Path, default=ROOT / "build" / "bench")
    parser.add_argument("--rate", default="1gbit")
    given = parser.parse_args()
    if "SLURM_JOB_ID" in os.environ:
        sys.exit("links: error: inside a Slurm job no link can be slowed. Run it on a machine of your own")
    given.work.mkdir(parents=True, exist_ok=True)
    alone, shared = sums(given.work, 1, 1), sums(given.work, 2, 1)
    apart, slowed = sums(given.work, 2, 2), sums(given.work, 2, 2, given.rate)
    latency, per_byte = fit(apart, alone)
    slow_byte = 2 / (bits_a_second(given.rate) / 8)  # the slowed link carries both directions in turn
    steps = {
        "one node": step(given.work, 2, 1),
        "two nodes": step(given.work, 2, 2),
        f"two nodes, link of {given.rate}": step(given.work, 2, 2, given.rate),
    }
    gradients = sum(
        file.stat().st_size for file in (given.work / "genes2000" / "scratch").glob("*.safetensors")
    )  # float32, as the weights

    tables = []
    lines = []
    for size in SIZES:
        model, slow = (predict(size, 2, alone[size], latency, byte) for byte in (per_byte, slow_byte))
        lines.append(
            [
                f"{size:,}",
                *(f"{1e6 * seconds:,.0f}" for seconds in (shared[size], apart[size], model)),
                f"{model / apart[size]:.2f}",
                *(f"{1e6 * seconds:,.0f}" for seconds in (slowed[size], slow)),
                f"{slow / slowed[size]:.2f}",
            ]
        )
    tables.append(
        {
            "title": "An ordered sum of two ranks, µs",
            "left": 0,
            "lines": lines,
            "header": [
                "bytes",
                "one node",
                "two nodes",
                "model",
                "model / measured",
                f"two nodes, {given.rate}",
                "model with that rate",
                "model / measured",
            ],
        }
    )
    predicted = {
        "one node": local_at(shared, gradients),
        "two nodes": predict(gradients, 2, local_at(alone, gradients), latency, per_byte),
        f"two nodes, link of {given.rate}": predict(gradients, 2, local_at(alone, gradients), latency, slow_byte),
    }
    tables.append(
        {
            "title": f"A training step at 2,000 genes, 256 cells per rank ({gradients:,} bytes of gradients), ms",
            "left": 1,
            "header": ["where", "compute", "ranks, measured", "ranks, model"],
            "lines": [
                [
                    where,
                    f"{1000 * (part['compute'] + part['step'] + part['read']):.1f}",
                    f"{1000 * part['sum']:.1f}",
                    f"{1000 * predicted[where]:.1f}",
                ]
                for where, part in steps.items()
            ],
        }
    )

    compute = sum(steps["one node"][name] for name in ("compute", "step", "read"))
    links = {
        "the measured link": (latency, per_byte),
        f"{given.rate} per direction": (latency, 1 / (bits_a_second(given.rate) / 8)),
        "25 Gb/s, 20 µs (assumed)": (20e-6, 8 / 25e9),
        "100 Gb/s, 2 µs (assumed)": (2e-6, 8 / 100e9),
    }
    lines = []
    for name, (a, byte) in links.items():
        for ranks in (64, 256, 1024):
            seconds = predict(gradients, ranks // 16, local_at(shared, gradients), a, byte)
            lines.append(
                [name, str(ranks), str(ranks // 16), f"{1000 * seconds:.1f}", f"{compute / (compute + seconds):.2f}"]
            )
    tables.append(
        {
            "title": "EXTRAPOLATION, not measured: weak scaling of that step on nodes of 16 ranks",
            "left": 1,
            "header": ["link between nodes", "ranks", "nodes", "sums, ms", "efficiency"],
            "lines": lines,
        }
    )

    notes = [
        f"Fitted: {1e6 * latency:.0f} µs per message and {1 / per_byte / 1e9:.2f} GB/s from a node. A sum is local(S) "
        "+ 2 (N - 1) a + 2 (N - 1) / N S / b; the code is src/ranks/ordered_sum.cpp.",
        "The slowed link was given nothing but its rate: latency and local sums are those fitted at full speed. In "
        "the step itself, whose gradients have left the caches and whose ranks arrive at different moments, sums take "
        "about twice what the model says at full speed (the second table). The extrapolation leaves that out, and what "
        "ranks wait for each other, memory shared by 16 ranks, and contention in the network.",
    ]
    target = ROOT / "docs" / "results" / "links.json"
    target.write_text(
        json.dumps(
            {
                "title": "Links",
                "command": f"build/python/bin/python bench/links.py --rate {given.rate}",
                "commit": commit(),
                "cpu": cpu(),
                "date": datetime.date.today().isoformat(),
                "notes": notes,
                "tables": tables,
            },
            indent=1,
        )
        + "\n"
    )
    for table in tables:
        print(table["title"], *("\t".join(line) for line in [table["header"], *table["lines"]]), sep="\n")


if __name__ == "__main__":
    main()
