"""Jobs on a real Slurm of two nodes: the same bits as on this machine, cut, signalled, killed with a node, refused.

Run inside tests/slurm/cluster. usage: slurm_test.py --programs DIR --mpirun FILE"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "programs"))
from foundation_runs import Runs, read_bytes

SOURCE = os.environ["RETORT_SOURCE"]
SHARED = os.path.join(os.environ["RETORT_CLUSTER"], "shared")  # on both nodes; /tmp is not
SITE = os.path.join(SHARED, "site.env")
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


def config(name, steps=40, more=""):
    file = os.path.join(SHARED, name + ".ini")
    with open(file, "w") as text:
        text.write(
            CONFIG.format(
                cells=os.path.join(SHARED, "cells.h5ad"), steps=steps, folder=os.path.join(SHARED, name), more=more
            )
        )
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
    state = wait(
        number, lambda now: now.get("JobState") in ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL"), seconds
    )
    assert state["JobState"] == "COMPLETED", f"{state}\n{log(number)}"
    return state


def products(folder):
    made = {}
    for root, _, files in os.walk(folder):
        for name in files:
            if name.endswith((".h5ad", ".safetensors")):
                made[os.path.relpath(os.path.join(root, name), folder)] = read_bytes(root, name)
    return made


def folder_of(name):
    return os.path.join(SHARED, name)


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


def whole_pipeline(runs):
    """Two nodes give what two ranks on one machine give, bit for bit; a done pipeline submits nothing."""
    jobs("pipeline.sh", config("local"), "--local", 2)
    last = int(jobs("pipeline.sh", config("cluster"), "--nodes", 2).stdout.split()[-1])
    completes(last, 240)
    ours, theirs = products(folder_of("local")), products(folder_of("cluster"))
    assert sorted(ours) == sorted(theirs) and len(ours) > 8, (sorted(ours), sorted(theirs))
    for name in ours:
        assert ours[name] == theirs[name], f"{name} differs between this machine and two nodes"
    assert "on n[1-2], 2 ranks" in log(last), log(last)
    again = jobs("pipeline.sh", config("cluster"), "--nodes", 2)
    assert again.stdout == "" and again.stderr.count("is done") == 7, again.stderr


def failures(runs):
    """A failed program is a failed job with its code, and what waits for it never starts."""
    bad = config("bad")
    first = submit("embed", bad, "--embed.atlas=/nowhere/atlas.h5ad")
    second = submit("train-diffusion", bad, "--after", first)
    state = wait(first, lambda now: now.get("JobState") == "FAILED")
    assert state["ExitCode"] == "66:0" and state["Restarts"] == "0", state
    assert "error: " in log(first) and "is missing" in log(first), log(first)
    wait(second, lambda now: now.get("JobState") == "CANCELLED")
    assert (
        "unknown setting 'foundation.setps'"
        in jobs("submit.sh", "train-foundation", bad, "--foundation.setps=4", code=2).stderr
    )
    assert "there is no program 'destill'" in jobs("submit.sh", "destill", bad, code=2).stderr
    dry = jobs(
        "submit.sh", "train-foundation", config("cluster"), "--nodes", 2, "--foundation.steps=70", "--dry-run"
    ).stdout
    assert (
        dry.startswith("sbatch --parsable")
        and "--nodes=2" in dry
        and "--signal=USR2@60" in dry
        and "memory per rank" in dry
    ), dry


def cuts(runs):
    """Time limit, USR1, a dead node: each ends with the bits of the run that was not cut."""
    long = ["--foundation.steps=9000", "--run.checkpoint_seconds=2"]
    whole = config("whole")
    cells = ["--foundation.atlas=" + os.path.join(folder_of("local"), "atlas.h5ad")]
    number = submit("train-foundation", whole, *cells, *long, "--nodes", 2)
    cut = config("cut")
    hours, minutes, seconds = map(int, completes(number, 120)["RunTime"].split(":"))
    expected = products(folder_of("whole"))

    # The limit is a minute; the ranks stop that long before it that half of the work is left, and the requeued job goes on.
    half = (hours * 3600 + minutes * 60 + seconds) // 2
    number = submit(
        "train-foundation",
        cut,
        *cells,
        *long,
        f"--run.stop_before_seconds={60 - min(half, 50)}",
        "--nodes",
        2,
        "--time",
        1,
    )
    state = completes(number, 240)
    assert int(state["Restarts"]) >= 1, f"{state}\n{log(number)}"
    assert "stopped at step" in log(number) and "goes on from step" in log(number), log(number)
    assert products(folder_of("cut")) == expected, "a run cut by its time limit gives other bits"

    # USR1: a checkpoint, and the job goes on. While it runs, another job may not write in its folder.
    signalled = config("signalled")
    quiet = [setting for setting in long if "checkpoint" not in setting] + ["--run.checkpoint_seconds=0"]
    number = submit("train-foundation", signalled, *cells, *quiet, "--nodes", 2)
    wait(number, lambda _: is_training("signalled"))
    subprocess.run(["scancel", "--signal=USR1", str(number)], check=True)
    checkpoints = os.path.join(folder_of("signalled"), "train-foundation", "checkpoints")
    wait(
        number,
        lambda _: (
            os.path.isdir(checkpoints) and any(re.fullmatch(r"step-\d+", name) for name in os.listdir(checkpoints))
        ),
        20,
        "no checkpoint after USR1",
    )
    second = submit("embed", signalled, "--nodes", 1)
    state = wait(second, lambda now: now.get("JobState") == "FAILED", 60)
    assert state["ExitCode"] == "73:0" and "is in use by retort-train-foundation" in log(second), log(second)
    assert completes(number, 120)["Restarts"] == "0"
    assert products(folder_of("signalled")) == expected

    # A node dies in the middle: a message, and the requeued job finishes once the node is back.
    killed = config("killed")
    number = submit("train-foundation", killed, *cells, *long, "--nodes", 2)
    wait(
        number,
        lambda _: (
            is_training("killed")
            and os.path.exists(os.path.join(folder_of("killed"), "train-foundation", "checkpoints", "latest"))
        ),
    )
    batch = job(number)["BatchHost"]
    for pid in node_processes("n2" if batch == "n1" else "n1"):
        os.kill(pid, signal.SIGKILL)
    wait(
        number,
        lambda now: now.get("JobState") in ("PENDING", "CONFIGURING") or int(now.get("Restarts", 0)) > 0,
        60,
        "the job was not requeued",
    )
    assert "error" in log(number).lower(), log(number)
    subprocess.Popen(
        [os.path.join(SOURCE, "tests", "slurm", "node"), os.environ["RETORT_CLUSTER"], "n2" if batch == "n1" else "n1"]
    )
    state = completes(number, 180)
    assert int(state["Restarts"]) >= 1 and "goes on from step" in log(number), log(number)
    assert products(folder_of("killed")) == expected, "a run cut by a dead node gives other bits"


def no_progress(runs):
    """A job that cannot move gives up after the restarts the site allows: here one rank is killed at every start."""
    stuck = config("stuck", steps=100000, more="checkpoint_seconds=0")
    number = submit(
        "train-foundation",
        stuck,
        "--foundation.atlas=" + os.path.join(folder_of("local"), "atlas.h5ad"),
        "--nodes",
        2,
        environment={"RETORT_RESTARTS": "1"},
    )
    for restarts in ("0", "1"):
        wait(number, lambda now: now.get("Restarts") == restarts and now.get("JobState") == "RUNNING")
        while subprocess.run(
            ["pkill", "-9", "-o", "-f", f"^{os.environ['RETORT_BIN']}/retort-train-foundation --config {stuck}"]
        ).returncode:
            time.sleep(0.2)
    state = wait(number, lambda now: now.get("JobState") == "FAILED", 60)
    assert state["Restarts"] == "1" and state["ExitCode"] in ("137:0", "143:0") and "made no progress" in log(number), (
        f"{state}\n{log(number)}"
    )


def sweeps(runs):
    """An array job does what is missing, and nothing twice."""
    tasks = os.path.join(SHARED, "sweep.txt")
    with open(tasks, "w") as file:
        file.write("spc1 --distill.spc=1\nspc2 --distill.spc=2\nsgd --distill.spc=1 --distill.optimiser=sgd\n")
    cluster = config("cluster")
    jobs(
        "submit.sh",
        "distill",
        cluster,
        "--local",
        2,
        "--distill.spc=2",
        f"--run.base={folder_of('cluster')}",
        f"--run.folder={folder_of('cluster')}/sweep/spc2",
    )
    done = jobs("sweep.sh", "distill", cluster, tasks)
    assert "2 of 3 tasks are to do" in done.stderr, done.stderr
    for task in (1, 3):
        wait(f"{done.stdout.split()[-1]}_{task}", lambda now: now.get("JobState") == "COMPLETED")
    assert all(
        os.path.exists(os.path.join(folder_of("cluster"), "sweep", name, "distilled.h5ad"))
        for name in ("spc1", "spc2", "sgd")
    )
    assert "all 3 tasks are done" in jobs("sweep.sh", "distill", cluster, tasks).stderr


def newcomer(runs):
    """jobs/README.md word for word: its five steps are run as they stand there, but for the two paths of an imagined cluster."""
    home, folder = os.path.join(SHARED, "newcomer"), os.path.join(SHARED, "newcomer-run")
    shutil.copytree(os.path.join(SOURCE, "jobs"), os.path.join(home, "jobs"), ignore=shutil.ignore_patterns("site.env"))
    os.makedirs(folder)
    text = read_bytes(SOURCE, "jobs", "README.md").decode()
    steps = [textwrap.dedent(block) for block in re.findall(r"^   ```\n(.*?)^   ```$", text, re.S | re.M)]
    assert len(steps) == 5 and steps[0].strip() == "tools/setup", steps  # built already, or this test would not run
    environment = {name: value for name, value in os.environ.items() if name != "RETORT_SITE"}
    for step in steps[1:]:
        step = step.replace("/data/atlas.h5ad", os.path.join(SHARED, "cells.h5ad")).replace("/scratch/me/atlas", folder)
        done = subprocess.run(
            ["bash", "-e"], input=step, cwd=home, env=environment, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, f"{step}\n{done.stdout}{done.stderr}"
        site = os.path.join(home, "jobs", "site.env")
        with open(site) as file:
            edited = re.sub(
                r"^RETORT_RANKS_PER_NODE=4 ",
                "RETORT_RANKS_PER_NODE=1 ",
                re.sub(r'^RETORT_TIME="4:00:00" ', 'RETORT_TIME="0:30:00" ', file.read(), flags=re.M),
                flags=re.M,
            )
        with open(site, "w") as file:
            file.write(edited)
        if "--dry-run" in step:
            assert (
                "sbatch" in done.stdout and "memory" in done.stdout and not os.listdir(os.path.join(folder, "jobs"))
            ), done.stdout
    completes(int(done.stdout.split()[-1]), 900)
    assert os.path.exists(os.path.join(folder, "distilled.h5ad")) and os.path.exists(
        os.path.join(folder, "results.json")
    )


def scaling(runs):
    """The scaling study as a job of two nodes."""
    folder = os.path.join(SHARED, "scaling")
    done = subprocess.run(
        [
            "sbatch",
            "--parsable",
            "--nodes=2",
            "--ntasks-per-node=2",
            "--time=20",
            f"--output={folder}-%j.log",
            os.path.join(SOURCE, "jobs", "scaling.sbatch"),
            folder,
        ],
        env={**os.environ, "RETORT_ROOT": SOURCE, "RETORT_SCALING": "--only embed"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    completes(int(done.stdout), 300)
    tables = json.loads(read_bytes(folder, "scaling.json"))["tables"]
    assert [line[1:3] for line in tables[0]["lines"]] == [["1", "1"], ["2", "1"], ["4", "2"]], tables
    assert {"measure-1", "measure-2", "scaling.svg"} <= set(os.listdir(folder)), os.listdir(folder)


os.makedirs(SHARED, exist_ok=True)
with open(SITE, "w") as text:
    text.write(
        'RETORT_RANKS_PER_NODE=1\nRETORT_TIME=10\nRETORT_SBATCH="--mem=0"\nRETORT_STOP_SECONDS=${RETORT_STOP_SECONDS:-60}\n'
    )
os.environ["RETORT_SITE"] = SITE
with Runs() as runs:
    os.environ["RETORT_BIN"] = os.path.abspath(runs.programs)
    runs.must(
        "simulate",
        1,
        "--simulate.cells=600",
        "--simulate.genes=300",
        "--simulate.types=4",
        "--simulate.format=h5ad",
        f"--simulate.output={SHARED}/cells.h5ad",
        f"--run.folder={SHARED}/simulate",
    )
    wanted = os.environ.get("RETORT_SLURM_TESTS", "whole_pipeline failures sweeps no_progress cuts").split()
    for name in wanted:
        begin = time.monotonic()
        globals()[name](runs)
        print(f"{name}: {time.monotonic() - begin:.0f} s", flush=True)
