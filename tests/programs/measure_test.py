"""retort-measure: a row a size on any number of ranks, its files gone, bad settings refused."""

import json
import os

from foundation_runs import Runs

with Runs() as runs:
    for ranks in (1, 2, 3):
        folder = runs.path(f"ranks{ranks}")
        done = runs.must(
            "measure",
            ranks,
            "--measure.bytes=1024,100000",
            "--measure.file_bytes=3MB",
            "--measure.repeats=2",
            f"--run.folder={folder}",
        )
        with open(os.path.join(folder, "measure.json")) as file:
            found = json.load(file)
        assert found["ranks"] == ranks and found["nodes"] == 1, found
        assert [row["bytes"] for row in found["sums"]] == [1024, 100000]
        for row in found["sums"]:
            assert (
                row["algbw"] > 0 and abs(row["busbw"] - row["algbw"] * 2 * (ranks - 1) / ranks) < 1e-9 * row["algbw"]
            ), row
        assert found["files"]["write_gb_per_second"] > 0 and found["files"]["read_gb_per_second"] > 0
        assert "busbw" in done.stdout and not os.path.exists(os.path.join(folder, "measure.bytes"))
    runs.refused(2, "measure.bytes has 3", "measure", 2, "--measure.bytes=3", f"--run.folder={runs.path('bad')}")
    runs.refused(2, "measure.repeats is 0", "measure", 2, "--measure.repeats=0", f"--run.folder={runs.path('bad')}")
