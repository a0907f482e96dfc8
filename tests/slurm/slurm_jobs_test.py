"""Jobs on a real Slurm of two nodes: the same bits as on this machine, cut, signalled, killed with a node, refused.

Run inside tests/slurm/cluster."""

import os
import re
import signal
import subprocess
import time

import pytest
from cluster_jobs import (
    SHARED,
    SOURCE,
    completes,
    config,
    folder_of,
    is_training,
    job,
    jobs,
    log,
    node_processes,
    submit,
    wait,
)
from foundation_runs import products

LONG = ["--foundation.steps=7000", "--run.checkpoint_seconds=2"]


@pytest.fixture(scope="module")
def last_job(cells):
    """The last job of the pipeline on two nodes, which goes on while the pipeline runs on this machine."""
    return int(jobs("pipeline.sh", config("cluster"), "--nodes", 2).stdout.split()[-1])


@pytest.fixture(scope="module")
def local(last_job):
    """The pipeline on two ranks of this machine."""
    jobs("pipeline.sh", config("local"), "--local", 2)
    return folder_of("local")


@pytest.fixture(scope="module")
def on_two_nodes(local, last_job):
    completes(last_job, 240)
    return last_job


@pytest.fixture(scope="module")
def atlas(local):
    return f"--foundation.atlas={local}/atlas.h5ad"


@pytest.fixture(scope="module")
def whole(atlas):
    """A training that nothing cuts: how long it takes, and what it makes."""
    number = submit("train-foundation", config("whole"), atlas, *LONG, "--nodes", 2)
    hours, minutes, seconds = map(int, completes(number, 120)["RunTime"].split(":"))
    return hours * 3600 + minutes * 60 + seconds, products(folder_of("whole"))


def test_two_nodes_give_the_bits_of_two_ranks_on_one_machine(local, on_two_nodes):
    ours, theirs = products(local), products(folder_of("cluster"))
    assert len(ours) > 8 and ours == theirs
    assert "on n[1-2], 2 ranks" in log(on_two_nodes), log(on_two_nodes)


def test_a_done_pipeline_submits_nothing(on_two_nodes):
    again = jobs("pipeline.sh", config("cluster"), "--nodes", 2)
    assert again.stdout == "" and again.stderr.count("is done") == 7, again.stderr


def test_a_failed_program_is_a_failed_job_and_what_waits_for_it_never_starts(cells):
    bad = config("bad")
    first = submit("embed", bad, "--embed.atlas=/nowhere/atlas.h5ad")
    second = submit("train-diffusion", bad, "--after", first)
    state = wait(first, lambda now: now.get("JobState") == "FAILED")
    assert state["ExitCode"] == "66:0" and state["Restarts"] == "0"
    assert "error: " in log(first) and "is missing" in log(first), log(first)
    wait(second, lambda now: now.get("JobState") == "CANCELLED")


@pytest.mark.parametrize(
    "program, setting, says",
    [
        ("train-foundation", "--foundation.setps=4", "unknown setting 'foundation.setps'"),
        ("destill", "--distill.spc=1", "there is no program 'destill'"),
    ],
)
def test_what_cannot_run_is_not_submitted(cells, program, setting, says):
    assert says in jobs("submit.sh", program, config("bad"), setting, code=2).stderr


def test_a_dry_run_shows_the_job_and_the_plan(cells, on_two_nodes):
    asked = ["--nodes", 2, "--foundation.steps=70", "--dry-run"]
    dry = jobs("submit.sh", "train-foundation", config("cluster"), *asked).stdout
    assert dry.startswith("sbatch --parsable") and "--nodes=2" in dry and "--signal=USR2@60" in dry
    assert "memory per rank" in dry


def test_an_array_job_does_what_is_missing_and_nothing_twice(on_two_nodes):
    tasks, names, here = os.path.join(SHARED, "sweep.txt"), ("spc1", "spc2", "sgd"), folder_of("cluster")
    with open(tasks, "w") as file:
        file.write("spc1 --distill.spc=1\nspc2 --distill.spc=2\nsgd --distill.spc=1 --distill.optimiser=sgd\n")
    cluster = config("cluster")
    done_before = ["--distill.spc=2", f"--run.base={here}", f"--run.folder={here}/sweep/spc2"]
    jobs("submit.sh", "distill", cluster, "--local", 2, *done_before)
    done = jobs("sweep.sh", "distill", cluster, tasks)
    assert "2 of 3 tasks are to do" in done.stderr, done.stderr
    for task in (1, 3):
        wait(f"{done.stdout.split()[-1]}_{task}", lambda now: now.get("JobState") == "COMPLETED")
    assert all(os.path.exists(os.path.join(here, "sweep", name, "distilled.h5ad")) for name in names)
    assert "all 3 tasks are done" in jobs("sweep.sh", "distill", cluster, tasks).stderr


