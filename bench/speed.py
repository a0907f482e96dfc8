"""Speed of retort beside its peers, in one run on the same cores: writes docs/results/speed.json.

usage: speed.py [--only ingest,scaling,matching,embed,wide,start] [--cells 100000] [--work DIR]
Each figure is a median; the peers run with the allocator settings that keep large blocks, as retort sets for itself.
"""

import argparse
import json
import os
import pathlib
import resource
import signal
import statistics
import subprocess
import sys
import time

from inputs import data, peer
from launch import ENVIRONMENT, events_of, launcher, program, run_program, seconds_of, stage_seconds, steps_of
from peers import run_peer
from provenance import ROOT, record_figures

REPEATS = 5
PEER = "scdd_torch.py"
BEST_PEER = f"{PEER}, best of 1 and 2 threads"


def speed_figure(what: str, unit: str, ours: float, theirs: float, target: float, peer_is: str, **more: object) -> dict:
    """`ours` and `theirs` are seconds or milliseconds, of which fewer are better, or a rate."""
    ratio = theirs / ours if unit in ("s", "ms") else ours / theirs
    numbers = {"retort": ours, "peer": theirs, "ratio": ratio, "target": target}
    return {"what": what, "unit": unit} | numbers | {"peer_is": peer_is} | more


def limit_figure(what: str, unit: str, ours: float, bound: float, target: float, peer_is: str) -> dict:
    """`ours` is to be at most `target` times the bound."""
    numbers = {"retort": ours, "peer": bound, "ratio": ours / bound, "target": target, "at_most": True}
    return {"what": what, "unit": unit} | numbers | {"peer_is": peer_is}


def prepare_kidney(work: pathlib.Path) -> pathlib.Path:
    folder = work / "kidney"
    if not (folder / "generator" / "config.json").exists():
        run_program("ingest", 2, folder, ingest__input=data("kidney"), ingest__label="cell_type")
        run_program("train-foundation", 2, folder)
        run_program("embed", 2, folder)
        run_program("train-diffusion", 2, folder, diffusion__steps=200)
    return folder


def scaling(work: pathlib.Path) -> list[dict]:
    folder = prepare_kidney(work)

    def cells_per_second(ranks: int) -> float:
        steps, batch, warm = 40, 256 * ranks, 10
        run_program(
            "train-foundation",
            ranks,
            folder,
            foundation__steps=steps,
            foundation__batch=batch,
            run__shards=4 * ranks,
            foundation__model=work / "scratch_model",
        )
        return batch * (steps - warm) / seconds_of(steps_of(folder, "train-foundation")[warm:])

    one, two = zip(*((cells_per_second(1), cells_per_second(2)) for _ in range(REPEATS)))
    what = "foundation training at 2,000 genes, two ranks against one, same cells per rank"
    made = speed_figure(what, "cells/s", statistics.median(two), statistics.median(one), 1.8, "one rank")
    return [made | {"ratio": statistics.median(b / a for a, b in zip(one, two))}]


def iteration_ms(folder: pathlib.Path, kind: str, ranks: int, few: int = 50, many: int = 250) -> float:
    """One iteration of scdd at SPC 1: a long run less a short one, so that reading and scoring drop out."""

    def seconds(iterations: int) -> float:
        run_program(
            "distill",
            ranks,
            folder,
            distill__matchings=kind,
            distill__spc=1,
            distill__rates=0.003,
            distill__iterations=iterations,
            distill__score_steps=iterations,
        )
        return events_of(folder, "distill", "set")[-1]["seconds"]

    return 1000 * (seconds(many) - seconds(few)) / (many - few)


def matching(work: pathlib.Path) -> list[dict]:
    folder = prepare_kidney(work)
    ours = {kind: statistics.median(iteration_ms(folder, kind, 2) for _ in range(3)) for kind in ("dm", "dc")}
    alone = {kind: statistics.median(iteration_ms(folder, kind, 1) for _ in range(3)) for kind in ("dm", "dc")}
    asked = {"spc": 1, "iters": 100, "methods": "scdd_dm,scdd_dc"}
    little = {"foundation_steps": 5, "scdg_steps": 5, "eval_epochs": 5}
    theirs: dict[str, float] = {}
    for threads in (1, 2):
        for line in run_peer(peer(PEER), data("kidney"), "cell_type", threads=threads, **asked, **little):
            if "per_iter_ms" in line:
                kind = line["method"][-2:]
                theirs[kind] = min(theirs.get(kind, 1e9), line["per_iter_ms"])
    best = {kind: min(ours[kind], alone[kind]) for kind in ours}
    figures = [
        speed_figure(
            f"scdd {kind.upper()} iteration, SPC 1, 11 classes, 2,000 genes",
            "ms",
            best[kind],
            theirs[kind],
            target,
            BEST_PEER,
            note=f"one rank {alone[kind]:.2f} ms, two ranks {ours[kind]:.2f} ms",
        )
        for kind, target in (("dm", 1.3), ("dc", 10))
    ]
    what = "a DC iteration in DM iterations (at most 1.2)"
    return [*figures, limit_figure(what, "ms", best["dc"], best["dm"], 1.2, "retort's DM")]


