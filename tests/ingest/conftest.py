"""The runs of retort-ingest, of whose command the peak of memory is known."""

import pytest
from ingest_runs import IngestRuns


@pytest.fixture(scope="module")
def runs(programs, mpirun):
    with IngestRuns(programs, mpirun) as made:
        yield made
