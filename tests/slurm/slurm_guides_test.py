"""What the guides say is done on a real Slurm of two nodes: jobs/README.md, and the scaling study.

Run inside tests/slurm/cluster."""

import os
import re
import shutil
import subprocess
import textwrap

import pytest
from cluster_jobs import SOURCE, completes, folder_of
from foundation_runs import read_bytes, read_json


@pytest.fixture(scope="module")
def steps(cells):
    """The guide's steps as they stand there, but for the two paths of an imagined cluster."""
    text = read_bytes(SOURCE, "jobs", "README.md").decode()
    blocks = [textwrap.dedent(block) for block in re.findall(r"^   ```\n(.*?)^   ```$", text, re.S | re.M)]
    places = {"/data/atlas.h5ad": cells, "/scratch/me/atlas": folder_of("newcomer-run")}
    for imagined, real in places.items():
        blocks = [block.replace(imagined, real) for block in blocks]
    return blocks


def test_the_guide_has_five_steps_of_which_the_first_builds(steps):
    assert len(steps) == 5 and steps[0].strip() == "tools/setup"


def edit_site(file):
    """What the guide asks the reader to change."""
    with open(file) as site:
        text = site.read()
    text = re.sub(r'^RETORT_TIME="4:00:00" ', 'RETORT_TIME="0:30:00" ', text, flags=re.M)
    text = re.sub(r"^RETORT_RANKS_PER_NODE=4 ", "RETORT_RANKS_PER_NODE=1 ", text, flags=re.M)
    with open(file, "w") as site:
        site.write(text)


def test_a_newcomer_gets_results_by_the_guide_word_for_word(steps):
    home, folder = folder_of("newcomer"), folder_of("newcomer-run")
    shutil.copytree(os.path.join(SOURCE, "jobs"), os.path.join(home, "jobs"), ignore=shutil.ignore_patterns("site.env"))
    os.makedirs(folder)
    environment = {name: value for name, value in os.environ.items() if name != "RETORT_SITE"}
    for step in steps[1:]:  # it is built already, or this test would not run
        shell = {"cwd": home, "env": environment, "capture_output": True, "text": True, "timeout": 120}
        done = subprocess.run(["bash", "-e"], input=step, **shell)
        assert done.returncode == 0, f"{step}\n{done.stdout}{done.stderr}"
        edit_site(os.path.join(home, "jobs", "site.env"))
        if "--dry-run" in step:
            assert "sbatch" in done.stdout and "memory" in done.stdout
            assert not os.listdir(os.path.join(folder, "jobs"))
    completes(int(done.stdout.split()[-1]), 900)
    assert os.path.exists(os.path.join(folder, "distilled.h5ad"))
    assert os.path.exists(os.path.join(folder, "results.json"))


def test_the_scaling_study_is_a_job_of_two_nodes(cells):
    folder, script = folder_of("scaling"), os.path.join(SOURCE, "jobs", "scaling.sbatch")
    size = ["--nodes=2", "--ntasks-per-node=2", "--time=20"]
    done = subprocess.run(
        ["sbatch", "--parsable", *size, f"--output={folder}-%j.log", script, folder],
        env={**os.environ, "RETORT_ROOT": SOURCE, "RETORT_SCALING": "--only embed"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    completes(int(done.stdout), 300)
    tables = read_json(folder, "scaling.json")["tables"]
    assert [line[1:3] for line in tables[0]["lines"]] == [["1", "1"], ["2", "1"], ["4", "2"]]
    assert {"measure-1", "measure-2", "scaling.svg"} <= set(os.listdir(folder))
