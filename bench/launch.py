"""Runs the programs of retort for a benchmark and reads what they log.

They start under mpirun here, under srun inside a Slurm job, or on the two nodes of the test cluster.
"""

import csv
import json
import os
import pathlib
import subprocess
import sys
import time

from inputs import missing
from provenance import ROOT

BIN = pathlib.Path(os.environ.get("RETORT_BIN", ROOT / "build" / "cpu" / "bin"))
CLUSTER = ROOT / "tests" / "slurm" / "cluster"
ENVIRONMENT = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "OMPI_MCA_btl_vader_single_copy_mechanism": "none",
}


def executable(verb: str) -> str:
    file = BIN / f"retort-{verb}"
    if not file.exists():
        missing(f"the program retort-{verb}", f"no file {file}", "Run tools/setup, or set RETORT_BIN")
    return str(file)


def program(verb: str, folder: pathlib.Path, settings: dict) -> list[str]:
    """retort-VERB with settings written as section__key."""
    command = [executable(verb), "--run.folder", str(folder), "--run.again"]
    for key, value in settings.items():
        command += ["--" + key.replace("__", "."), str(value)]
    return command


def launcher(ranks: int, nodes: int) -> list[str]:
    mpi = os.environ.get("RETORT_MPI", "pmix")
    if "SLURM_JOB_ID" in os.environ and mpi != "mpirun":
        return [
            "srun",
            f"--mpi={mpi}",
            "--quiet",
            "--kill-on-bad-exit=1",
            "--wait=60",
            "--distribution=block",
            f"--nodes={nodes}",
            f"--ntasks={ranks}",
            *os.environ.get("RETORT_SRUN", "").split(),
        ]
    if "SLURM_JOB_ID" in os.environ:
        return ["mpirun", "--quiet", "--bind-to", "none", "--map-by", f"ppr:{ranks // nodes}:node", "-n", str(ranks)]
    if nodes > 1:
        return [
            str(CLUSTER),
            str(ROOT / "build" / "scaling-cluster"),
            "srun",
            "--mpi=pmix",
            f"--nodes={nodes}",
            f"--ntasks={ranks}",
        ]
    crowded = ["--oversubscribe", "--mca", "mpi_yield_when_idle", "1"] if ranks > len(os.sched_getaffinity(0)) else []
    return ["mpirun", "--quiet", "--bind-to", "none", *crowded, "-n", str(ranks)]


def run_apart(verb: str, folders: list[pathlib.Path], **settings) -> float:
    """Runs retort-VERB at once, on one rank in each folder, sharing nothing; the longest stage in seconds."""
    started = [
        subprocess.Popen(
            [*launcher(1, 1), *program(verb, folder, settings)],
            env=os.environ | ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for folder in folders
    ]
    if any(process.wait() for process in started):
        sys.exit(f"bench: error: one of {len(folders)} retort-{verb} failed; see {folders[0] / verb / 'log.jsonl'}")
    return max(stage_seconds(folder, verb) for folder in folders)


def run_program(verb: str, ranks: int, folder: pathlib.Path, nodes: int = 1, link_rate: str = "", **settings) -> float:
    """Runs retort-VERB; the wall time of the whole command in seconds. `link_rate` slows the test cluster's link."""
    command = [*launcher(ranks, nodes), *program(verb, folder, settings)]
    start = time.perf_counter()
    done = subprocess.run(
        command,
        env=os.environ | ENVIRONMENT | {"RETORT_LINK_RATE": link_rate},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        sys.exit(f"bench: error: {' '.join(command)} failed with {done.returncode}\n{done.stderr[-2000:]}")
    return time.perf_counter() - start


def events_of(folder: pathlib.Path, verb: str, name: str) -> list[dict]:
    """The events of that name in a program's log, in order."""
    events = map(json.loads, (folder / verb / "log.jsonl").read_text().splitlines())
    return [event for event in events if event["event"] == name]


def stage_seconds(folder: pathlib.Path, verb: str) -> float:
    """From the last start of a stage to its end, without starting the program."""
    return events_of(folder, verb, "end")[-1]["time"] - events_of(folder, verb, "start")[-1]["time"]


def steps_of(folder: pathlib.Path, verb: str) -> list[dict[str, float]]:
    """The rows of a training program's steps.tsv."""
    with open(folder / verb / "steps.tsv") as table:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(table, delimiter="\t")]


def seconds_of(steps: list[dict[str, float]]) -> float:
    """Of the steps alone, without starting the program."""
    return sum(step[key] for step in steps for key in step if key.endswith("_seconds"))
