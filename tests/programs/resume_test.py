"""Runs that are cut go on to the same bits: signals, a STOP file, the time limit, random kills, on any number of ranks.

RETORT_KILLS sets the number of kills (20)."""

import os
import random
import signal
import subprocess
import time
import types

import pytest
from survive_runs import SETTINGS, SurviveRuns, checkpoints, kill_all, pids_of

KILLS = int(os.environ.get("RETORT_KILLS", "20"))
EVERY = "--run.checkpoint_steps=5"


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


@pytest.fixture(scope="module")
def uncut(runs, folder):
    """What each stage makes on one rank if nothing happens to it."""
    made = {}
    for verb in SETTINGS:
        runs.finish(verb, 1, folder)
        assert checkpoints(folder, verb) == [], "a finished stage keeps no checkpoints"
        made[verb] = runs.made(verb, folder)
    return made


@pytest.fixture(scope="module")
def kills():
    """How many were dealt, and how many runs had a checkpoint to go on from."""
    return types.SimpleNamespace(draw=random.Random(7), dealt=0, resumed=0)


def step_column(folder, verb):
    with open(os.path.join(folder, verb, "steps.tsv")) as file:
        return [int(float(line.split("\t")[0])) for line in file.readlines()[1:]]


@pytest.mark.parametrize("verb", SETTINGS)
def test_checkpoints_change_no_result(runs, folder, uncut, verb):
    runs.finish(verb, 3, folder, EVERY, "--run.again=true")
    assert runs.made(verb, folder) == uncut[verb]


@pytest.mark.parametrize("verb", SETTINGS)
def test_usr1_leaves_a_checkpoint_and_the_run_goes_on(runs, folder, uncut, verb):
    process = runs.started_loop(verb, 2, folder, "--run.again=true")
    for pid in pids_of(folder):
        os.kill(pid, signal.SIGUSR1)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    with open(os.path.join(folder, verb, "log.jsonl")) as file:
        assert '"event":"checkpoint"' in file.read().rsplit('"event":"start"', 1)[1], "no checkpoint after USR1"
    assert runs.made(verb, folder) == uncut[verb]


@pytest.mark.parametrize("verb", SETTINGS)
def test_usr2_stops_with_a_checkpoint_and_another_rank_count_goes_on(runs, folder, uncut, verb):
    process = runs.started_loop(verb, 2, folder, "--run.again=true")
    process.send_signal(signal.SIGUSR2)  # to mpirun, as Slurm sends it
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 75 and "goes on from there" in errors and "error" not in errors, errors
    assert len(checkpoints(folder, verb)) == 1 and not os.path.exists(os.path.join(folder, "LOCK"))
    done = runs.finish(verb, 3, folder)
    assert "goes on from step" in done.stderr, done.stderr
    assert runs.made(verb, folder) == uncut[verb], "another result after USR2"
    if verb != "distill":
        steps = step_column(folder, verb)
        assert steps == list(range(len(steps))), "steps told twice or left out"


def test_a_stop_file_and_a_near_time_limit_stop_a_run(runs, folder, uncut):
    open(os.path.join(folder, "STOP"), "w").close()
    process = runs.start("train-diffusion", 2, folder, "--run.again=true")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 75 and not os.path.exists(os.path.join(folder, "STOP")), errors
    process = runs.start("train-diffusion", 2, folder, RETORT_END_TIME=str(int(time.time()) + 30))
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 75 and "goes on from step" in errors, errors
    runs.finish("train-diffusion", 1, folder)
    assert runs.made("train-diffusion", folder) == uncut["train-diffusion"]


@pytest.mark.parametrize("verb", SETTINGS)
def test_kills_at_random_moments_change_no_result(runs, folder, uncut, kills, verb):
    """As a node dies; every start on another number of ranks."""
    last = kills.dealt + -(-KILLS // len(SETTINGS))
    while kills.dealt < last:
        again = ["--run.again=true"]
        for _ in range(1000):
            process = runs.start(verb, kills.draw.choice([1, 2, 3]), folder, EVERY, *again)
            again = []
            try:
                process.communicate(timeout=kills.draw.uniform(0.3, 2.2) if kills.dealt < last else 60)
                assert process.returncode == 0, (process.returncode, process.communicate()[1])
                break
            except subprocess.TimeoutExpired:
                had = checkpoints(folder, verb)
                kill_all(folder, process)
                kills.dealt += 1
                kills.resumed += bool(had)
        assert runs.made(verb, folder) == uncut[verb], f"another result after {kills.dealt} kills"


def test_enough_kills_came_after_a_checkpoint_to_say_anything(kills):
    assert kills.resumed > kills.dealt // 4, f"{kills.dealt} kills, {kills.resumed} with a checkpoint to go on from"
