"""Runs that are cut go on to the same bits: signals, a STOP file, the time limit, random kills, on any number of ranks.

usage: resume_test.py --programs DIR --mpirun FILE; RETORT_KILLS sets the number of kills (20)."""

import os
import random
import signal
import subprocess
import time

from survive_runs import SETTINGS, SurviveRuns, checkpoints, kill_all, pids_of

KILLS = int(os.environ.get("RETORT_KILLS", "20"))
EVERY = "--run.checkpoint_steps=5"


def step_column(folder, verb):
    with open(os.path.join(folder, verb, "steps.tsv")) as file:
        return [int(float(line.split("\t")[0])) for line in file.readlines()[1:]]


with SurviveRuns() as runs:
    folder = runs.prepare("run")
    uncut = {}
    for verb in SETTINGS:
        runs.finish(verb, 1, folder)
        uncut[verb] = runs.made(verb, folder)
        assert checkpoints(folder, verb) == [], "a finished stage keeps no checkpoints"
        runs.finish(verb, 3, folder, EVERY, "--run.again=true")
        assert runs.made(verb, folder) == uncut[verb], f"{verb}: checkpoints change the result"

    for verb in SETTINGS:
        # USR1 leaves a checkpoint and the run goes on.
        process = runs.started_loop(verb, 2, folder, "--run.again=true")
        for pid in pids_of(folder):
            os.kill(pid, signal.SIGUSR1)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
        with open(os.path.join(folder, verb, "log.jsonl")) as file:
            assert '"event":"checkpoint"' in file.read().rsplit('"event":"start"', 1)[1], (
                f"{verb}: no checkpoint after USR1"
            )
        assert runs.made(verb, folder) == uncut[verb]

        # USR2 through mpirun: a checkpoint, exit code 75, and another rank count goes on from it.
        process = runs.started_loop(verb, 2, folder, "--run.again=true")
        process.send_signal(signal.SIGUSR2)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 75 and "goes on from there" in errors and "error" not in errors, (
            process.returncode,
            errors,
        )
        assert len(checkpoints(folder, verb)) == 1 and not os.path.exists(os.path.join(folder, "LOCK"))
        done = runs.finish(verb, 3, folder)
        assert "goes on from step" in done.stderr, done.stderr
        assert runs.made(verb, folder) == uncut[verb], f"{verb}: another result after USR2"
        if verb != "distill":
            assert step_column(folder, verb) == list(range(len(step_column(folder, verb)))), (
                "steps told twice or left out"
            )

    # A file STOP, and a time limit that is near, stop the run the same way.
    open(os.path.join(folder, "STOP"), "w").close()
    process = runs.start("train-diffusion", 2, folder, "--run.again=true")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 75 and not os.path.exists(os.path.join(folder, "STOP")), errors
    process = runs.start("train-diffusion", 2, folder, RETORT_END_TIME=str(int(time.time()) + 30))
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 75 and "goes on from step" in errors, errors
    runs.finish("train-diffusion", 1, folder)
    assert runs.made("train-diffusion", folder) == uncut["train-diffusion"]

    # Kills at random moments, as a node dies; every start on another number of ranks.
    draw = random.Random(7)
    killed = resumed = 0
    verbs = list(SETTINGS)
    while killed < KILLS:
        verb = verbs[killed % len(verbs)]
        again = ["--run.again=true"]
        for attempt in range(1000):
            process = runs.start(verb, draw.choice([1, 2, 3]), folder, EVERY, *again)
            again = []
            try:
                process.communicate(timeout=draw.uniform(0.3, 2.2) if killed < KILLS else 60)
                assert process.returncode == 0, (verb, process.returncode, process.communicate()[1])
                break
            except subprocess.TimeoutExpired:
                had = checkpoints(folder, verb)
                kill_all(folder, process)
                killed += 1
                resumed += bool(had)
        assert runs.made(verb, folder) == uncut[verb], f"{verb}: another result after {killed} kills"
    print(f"{killed} kills, {resumed} with a checkpoint to go on from, every result the same bytes")
    assert resumed > KILLS // 4, "too few kills came after a checkpoint to say anything"
