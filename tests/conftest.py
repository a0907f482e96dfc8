"""What the Python tests share: where the programs are, a folder for their runs, and how ctest learns of skipped cases.

A test of programs is a file of functions; what it runs once and judges often is a fixture of the module."""

import os
import pathlib

import pytest

pytest.register_assert_rewrite("foundation_runs", "survive_runs", "page_reading")
from foundation_runs import Runs

SOURCE = pathlib.Path(__file__).parent.parent
SKIPPED = 77  # ctest's SKIP_RETURN_CODE
NO_CASES = 5  # pytest's exit status where a whole file skips itself


def pytest_addoption(parser):
    built = os.environ.get("RETORT_PROGRAMS", str(SOURCE / "build" / "cpu" / "bin"))
    parser.addoption("--programs", default=built, help="the folder of the programs")
    parser.addoption("--mpirun", default="mpirun", help="what starts ranks")
    parser.addoption("--ranks", type=int, default=2, help="the ranks of tests that run at a number of their own")
    parser.addoption("--mutants", type=int, default=2000, help="the damaged files of the fuzz test")


def pytest_sessionfinish(session, exitstatus):
    """A file all of whose cases were skipped is skipped, not passed."""
    results = session.config.pluginmanager.get_plugin("terminalreporter").stats
    if exitstatus in (0, NO_CASES) and results.get("skipped") and not results.get("passed"):
        session.exitstatus = SKIPPED


@pytest.fixture(scope="session")
def programs(request):
    return os.path.abspath(request.config.getoption("--programs"))


@pytest.fixture(scope="session")
def mpirun(request):
    return request.config.getoption("--mpirun")


@pytest.fixture(scope="session")
def ranks(request):
    return request.config.getoption("--ranks")


@pytest.fixture(scope="session")
def source():
    """The root of the project."""
    return SOURCE


@pytest.fixture(scope="session")
def kidney():
    """A real atlas, where there is a folder of data."""
    file = pathlib.Path(os.environ.get("RETORT_SHARED") or SOURCE.parent / "shared", "data", "kidney_5685x2000.h5ad")
    if not file.exists():
        pytest.skip(f"no {file.name} in RETORT_SHARED")
    return str(file)


@pytest.fixture(scope="module")
def runs(programs, mpirun):
    with Runs(programs, mpirun) as made:
        yield made