def embed(work: pathlib.Path) -> list[dict]:
    folder = work / "wide"
    run_program("simulate", 2, folder, simulate__cells=8192, simulate__genes=20000)
    run_program("train-foundation", 2, folder, foundation__steps=2, foundation__batch=64)
    figures = []
    for precision, target in (("float32", 2.5), ("bfloat16", 5)):
        rates = []
        for _ in range(REPEATS):
            run_program("embed", 2, folder, embed__precision=precision)
            rates.append(events_of(folder, "embed", "embedded")[-1]["cells_per_second"])
        read = [folder / "atlas.h5ad", folder / "foundation", folder / "features.h5ad"]
        lines = [run_peer(ROOT / "bench" / "embed_peer.py", *read)[0] for _ in range(3)]
        forward, whole = (
            statistics.median(line[f"{part}_cells_per_second"] for line in lines) for part in ("forward", "whole")
        )
        figures.append(
            speed_figure(
                f"embedding in {precision} at 20,000 genes and 1,900 non-zeros per cell, two cores",
                "cells/s",
                statistics.median(rates),
                forward,
                target,
                "PyTorch dense float32, forward alone, two threads",
                note=f"reading and normalising included on our side; the peer with them {whole:.0f} cells/s; "
                f"largest difference {max(line['largest_difference'] for line in lines):.1e}, "
                f"largest 1 - cosine {max(line['largest_cosine_error'] for line in lines):.1e}",
            )
        )
    return figures


def wide(work: pathlib.Path) -> list[dict]:
    """All stages at 60 classes and 20,000 genes beside the plain PyTorch scDD on the same cells, in three rounds."""
    folder, source = work / "wide60", work / "wide60.h5ad"
    run_program(
        "simulate",
        2,
        folder,
        simulate__cells=6000,
        simulate__genes=20000,
        simulate__types=60,
        simulate__format="h5ad",
        simulate__output=source,
    )
    run_program("ingest", 2, folder, ingest__input=source, ingest__label="cell_type")

    def training_rates() -> dict[str, float]:
        steps, warm = 12, 4
        run_program("train-foundation", 2, folder, foundation__steps=steps, foundation__batch=256)
        foundation = 256 * (steps - warm) / seconds_of(steps_of(folder, "train-foundation")[warm:])
        run_program("embed", 2, folder)

        def diffusion_seconds(count: int) -> float:
            run_program("train-diffusion", 2, folder, diffusion__steps=count, diffusion__batch=128)
            return stage_seconds(folder, "train-diffusion")

        return {"foundation": foundation, "scdg": 128 * 400 / (diffusion_seconds(500) - diffusion_seconds(100))}

    def peer_figures() -> dict[str, float]:
        asked = {"spc": 1, "iters": 5, "methods": "scdd_dc", "nets": 1}
        lengths = {"foundation_steps": 10, "scdg_steps": 200, "eval_epochs": 2}
        best: dict[str, float] = {}
        for threads in (1, 2):
            for line in run_peer(peer(PEER), source, "cell_type", threads=threads, **asked, **lengths):
                if line.get("stage") in ("foundation", "scdg"):
                    best[line["stage"]] = max(best.get(line["stage"], 0), line["cells_per_s"])
                if "per_iter_ms" in line:
                    best["dc"] = min(best.get("dc", 1e9), line["per_iter_ms"])
        return best

    rounds = [
        (training_rates() | {"dc": min(iteration_ms(folder, "dc", ranks, 10, 60) for ranks in (1, 2))}, peer_figures())
        for _ in range(3)
    ]

    def figure(what: str, key: str, unit: str, target: float) -> dict:
        ours, theirs = (statistics.median(one[side][key] for one in rounds) for side in (0, 1))
        ratios = sorted(one[1][key] / one[0][key] if unit == "ms" else one[0][key] / one[1][key] for one in rounds)
        note = f"median of three rounds of both, {ratios[0]:.2f} to {ratios[-1]:.2f}"
        return speed_figure(what, unit, ours, theirs, target, BEST_PEER, note=note) | {"ratio": ratios[1]}

    return [
        figure("foundation training at 20,000 genes, batch 256, two cores", "foundation", "cells/s", 2),
        figure("training of the single-step generator, batch 128, two cores", "scdg", "cells/s", 1.3),
        figure("scdd DC iteration, SPC 1, 60 classes, 20,000 genes", "dc", "ms", 15),
    ]


