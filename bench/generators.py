"""Speed of the generators of new cells beside their peers, in one run on the same cores.

Writes docs/results/generators.json.

usage: generators.py [--only scldm,scvi,flow,scrdit] [--work DIR]
The peers run under the Python that RETORT_PEER_PYTHON names. Real cells: kang_stim, 1,975 cells of 6,998 genes.
"""

import argparse
import pathlib
from statistics import median

from inputs import data, peer
from launch import events_of, run_program, seconds_of, steps_of
from peers import run_peer
from provenance import ROOT, record_figures

SOURCE, LABEL = "kang_stim", "cell_type"
PEERS = {"scldm": "scldm_torch.py", "scvi": "scvi_train.py", "flow": "scldm_torch.py", "scrdit": "scrdit_torch.py"}


def printed(script: str, *settings: object, counts: tuple[int, ...] = (1, 2), **options: object) -> list[dict]:
    """What the peer prints on so many threads, the best being for the caller to choose."""
    lines = []
    for threads in counts:  # one thread is held to one core: the U-Net's convolutions take another one else
        waiting = "ACTIVE" if threads > 1 else "PASSIVE"
        arguments = [data(SOURCE), *settings]
        lines += run_peer(peer(script), *arguments, waiting=waiting, one_core=threads == 1, threads=threads, **options)
    return lines


def best(lines: list[dict], stage: str, key: str) -> float:
    return max(line[key] for line in lines if line.get("stage") == stage)


def losses(ours: float, lines: list[dict], stage: str, steps: int) -> str:
    theirs = next(line["loss"] for line in lines if line.get("stage") == stage)
    return f"mean loss of the last tenth of {steps} steps {ours:.4g}, of the peer's {theirs:.4g}"


def prepared(work: pathlib.Path) -> pathlib.Path:
    if not (work / "run" / "atlas.h5ad").exists():
        run_program("ingest", 2, work / "run", ingest__input=data(SOURCE), ingest__label=LABEL)
    return work / "run"


