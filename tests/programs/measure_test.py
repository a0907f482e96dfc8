"""retort-measure: one row per size on any number of ranks, its files gone, bad settings refused."""

import os

import pytest
from foundation_runs import read_json, refusals


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_sums_and_files_are_measured(runs, ranks):
    folder = runs.path(f"ranks{ranks}")
    sizes = ["--measure.bytes=1024,100000", "--measure.file_bytes=3MB", "--measure.repeats=2"]
    done = runs.must("measure", ranks, *sizes, f"--run.folder={folder}")
    found = read_json(folder, "measure.json")
    assert found["ranks"] == ranks and found["nodes"] == 1
    assert [row["bytes"] for row in found["sums"]] == [1024, 100000]
    for row in found["sums"]:
        assert row["algbw"] > 0
        assert abs(row["busbw"] - row["algbw"] * 2 * (ranks - 1) / ranks) < 1e-9 * row["algbw"]
    assert found["files"]["write_gb_per_second"] > 0 and found["files"]["read_gb_per_second"] > 0
    assert "busbw" in done.stdout and not os.path.exists(os.path.join(folder, "measure.bytes"))


@refusals(
    (2, "measure.bytes has 3", "measure", 2, "--measure.bytes=3"),
    (2, "measure.repeats is 0", "measure", 2, "--measure.repeats=0"),
)
def test_refuses(runs, code, says, verb, ranks, settings):
    runs.refused(code, says, verb, ranks, *settings, f"--run.folder={runs.path('bad')}")