def ingest(work: pathlib.Path, cells: int) -> list[dict]:
    folder, source = work / "ingest", work / "input.h5ad"
    run_program(
        "simulate",
        2,
        folder,
        simulate__cells=cells,
        simulate__genes=20000,
        simulate__format="h5ad",
        simulate__output=source,
    )
    whole, inside, lines, peer_whole = [], [], [], []
    for _ in range(3):
        whole.append(run_program("ingest", 2, folder, ingest__input=source, ingest__label="cell_type"))
        inside.append(stage_seconds(folder, "ingest"))
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1000
    for _ in range(3):
        begin = time.perf_counter()
        lines += run_peer(ROOT / "bench" / "ingest_peer.py", source, "cell_type", work / "peer.h5ad")
        peer_whole.append(time.perf_counter() - begin)
    return [
        speed_figure(
            f"ingest of {cells:,} x 20,000, two ranks, without starting the programs",
            "s",
            statistics.median(inside),
            statistics.median(line["seconds"] for line in lines),
            3,
            "anndata + scanpy: read, filter, permute, split, write",
            note=f"whole commands {statistics.median(whole):.2f} s and {statistics.median(peer_whole):.2f} s; "
            f"peak memory of a rank {peak:.0f} MB under memory_limit 2 GB; the peer "
            f"{max(line['peak_mb'] for line in lines):.0f} MB",
        )
    ]


def start(work: pathlib.Path) -> list[dict]:
    """From the start of the launcher to the first finished step, begun and resumed."""
    folder, model = work / "wide", work / "start_model"
    if not (folder / "atlas.h5ad").exists():
        run_program("simulate", 2, folder, simulate__cells=8192, simulate__genes=20000)
    settings = {"foundation__batch": 64, "foundation__steps": 400, "foundation__model": model}
    steps = folder / "train-foundation" / "steps.tsv"

    def seconds(again: bool) -> float:
        if again:
            steps.unlink(missing_ok=True)
        known = steps.stat().st_size if steps.exists() else 0
        begin = time.perf_counter()
        whole = [*launcher(2, 1), *program("train-foundation", folder, settings)]
        command = [part for part in whole if again or part != "--run.again"]
        process = subprocess.Popen(
            command,
            env=os.environ | ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while not steps.exists() or steps.stat().st_size <= known:
            if process.poll() is not None:
                sys.exit(f"speed: error: {' '.join(command)} ended with {process.returncode}")
            time.sleep(0.01)
        took = time.perf_counter() - begin
        process.send_signal(signal.SIGUSR2)  # a checkpoint, and the next start goes on from it
        process.wait()
        return took

    begun, resumed = seconds(True), seconds(False)
    read = sum(
        file.stat().st_size
        for file in [folder / "atlas.h5ad", *(folder / "train-foundation" / "checkpoints").glob("step-*/*")]
    )
    measured = work / "measure" / "measure.json"
    gigabytes = json.loads(measured.read_text())["files"]["read_gb_per_second"] if measured.exists() else 1
    bound, what = 5 + read / (1e9 * gigabytes), "start of training at 20,000 genes to its first step done"
    return [
        limit_figure(f"{what}, {kind}", "s", took, bound, 1, "5 s + bytes / read speed")
        for kind, took in (("begun", begun), ("resumed from a checkpoint", resumed))
    ]


PARTS = {"ingest": ingest, "scaling": scaling, "matching": matching, "embed": embed, "wide": wide, "start": start}


def main() -> None:
    parser = argparse.ArgumentParser()
    # Ingest comes first: its peak memory is read as the most of all children so far.
    parser.add_argument("--only", default=",".join(PARTS))
    parser.add_argument("--cells", type=int, default=100_000)
    parser.add_argument("--work", type=pathlib.Path, default=ROOT / "build" / "bench")
    arguments = parser.parse_args()
    parts = arguments.only.split(",")
    if {"scaling", "matching"} & set(parts):
        data("kidney")  # what is missing is said before the first minute
    if {"matching", "wide"} & set(parts):
        peer(PEER)
    arguments.work.mkdir(parents=True, exist_ok=True)
    for name in parts:
        made = PARTS[name](arguments.work, *([arguments.cells] if name == "ingest" else []))
        record_figures("speed.json", "Speed", "build/python/bin/python bench/speed.py", made)


if __name__ == "__main__":
    main()