def trained(
    folder: pathlib.Path,
    verb: str,
    steps: int,
    warm: int,
    batch: int,
    counts: tuple[int, ...] = (1, 2),
    **settings: object,
) -> tuple[dict[int, float], float]:
    """Cells per second of training after the first `warm` steps, by ranks; the mean loss of the last tenth of steps."""
    rates: dict[int, float] = {}
    for ranks in counts:
        run_program(verb, ranks, folder, **settings)
        rows = steps_of(folder, verb)
        assert len(rows) == steps
        rates[ranks] = batch * (steps - warm) / seconds_of(rows[warm:])
    last = [row["loss"] for row in rows[-max(1, steps // 10) :]]
    return rates, sum(last) / len(last)


def figure(what: str, ours: float, theirs: float, target: float, peer_is: str, note: str = "") -> dict:
    return {
        "what": what,
        "unit": "cells/s",
        "retort": ours,
        "peer": theirs,
        "ratio": ours / theirs,
        "target": target,
        "peer_is": peer_is,
    } | ({"note": note} if note else {})


def on_two_ranks(what: str, one: float, two: float) -> dict:
    return figure(f"{what}, two ranks against one", two, one, 1.8, "one rank")


def scldm(work: pathlib.Path) -> list[dict]:
    folder, steps = prepared(work), 16
    rates, loss = trained(folder, "train-vae", steps, 4, 128, vae__steps=steps)
    encode = events_of(folder, "train-vae", "embedded")[-1]["cells_per_second"]
    drawing = {"cells": 700, "solver": "euler", "ode_steps": 1}
    lines = printed(PEERS["scldm"], LABEL, vae_steps=steps, dit_steps=2, **drawing)
    name = "scldm_torch.py, best of 1 and 2 threads"
    return [
        figure(
            "scLDM's autoencoder, a whole step, 6,998 genes, batch 128, two cores",
            rates[2],
            best(lines, "vae_train", "cells_per_s"),
            1.2,
            name,
            losses(loss, lines, "vae_train", steps),
        ),
        figure("scLDM's encoder, 6,998 genes, two cores", encode, best(lines, "encode", "cells_per_s"), 3, name),
        on_two_ranks("scLDM's autoencoder", rates[1], rates[2]),
    ]


def scvi(work: pathlib.Path) -> list[dict]:
    epochs = 30
    settings = {
        "run__base": prepared(work),
        "vae__model": "scvi",
        "vae__scvi_layers": 2,
        "vae__scvi_latent": 30,
        "vae__steps": 400,
    }
    rates, _ = trained(work / "scvi", "train-vae", 400, 50, 128, **settings)
    lines = printed(PEERS["scvi"], cells=0, genes=0, batch_sizes=128, epochs=epochs)
    return [
        figure(
            "the scVI-shaped autoencoder, 6,998 genes, batch 128, two cores",
            max(rates.values()),
            best(lines, "scvi", "train_cells_per_s"),
            3,
            "scvi-tools, best of 1 and 2 threads",
        ),
        on_two_ranks("the scVI-shaped autoencoder", rates[1], rates[2]),
    ]


def flow(work: pathlib.Path) -> list[dict]:
    folder, steps = prepared(work), 24
    if not (folder / "vae").exists():
        run_program("train-vae", 2, folder, vae__steps=16)
    rates, loss = trained(folder, "train-diffusion", steps, 4, 128, diffusion__model="scldm", diffusion__steps=steps)
    drawing = {"cells": 700, "solver": "euler", "ode_steps": 1}
    lines = printed(PEERS["flow"], LABEL, vae_steps=2, dit_steps=steps, **drawing)
    theirs = [line["cells_per_s"] for line in lines if line.get("stage") == "dit_train"]  # 1 thread, then 2
    return [
        figure(
            "scLDM's diffusion transformer, batch 128, one core",
            rates[1],
            theirs[0],
            1,
            "scldm_torch.py, one thread",
            losses(loss, lines, "dit_train", steps),
        ),
        figure(
            "scLDM's diffusion transformer, batch 128, two cores",
            max(rates.values()),
            max(theirs),
            1,
            "scldm_torch.py, best of 1 and 2 threads",
        ),
        on_two_ranks("scLDM's diffusion transformer", rates[1], rates[2]),
    ]


def scrdit(work: pathlib.Path) -> list[dict]:
    folder, figures = prepared(work), []
    steps, rounds = 4, 3  # few long steps, which one slow minute would decide: the median of rounds beside the peer
    for what, ours, theirs in (("transformer", "transformer", "dit"), ("U-Net", "unet", "unet")):
        of_rounds, of_peers = {1: [], 2: []}, {1: [], 2: []}  # by cores
        for cores in [1, 2] * rounds:  # one after the other: the machine's speed drifts by minutes
            made, loss = trained(
                folder,
                "train-diffusion",
                steps,
                1,
                16,
                (cores,),
                diffusion__model="scrdit",
                diffusion__network=ours,
                diffusion__steps=steps,
            )
            drawing = {"samples": 2, "samplers": "ddim500"}
            lines = printed(
                PEERS["scrdit"], LABEL, "--class", "all", counts=(cores,), net=theirs, steps=steps, **drawing
            )
            of_rounds[cores].append(made[cores])
            of_peers[cores] += [
                1000 * line["batch"] / line["step_ms"] for line in lines if line.get("stage") == "train"
            ]
        rates, of_peer = (
            {cores: median(all_rounds[cores]) for cores in (1, 2)} for all_rounds in (of_rounds, of_peers)
        )
        figures += [
            figure(
                f"scRDiT's {what}, 2,000 genes, batch 16, one core",
                rates[1],
                of_peer[1],
                1,
                "scrdit_torch.py, one thread",
                losses(loss, lines, "train", steps),
            ),
            figure(
                f"scRDiT's {what}, 2,000 genes, batch 16, two cores",
                max(rates.values()),
                max(of_peer.values()),
                1,
                "scrdit_torch.py, best of 1 and 2 threads",
            ),
            on_two_ranks(f"scRDiT's {what}", rates[1], rates[2]),
        ]
    return figures


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", default=",".join(PEERS))
    parser.add_argument("--work", type=pathlib.Path, default=ROOT / "build" / "bench" / "generators")
    arguments = parser.parse_args()
    parts = arguments.only.split(",")
    data(SOURCE)  # what is missing is said before the first minute
    for name in parts:
        peer(PEERS[name])
    for name in parts:
        made = {"scldm": scldm, "scvi": scvi, "flow": flow, "scrdit": scrdit}[name](arguments.work)
        record_figures(
            "generators.json", "Speed of the generators", "build/python/bin/python bench/generators.py", made
        )


if __name__ == "__main__":
    main()
