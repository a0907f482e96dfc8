"""Faults end in one line with rank, host and step, in time, with the right code: stopped and dead ranks, lone failures,
full disks, damaged checkpoints, two writers in one folder."""

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
import pytest
from foundation_runs import digest
from survive_runs import SurviveRuns, checkpoints, kill_all, pids_of, wait_for

HOST = socket.gethostname().split(".")[0]
LONG = ["--foundation.steps=100000", "--run.again=true"]


@pytest.fixture(scope="module")
def runs(programs, mpirun):
    with SurviveRuns(programs, mpirun) as made:
        yield made


@pytest.fixture(scope="module")
def folder(runs):
    return runs.prepare("run")


@pytest.fixture(autouse=True)
def alone(folder):
    """A case that fails leaves no run behind, which would hold the folder."""
    yield
    for pid in pids_of(folder):
        os.kill(pid, signal.SIGKILL)


def error_lines(errors):
    return [line for line in errors.splitlines() if "error:" in line and line.startswith("retort-")]


def ends(process, folder, seconds):
    """Its exit code and stderr; it must end within `seconds`, and no rank may stay behind."""
    begin = time.monotonic()
    try:
        _, errors = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired as late:
        kill_all(folder, process)
        raise AssertionError(f"hangs after {seconds} s") from late
    wait_for(lambda: not pids_of(folder), subprocess.Popen(["sleep", "10"]), 5)
    return process.returncode, errors, time.monotonic() - begin


@pytest.mark.parametrize("strike", range(5))
def test_a_rank_that_stands_still_is_told_within_the_deadline(runs, folder, strike):
    """Wherever a step has got to, the others say so within the deadline and five seconds."""
    process = runs.started_loop("train-foundation", 3, folder, *LONG, "--run.deadline_seconds=2")
    time.sleep(0.11 * strike)
    os.kill(pids_of(folder)[strike % 3], signal.SIGSTOP)
    code, errors, seconds = ends(process, folder, 12)
    assert code == 124 and seconds < 2 + 5
    lines = error_lines(errors)
    said = rf"has lasted 2 s .*\[rank \d of 3, host {HOST}, step \d+\]"
    assert lines and all(re.search(said, line) for line in lines), errors


def test_a_rank_that_dies_ends_the_job_at_once(runs, folder):
    process = runs.started_loop("train-foundation", 3, folder, *LONG)
    os.kill(pids_of(folder)[2], signal.SIGKILL)
    code, _, seconds = ends(process, folder, 10)
    assert code not in (0, 75) and seconds < 5
    assert os.path.exists(os.path.join(folder, "LOCK")), "a dead job leaves its lock"
    # The next one sees that nobody holds it.
    kill_all(folder, runs.started_loop("train-foundation", 2, folder, *LONG))


def test_two_writers_never_share_a_folder(runs, folder):
    """The second is told who holds it, and the first goes on, until its lock is taken: then it writes nothing more."""
    process = runs.started_loop("train-foundation", 2, folder, *LONG)
    done = subprocess.run(runs.command("train-diffusion", 1, folder), capture_output=True, text=True, timeout=60)
    assert done.returncode == 73 and "is in use by retort-train-foundation" in done.stderr, done.stderr
    assert process.poll() is None
    with open(os.path.join(folder, "LOCK"), "w") as lock:  # as if its node was thought dead
        lock.write('{"token":"another","program":"retort-train-foundation","host":"elsewhere","process":1,')
        lock.write('"job":"7","restart":"1"}\n')
    code, errors, _ = ends(process, folder, 20)
    os.remove(os.path.join(folder, "LOCK"))
    assert code == 75 and "was taken by another job" in errors, (code, errors)
    assert not os.path.exists(os.path.join(folder, "train-foundation", "DONE"))


def test_one_rank_that_fails_alone_is_told_and_nothing_hangs(runs, folder):
    """Its share of a file is gone bad."""
    cut = runs.path("cut")
    shutil.copytree(folder, cut)
    process = runs.started_loop("train-foundation", 3, cut, *LONG, "--run.deadline_seconds=20")
    with open(os.path.join(cut, "atlas.h5ad"), "r+b") as atlas:
        atlas.truncate(20000)
    code, errors, seconds = ends(process, cut, 15)
    assert code == 65 and seconds < 10, errors
    assert any("atlas.h5ad" in line and f"host {HOST}, step" in line for line in error_lines(errors)), errors


