"""A simulated atlas of a million cells and 20,000 genes, more than 2^31 non-zeros, through every stage on two ranks.

Writes docs/results/million.json.

usage: million.py [--cells 1000000] [--work DIR] [--ranks 2] [--begin STAGE]
Needs some 40 GB of disk. The simulated input is kept between runs; stages before --begin are those of an earlier run.
"""

import argparse
import datetime
import json
import pathlib

from launch import events_of, run_program, stage_seconds
from provenance import ROOT, commit, cpu

STAGES = [
    ("ingest", {"ingest__label": "cell_type"}),
    ("train-foundation", {"foundation__steps": 400}),
    ("embed", {"embed__precision": "bfloat16"}),
    ("train-diffusion", {}),
    ("distill", {"distill__spc": 1, "distill__matchings": "dm,dc"}),
    ("evaluate", {"evaluate__rows": "full,random,class_mean,distilled", "evaluate__classifiers": "head"}),
]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--cells", type=int, default=1_000_000)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--begin", default="ingest", choices=[verb for verb, _ in STAGES])
    parser.add_argument("--work", type=pathlib.Path, default=ROOT / "build" / "million")
    arguments = parser.parse_args()
    folder, source = arguments.work / "run", arguments.work / "input.h5ad"
    if not source.exists():
        run_program(
            "simulate",
            arguments.ranks,
            arguments.work,
            simulate__cells=arguments.cells,
            simulate__genes=20000,
            simulate__nonzeros=2200,
            simulate__types=30,
            simulate__format="h5ad",
            simulate__output=source,
        )
    lines, largest, begun = [], 0, False
    for verb, settings in STAGES:
        inputs = {"ingest__input": source} if verb == "ingest" else {}
        begun = begun or verb == arguments.begin
        if begun:
            run_program(verb, arguments.ranks, folder, **inputs, **settings)
        peak = events_of(folder, verb, "end")[-1]["peak_mb"]
        largest = max(largest, peak)
        shown = ", ".join(f"{key.replace('__', '.')}={value}" for key, value in settings.items()) or "defaults"
        lines.append([verb, shown, f"{stage_seconds(folder, verb):,.1f}", f"{peak:,.0f}"])
        print(lines[-1], flush=True)
    summary = json.loads((folder / "ingest" / "summary.json").read_text())
    notes = [
        f"{summary['cells']['kept']:,} cells, {summary['genes']['kept']:,} genes, {summary['nonzeros']:,} non-zeros; "
        f"the input h5ad has {source.stat().st_size / 1e9:.1f} GB, the atlas "
        f"{(folder / 'atlas.h5ad').stat().st_size / 1e9:.1f} GB.",
        "Accuracy of a fresh head on the test part: "
        + ", ".join(
            f"{row['variant']} {row['matching']}".strip() + f" {row['accuracy_mean']:.1f} %"
            for row in json.loads((folder / "results.json").read_text())["rows"]
        )
        + ".",
    ]
    checks = [
        {
            "what": "Peak memory of a rank under 3 GB in every stage",
            "holds": largest < 3000,
            "figures": f"{largest:,.0f} MB",
        }
    ]
    target = ROOT / "docs" / "results" / "million.json"
    target.write_text(
        json.dumps(
            {
                "title": "A million cells",
                "command": "build/python/bin/python bench/million.py",
                "commit": commit(),
                "cpu": cpu(),
                "date": datetime.date.today().isoformat(),
                "notes": notes,
                "checks": checks,
                "tables": [
                    {
                        "title": f"Stages on {arguments.ranks} ranks",
                        "header": ["stage", "settings", "seconds", "peak MB per rank"],
                        "lines": lines,
                        "left": 2,
                    }
                ],
            },
            indent=1,
        )
        + "\n"
    )


if __name__ == "__main__":
    main()
