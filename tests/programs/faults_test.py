"""Faults end in one line with rank, host and step, in time, with the right code: stopped and dead ranks, lone failures, full
disks, damaged checkpoints, two writers in one folder."""

import os
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import anndata
import h5py
from survive_runs import SurviveRuns, checkpoints, kill_all, pids_of, wait_for

HOST = socket.gethostname().split(".")[0]
LONG = ["--foundation.steps=100000", "--run.again=true"]


def error_lines(errors):
    return [line for line in errors.splitlines() if "error:" in line and line.startswith("retort-")]


def ends(process, folder, seconds):
    """Its exit code and stderr; it must end within `seconds`, and no rank may stay behind."""
    begin = time.monotonic()
    try:
        _, errors = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        kill_all(folder, process)
        raise AssertionError(f"hangs after {seconds} s")
    wait_for(lambda: not pids_of(folder), subprocess.Popen(["sleep", "10"]), 5)
    return process.returncode, errors, time.monotonic() - begin


with SurviveRuns() as runs:
    folder = runs.prepare("run")

    # A rank that stands still, wherever a step has got to: the others say so within the deadline and five seconds.
    for strike in range(5):
        process = runs.started_loop("train-foundation", 3, folder, *LONG, "--run.deadline_seconds=2")
        time.sleep(0.11 * strike)
        os.kill(pids_of(folder)[strike % 3], signal.SIGSTOP)
        code, errors, seconds = ends(process, folder, 12)
        assert code == 124 and seconds < 2 + 5, (strike, code, seconds)
        lines = error_lines(errors)
        assert lines and all(
            re.search(rf"has lasted 2 s .*\[rank \d of 3, host {HOST}, step \d+\]", line) for line in lines
        ), errors

    # A rank that dies: the launcher ends the job at once, never with 0.
    process = runs.started_loop("train-foundation", 3, folder, *LONG)
    os.kill(pids_of(folder)[2], signal.SIGKILL)
    code, errors, seconds = ends(process, folder, 10)
    assert code not in (0, 75) and seconds < 5, (code, seconds)

    # A dead job leaves its lock; the next one sees that nobody holds it.
    assert os.path.exists(os.path.join(folder, "LOCK"))
    process = runs.started_loop("train-foundation", 2, folder, *LONG)

    # Two writers never share a folder: the second is told who holds it, and the first goes on.
    done = subprocess.run(runs.command("train-diffusion", 1, folder), capture_output=True, text=True, timeout=60)
    assert done.returncode == 73 and "is in use by retort-train-foundation" in done.stderr, done.stderr
    assert process.poll() is None

    # A job whose lock was taken (its node was thought dead) writes nothing more and leaves with 75.
    with open(os.path.join(folder, "LOCK"), "w") as lock:
        lock.write(
            '{"token":"another","program":"retort-train-foundation","host":"elsewhere","process":1,"job":"7","restart":"1"}\n'
        )
    code, errors, seconds = ends(process, folder, 20)
    assert code == 75 and "was taken by another job" in errors, (code, errors)
    assert not os.path.exists(os.path.join(folder, "train-foundation", "DONE"))
    os.remove(os.path.join(folder, "LOCK"))

    # One rank alone fails (its share of a file is gone bad): its line, and no hang in what all ranks must end together.
    cut = runs.path("cut")
    shutil.copytree(folder, cut)
    process = runs.started_loop("train-foundation", 3, cut, *LONG, "--run.deadline_seconds=20")
    with open(os.path.join(cut, "atlas.h5ad"), "r+b") as atlas:
        atlas.truncate(20000)
    code, errors, seconds = ends(process, cut, 15)
    assert code == 65 and seconds < 10, (code, seconds, errors)
    assert any("atlas.h5ad" in line and f"host {HOST}, step" in line for line in error_lines(errors)), errors

    # A value that is no number on one rank alone (a cell of an atlas of log values gone bad): that rank is named, and all end.
    cells = anndata.read_h5ad(runs.path("cells.h5ad"))
    cells.X = cells.X.astype("float32").log1p()
    cells.write_h5ad(runs.path("log.h5ad"))
    spoilt = runs.path("spoilt")
    runs.must(
        "ingest", 2, f"--ingest.input={runs.path('log.h5ad')}", "--ingest.label=cell_type", f"--run.folder={spoilt}"
    )
    with h5py.File(os.path.join(spoilt, "atlas.h5ad"), "r+") as atlas:
        split = atlas["obs/split/categories"].asstr()[:][atlas["obs/split/codes"][:]]
        row = next(
            i for i, (part, held) in enumerate(zip(split, atlas["obs/held_out"][:])) if part == "train" and not held
        )
        atlas["X/data"][atlas["X/indptr"][row]] = float("nan")
    process = runs.start("train-foundation", 3, spoilt)
    code, errors, seconds = ends(process, spoilt, 30)
    lines = error_lines(errors)
    assert code == 65 and len(lines) == 1, (code, errors)
    assert re.search(rf"X/data is nan in row {row} .*\[rank \d of 3, host {HOST}, step \d+\]", lines[0]), errors

    # A full disk during a checkpoint: 73, and what was there before stays good.
    small = tempfile.mkdtemp(prefix="retort_small_")
    if (
        os.geteuid() == 0
        and subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1100k", "none", small]).returncode == 0
    ):
        try:
            inputs = [f"--foundation.atlas={folder}/atlas.h5ad", f"--foundation.model={runs.path('full_model')}"]
            process = runs.start(
                "train-foundation", 2, small, *inputs, "--run.checkpoint_steps=40", "--run.keep_checkpoints=20"
            )
            code, errors, seconds = ends(process, small, 60)
            lines = error_lines(errors)
            assert code == 73 and len(lines) == 1 and "No space left" in lines[0], (code, errors)
            kept = checkpoints(small, "train-foundation")
            assert kept and not [
                name
                for name in os.listdir(os.path.join(small, "train-foundation", "checkpoints"))
                if name.endswith(".tmp")
            ], kept
            subprocess.run(["mount", "-o", "remount,size=8m", small], check=True)
            done = runs.finish("train-foundation", 3, small, *inputs)
            assert f"goes on from step {kept[-1]}" in done.stderr, done.stderr
            runs.finish("train-foundation", 1, folder, "--run.again=true")
            with (
                open(runs.path("full_model", "encoder.safetensors"), "rb") as ours,
                open(os.path.join(folder, "again", "encoder.safetensors"), "rb") as theirs,
            ):
                assert ours.read() == theirs.read(), "another result after a full disk"
        finally:
            subprocess.run(["umount", small])
    else:
        print("no tmpfs could be mounted: the full disk is not tested")
    os.rmdir(small)

    # Damaged checkpoints are refused by name and the newest good one is taken.
    process = runs.started_loop(
        "train-diffusion", 2, folder, "--run.again=true", "--run.checkpoint_steps=50", "--run.keep_checkpoints=3"
    )
    wait_for(lambda: len(checkpoints(folder, "train-diffusion")) == 3, process)
    process.send_signal(signal.SIGUSR2)
    ends(process, folder, 30)
    steps = checkpoints(folder, "train-diffusion")
    place, good = os.path.join(folder, "train-diffusion", "checkpoints"), runs.path("good")
    shutil.copytree(place, good)
    draw = random.Random(3)
    for name in sorted(os.listdir(os.path.join(good, f"step-{steps[-1]}"))):
        for damage in ("flip", "cut"):
            shutil.rmtree(place)
            shutil.copytree(good, place)
            file = os.path.join(place, f"step-{steps[-1]}", name)
            with open(file, "r+b") as opened:
                size = os.path.getsize(file)
                at = draw.randrange(size)
                opened.seek(at)
                byte = opened.read(1)[0]
                opened.seek(at)
                opened.write(bytes([byte ^ 1 << draw.randrange(8)]))
                if damage == "cut":
                    opened.truncate(at)
            # The limit is over at once, so the start only loads and stops at its first boundary.
            process = runs.start("train-diffusion", 2, folder, RETORT_END_TIME="1")
            code, errors, _ = ends(process, folder, 30)
            assert (
                code == 75 and f"step-{steps[-1]}' is refused" in errors and f"goes on from step {steps[-2]} " in errors
            ), (name, damage, errors)
    done = runs.finish("train-diffusion", 2, folder)
    assert f"goes on from step {steps[-2] + 1} " in done.stderr, done.stderr

    # Settings that one rank cannot read end the job on all ranks.
    config = runs.path("only_root.ini")
    script = f'if [ "$OMPI_COMM_WORLD_RANK" = 0 ]; then exec "$@"; else exec "$@" --config {config}; fi'
    process = subprocess.Popen(
        [
            runs.mpirun,
            "-n",
            "2",
            "bash",
            "-c",
            script,
            "x",
            os.path.join(runs.programs, "retort-train-foundation"),
            f"--run.folder={folder}",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    code, errors, _ = ends(process, folder, 20)
    assert code == 66 and len(error_lines(errors)) == 1, (code, errors)