def test_a_value_that_is_no_number_on_one_rank_names_that_rank(runs, folder):
    """A cell of an atlas of log values gone bad."""
    cells = anndata.read_h5ad(runs.path("cells.h5ad"))
    cells.X = cells.X.astype("float32").log1p()
    cells.write_h5ad(runs.path("log.h5ad"))
    spoilt = runs.path("spoilt")
    with h5py.File(runs.ingest(2, runs.path("log.h5ad"), spoilt), "r+") as atlas:
        split = atlas["obs/split/categories"].asstr()[:][atlas["obs/split/codes"][:]]
        row = next(
            i for i, (part, held) in enumerate(zip(split, atlas["obs/held_out"][:])) if part == "train" and not held
        )
        atlas["X/data"][atlas["X/indptr"][row]] = float("nan")
    code, errors, _ = ends(runs.start("train-foundation", 3, spoilt), spoilt, 30)
    lines = error_lines(errors)
    assert code == 65 and len(lines) == 1, (code, errors)
    assert re.search(rf"X/data is nan in row {row} .*\[rank \d of 3, host {HOST}, step \d+\]", lines[0]), errors


@pytest.fixture
def small_disk():
    """1.1 MB that can be filled, where this user may mount."""
    place = tempfile.mkdtemp(prefix="retort_small_")
    mount = ["mount", "-t", "tmpfs", "-o", "size=1100k", "none", place]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        os.rmdir(place)
        pytest.skip("no tmpfs can be mounted")
    yield place
    subprocess.run(["umount", place])
    os.rmdir(place)


def test_a_full_disk_during_a_checkpoint_leaves_the_good_ones(runs, folder, small_disk):
    inputs = [f"--foundation.atlas={folder}/atlas.h5ad", f"--foundation.model={runs.path('full_model')}"]
    often = ["--run.checkpoint_steps=40", "--run.keep_checkpoints=20"]
    code, errors, _ = ends(runs.start("train-foundation", 2, small_disk, *inputs, *often), small_disk, 60)
    lines = error_lines(errors)
    assert code == 73 and len(lines) == 1 and "No space left" in lines[0], (code, errors)
    kept = checkpoints(small_disk, "train-foundation")
    place = os.path.join(small_disk, "train-foundation", "checkpoints")
    assert kept and not [name for name in os.listdir(place) if name.endswith(".tmp")]
    subprocess.run(["mount", "-o", "remount,size=8m", small_disk], check=True)
    done = runs.finish("train-foundation", 3, small_disk, *inputs)
    assert f"goes on from step {kept[-1]}" in done.stderr, done.stderr
    runs.finish("train-foundation", 1, folder, "--run.again=true")
    ours, theirs = (digest(place, "encoder.safetensors") for place in (runs.path("full_model"), f"{folder}/again"))
    assert ours == theirs, "another result after a full disk"


@pytest.fixture(scope="module")
def three_checkpoints(runs, folder):
    """The steps of the checkpoints of a run that was stopped, and a copy of them."""
    often = ["--run.again=true", "--run.checkpoint_steps=50", "--run.keep_checkpoints=3"]
    process = runs.started_loop("train-diffusion", 2, folder, *often)
    wait_for(lambda: len(checkpoints(folder, "train-diffusion")) == 3, process)
    process.send_signal(signal.SIGUSR2)
    ends(process, folder, 30)
    good = runs.path("good")
    shutil.copytree(os.path.join(folder, "train-diffusion", "checkpoints"), good)
    return checkpoints(folder, "train-diffusion"), good


def test_damaged_checkpoints_are_refused_by_name_and_the_newest_good_one_is_taken(runs, folder, three_checkpoints):
    steps, good = three_checkpoints
    place, last = os.path.join(folder, "train-diffusion", "checkpoints"), f"step-{steps[-1]}"
    draw = random.Random(3)
    for name in sorted(os.listdir(os.path.join(good, last))):
        for damage in ("flip", "cut"):
            shutil.rmtree(place)
            shutil.copytree(good, place)
            file = os.path.join(place, last, name)
            with open(file, "r+b") as opened:
                at = draw.randrange(os.path.getsize(file))
                opened.seek(at)
                byte = opened.read(1)[0]
                opened.seek(at)
                opened.write(bytes([byte ^ 1 << draw.randrange(8)]))
                if damage == "cut":
                    opened.truncate(at)
            # The limit is over at once, so the start only loads and stops at its first boundary.
            code, errors, _ = ends(runs.start("train-diffusion", 2, folder, RETORT_END_TIME="1"), folder, 30)
            taken = f"{last}' is refused" in errors and f"goes on from step {steps[-2]} " in errors
            assert code == 75 and taken, (name, damage, errors)
    done = runs.finish("train-diffusion", 2, folder)
    assert f"goes on from step {steps[-2] + 1} " in done.stderr, done.stderr


def test_settings_that_one_rank_cannot_read_end_the_job_on_all_ranks(runs, folder):
    config = runs.path("only_root.ini")
    script = f'if [ "$OMPI_COMM_WORLD_RANK" = 0 ]; then exec "$@"; else exec "$@" --config {config}; fi'
    program = [runs.program("train-foundation"), f"--run.folder={folder}"]
    process = subprocess.Popen(
        [runs.mpirun, "-n", "2", "bash", "-c", script, "x", *program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    code, errors, _ = ends(process, folder, 20)
    assert code == 66 and len(error_lines(errors)) == 1, (code, errors)
