"""The folder and the site of the test cluster; the tests run inside tests/slurm/cluster."""

import os

import pytest


@pytest.fixture(scope="module")
def cells(runs, programs):
    """Cells that both nodes see, and what the scripts of jobs/ ask of a site."""
    from cluster_jobs import SHARED, SITE

    os.makedirs(SHARED, exist_ok=True)
    with open(SITE, "w") as text:
        text.write('RETORT_RANKS_PER_NODE=1\nRETORT_TIME=10\nRETORT_SBATCH="--mem=0"\n')
        text.write("RETORT_STOP_SECONDS=${RETORT_STOP_SECONDS:-60}\n")
    os.environ.update(RETORT_SITE=SITE, RETORT_BIN=programs)
    file = os.path.join(SHARED, "cells.h5ad")
    runs.simulate_h5ad(file)
    return file
