"""Submits jobs to the test cluster and waits for them; shared by the tests of jobs/."""

import os
import subprocess
import time

from foundation_runs import read_bytes

SOURCE = os.environ["RETORT_SOURCE"]
SHARED = os.path.join(os.environ["RETORT_CLUSTER"], "shared")  # on both nodes; /tmp is not
SITE = os.path.join(SHARED, "site.env")
ENDED = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL")
CONFIG = """[ingest]
input={cells}
label=cell_type
[foundation]
hidden=48,40
latent=16
batch=32
steps={steps}
[diffusion]
steps=120
hidden=32,32,16,16
[distill]
spc=1,3
iterations=6
score_steps=0,3
[head]
epochs=20
[evaluate]
heads=2
[run]
folder={folder}
stop_before_seconds=10
{more}
"""


def folder_of(name):
    return os.path.join(SHARED, name)


def config(name, steps=40, more=""):
    file = folder_of(name + ".ini")
    with open(file, "w") as text:
        text.write(CONFIG.format(cells=folder_of("cells.h5ad"), steps=steps, folder=folder_of(name), more=more))
    return file


def jobs(script, *arguments, environment=None, code=0):
    done = subprocess.run(
        [os.path.join(SOURCE, "jobs", script), *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, **(environment or {})},
    )
    assert done.returncode == code, f"{script} exit {done.returncode}\n{done.stdout}{done.stderr}"
    return done


def submit(*arguments, **more):
    return int(jobs("submit.sh", *arguments, **more).stdout.split()[-1])


def job(number):
    text = subprocess.run(["scontrol", "show", "job", "-o", str(number)], capture_output=True, text=True).stdout
    return dict(field.split("=", 1) for field in text.split() if "=" in field)


def wait(number, until, seconds=90, what=""):
    end = time.monotonic() + seconds
    while not until(job(number)):
        assert time.monotonic() < end, f"{what or 'waited too long'}: {job(number)}\n{log(number)}"
        time.sleep(0.3)
    return job(number)


def log(number):
    text = ""
    for root, _, files in os.walk(SHARED):
        for name in files:
            if name.endswith(f"-{number}.log"):
                text += read_bytes(root, name).decode()
    return text


def completes(number, seconds=90):
    state = wait(number, lambda now: now.get("JobState") in ENDED, seconds)
    assert state["JobState"] == "COMPLETED", f"{state}\n{log(number)}"
    return state


def is_training(name):
    steps = os.path.join(folder_of(name), "train-foundation", "steps.tsv")
    return os.path.exists(steps) and os.path.getsize(steps) > 2000


def node_processes(node):
    """All of a node: what lives in its name space."""
    spaces = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = read_bytes("/proc", pid, "cmdline").decode().split("\0")
            spaces.setdefault(os.readlink(f"/proc/{pid}/ns/uts"), []).append((int(pid), words))
        except OSError:
            continue
    return next(
        [pid for pid, _ in group]
        for group in spaces.values()
        if any(os.path.basename(words[0]) == "slurmd" and node in words for _, words in group)
    )