def test_a_job_that_cannot_move_gives_up_after_the_restarts_the_site_allows(atlas):
    """One rank is killed at every start."""
    stuck = config("stuck", steps=100000, more="checkpoint_seconds=0")
    number = submit("train-foundation", stuck, atlas, "--nodes", 2, environment={"RETORT_RESTARTS": "1"})
    oldest = ["pkill", "-9", "-o", "-f", f"^{os.environ['RETORT_BIN']}/retort-train-foundation --config {stuck}"]
    for restarts in ("0", "1"):
        running = {"Restarts": restarts, "JobState": "RUNNING"}
        wait(number, lambda now: running.items() <= now.items())
        while subprocess.run(oldest).returncode:
            time.sleep(0.2)
    state = wait(number, lambda now: now.get("JobState") == "FAILED", 60)
    assert state["Restarts"] == "1" and state["ExitCode"] in ("137:0", "143:0")
    assert "made no progress" in log(number), log(number)


def test_a_job_cut_by_its_time_limit_goes_on_to_the_same_bits(atlas, whole):
    """The limit is a minute; the ranks stop so long before it that half of the work is left."""
    seconds, expected = whole
    early = f"--run.stop_before_seconds={60 - min(seconds // 2, 50)}"
    site = {"RETORT_STOP_SECONDS": "10", "RETORT_RESTARTS": "20"}  # starts of less than a minute are no progress
    asked = [*LONG, early, "--nodes", 2, "--time", 1]
    number = submit("train-foundation", config("cut"), atlas, *asked, environment=site)
    state = completes(number, 240)
    assert int(state["Restarts"]) >= 1, log(number)
    assert "stopped at step" in log(number) and "goes on from step" in log(number), log(number)
    assert products(folder_of("cut")) == expected


def test_usr1_leaves_a_checkpoint_and_no_other_job_writes_in_the_folder(atlas, whole):
    signalled = config("signalled")
    number = submit("train-foundation", signalled, atlas, LONG[0], "--run.checkpoint_seconds=0", "--nodes", 2)
    wait(number, lambda _: is_training("signalled"))
    subprocess.run(["scancel", "--signal=USR1", str(number)], check=True)
    place = os.path.join(folder_of("signalled"), "train-foundation", "checkpoints")

    def written(_):
        return os.path.isdir(place) and any(re.fullmatch(r"step-\d+", name) for name in os.listdir(place))

    wait(number, written, 20, "no checkpoint after USR1")
    second = submit("embed", signalled, "--nodes", 1)
    state = wait(second, lambda now: now.get("JobState") == "FAILED", 60)
    assert state["ExitCode"] == "73:0" and "is in use by retort-train-foundation" in log(second), log(second)
    assert completes(number, 120)["Restarts"] == "0"
    assert products(folder_of("signalled")) == whole[1]


def test_a_job_cut_by_a_dead_node_goes_on_to_the_same_bits_once_the_node_is_back(atlas, whole):
    number = submit("train-foundation", config("killed"), atlas, *LONG, "--nodes", 2)
    latest = os.path.join(folder_of("killed"), "train-foundation", "checkpoints", "latest")
    wait(number, lambda _: is_training("killed") and os.path.exists(latest))
    dead = "n2" if job(number)["BatchHost"] == "n1" else "n1"
    for pid in node_processes(dead):
        os.kill(pid, signal.SIGKILL)

    def requeued(now):
        return now.get("JobState") in ("PENDING", "CONFIGURING") or int(now.get("Restarts", 0)) > 0

    wait(number, requeued, 60, "the job was not requeued")
    assert "error" in log(number).lower(), log(number)
    subprocess.Popen([os.path.join(SOURCE, "tests", "slurm", "node"), os.environ["RETORT_CLUSTER"], dead])
    state = completes(number, 180)
    assert int(state["Restarts"]) >= 1 and "goes on from step" in log(number), log(number)
    assert products(folder_of("killed")) == whole[1]
