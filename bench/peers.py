"""Runs what a user would run or write instead of retort, and reads the JSON lines that it prints."""

import json
import os
import pathlib
import subprocess
import sys

from inputs import peer_python

# glibc keeps large blocks, as retort's programs set for themselves.
ENVIRONMENT = {"MALLOC_MMAP_THRESHOLD_": "1000000000", "MALLOC_TRIM_THRESHOLD_": "8000000000"}


def on_one_core() -> None:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def run_peer(
    script: pathlib.Path, *arguments: object, waiting: str = "ACTIVE", one_core: bool = False, **options: object
) -> list[dict]:
    """`options` are passed as --NAME VALUE; `waiting` is what OpenMP's idle threads do."""
    flags = [part for name, value in options.items() for part in (f"--{name}", value)]
    command = [peer_python(), "-W", "ignore", script, *arguments, *flags]
    done = subprocess.run(
        [str(part) for part in command],
        env=os.environ | ENVIRONMENT | {"OMP_WAIT_POLICY": waiting},
        capture_output=True,
        text=True,
        preexec_fn=on_one_core if one_core else None,
    )
    if done.returncode:
        sys.exit(f"bench: error: the peer {script.name} failed\n{done.stderr[-2000:]}")
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
