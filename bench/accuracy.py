"""Accuracy of every row on six labelled sets, five draws: writes docs/results/accuracy.json.

usage: accuracy.py [--sets kidney,kang] [--ranks 2] [--work DIR]
Every set goes through ./tools/distill with the defaults; only the number of draws and the plain variant are asked for.
A set whose run is already whole in --work is not run again.
"""

import argparse
import datetime
import json
import pathlib
import statistics
import subprocess
import sys

from inputs import data
from provenance import ROOT, commit, cpu
from table_runs import SIX, AtlasRuns, accuracy, kept_copy

TARGET = ROOT / "docs" / "results" / "accuracy.json"
SETTINGS = ["distill.draws=5", "distill.variants=scdd,cells"]


def distil(name: str, ranks: int, work: pathlib.Path) -> dict:
    atlas = AtlasRuns(name, work, ranks, draws=5)
    command = [
        ROOT / "tools" / "distill",
        kept_copy(atlas.file, atlas.folder),
        atlas.label,
        "--ranks",
        ranks,
        "--run-folder",
        atlas.folder,
    ]
    for setting in SETTINGS:
        command += ["--set", setting]
    if subprocess.run(list(map(str, command)), stdout=sys.stderr).returncode:
        sys.exit(f"accuracy: {name} failed")
    return json.loads((atlas.folder / "results.json").read_text())


def claim(what: str, results: dict[str, tuple[bool, str]], needed: int | None = None) -> dict:
    """One line of the issue over all sets; `needed` is on how many of them it has to hold."""
    held = sum(holds for holds, _ in results.values())
    figures = "; ".join(f"{name} {text}{'' if holds else ' (no)'}" for name, (holds, text) in results.items())
    return {
        "what": what,
        "holds": held >= (len(results) if needed is None else needed),
        "figures": f"{held} of {len(results)} sets: {figures}",
    }


def checks(rows_of: dict[str, list[dict]]) -> list[dict]:
    encoder, above_floor, above_mean, grows, head_full = {}, {}, {}, {}, {}
    gains, room, head_gains, head_plain = {}, {}, {}, {}
    for name, rows in rows_of.items():
        full, genes = accuracy(rows, "full"), accuracy(rows, "genes")
        encoder[name] = (full >= genes - 2, f"{full:.1f} and {genes:.1f}")
        ours = {spc: max(accuracy(rows, "scdd", matching, spc) for matching in ("dm", "dc")) for spc in (1, 10)}
        plain = max(accuracy(rows, "cells", matching, 1) for matching in ("dm", "dc"))
        class_mean = accuracy(rows, "class_mean", "", 1)
        above_floor[name] = (ours[1] > class_mean - 1, f"{ours[1]:.1f} and {class_mean:.1f}")
        above_mean[name] = (ours[1] > class_mean, f"{ours[1] - class_mean:+.1f}")
        grows[name] = (ours[10] > ours[1], f"{ours[1]:.1f} to {ours[10]:.1f}")
        gains[name], room[name] = ours[1] - plain, full - plain
        head = {spc: accuracy(rows, "scdd", "head", spc) for spc in (1, 10)}
        head_gains[name], head_plain[name] = head[1] - class_mean, head[1] - plain
        head_full[name] = (head[10] > full - 1, f"{head[10]:.1f} and {full:.1f}")
    gain = statistics.mean(gains.values())
    return [
        claim("Full data through the frozen encoder is within 2 points of logistic regression on all genes", encoder),
        claim("The better of scdd+DM and scdd+DC at SPC 1 is above the class mean − 1 point", above_floor),
        claim(
            "The better of scdd+DM and scdd+DC at SPC 1 is above the class mean on most sets",
            above_mean,
            len(rows_of) // 2 + 1,
        ),
        {
            "what": "The better of scdd+DM and scdd+DC at SPC 1 is above the better of plain DM and DC by 3 points "
            "on average",
            "holds": gain >= 3,
            "figures": f"{gain:+.1f} on average: "
            + "; ".join(f"{name} {value:+.1f}" for name, value in gains.items())
            + f". Out of reach here: full data itself is {statistics.mean(room.values()):+.1f} above plain DM "
            "and DC on average",
        },
        claim("The better of scdd+DM and scdd+DC is higher at SPC 10 than at SPC 1", grows),
        {
            "what": "scdd+head at SPC 1 is above the class mean by 2 points on average and below it on no set",
            "holds": statistics.mean(head_gains.values()) >= 2 and min(head_gains.values()) >= 0,
            "figures": f"{statistics.mean(head_gains.values()):+.1f} on average: "
            + "; ".join(f"{name} {value:+.2f}" for name, value in head_gains.items()),
        },
        claim("scdd+head at SPC 10 is within 1 point of full data", head_full),
        {
            "what": "scdd+head at SPC 1 is above the better of plain DM and DC by 3 points on average",
            "holds": statistics.mean(head_plain.values()) >= 3,
            "figures": f"{statistics.mean(head_plain.values()):+.1f} on average: "
            + "; ".join(f"{name} {value:+.1f}" for name, value in head_plain.items()),
        },
    ]


def carries_over(results_of: dict[str, dict]) -> dict:
    """Whether scdd teaches another architecture more than plain matching does (the paper's table IV)."""
    gains = {}
    for name, results in results_of.items():
        best = {
            variant: max(accuracy(results["celltypist"], variant, matching, 1) for matching in ("dm", "dc"))
            for variant in ("scdd", "cells")
        }
        gains[name] = best["scdd"] - best["cells"]
    gain = statistics.mean(gains.values())
    return {
        "what": "Under CellTypist's classifier, the better of scdd+DM and scdd+DC at SPC 1 is above the better of "
        "plain DM and DC by 3 points on average",
        "holds": gain >= 3,
        "figures": f"{gain:+.1f} on average: " + "; ".join(f"{name} {value:+.1f}" for name, value in gains.items()),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sets", default=",".join(SIX))
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--work", type=pathlib.Path, default=ROOT / "build" / "accuracy")
    arguments = parser.parse_args()
    names = arguments.sets.split(",")
    for name in names:
        data(name)  # what is missing is said before the first hour
    rows_of, results_of, notes, tables = {}, {}, [], []
    for name in names:
        results = results_of[name] = distil(name, arguments.ranks, arguments.work)
        told = results["data"]
        title = f"{name}: {told['cells']:,} cells, {told['genes']:,} genes, {told['classes']} classes ({told['label']})"
        rows_of[name] = [
            {"set": title}
            | {
                key: round(value, 4) if isinstance(value, float) else value
                for key, value in row.items()
                if key != "recall"
            }
            for row in results["rows"]
        ]
        lines = [
            [
                row["variant"],
                row["matching"] or "–",
                str(row["spc"]),
                str(row["draws"]),
                f"{row['accuracy_mean']:.2f} ± {row['accuracy_sd']:.2f}",
                f"{row['macro_f1']:.2f}",
            ]
            for row in results.get("celltypist", [])
        ]
        tables.append(
            {
                "title": f"{name}, CellTypist's classifier on the same sets",
                "header": ["variant", "matching", "SPC", "draws", "accuracy ± sd over draws (%)", "macro F1 (%)"],
                "lines": lines,
                "left": 2,
            }
        )
        print(f"{name}: done", file=sys.stderr)
    notes.append(
        "Accuracy on the real test part (30 % of each class), mean over 10 fresh heads of each draw of initial cells; "
        "sd is over all heads of all draws. "
        "Headroom is (accuracy − random) / (full − random). Seconds of a distilled set include the choice of its "
        "learning rate and steps on the held-out part of train. "
        f"Each set: `./tools/distill FILE LABEL --ranks {arguments.ranks} "
        f"{' '.join('--set ' + setting for setting in SETTINGS)}`."
    )
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text(
        json.dumps(
            {
                "title": "Accuracy",
                "command": "python3 bench/accuracy.py",
                "commit": commit(),
                "cpu": cpu(),
                "date": datetime.date.today().isoformat(),
                "notes": notes,
                "checks": [*checks(rows_of), carries_over(results_of)],
                "tables": tables,
                "rows": [row for rows in rows_of.values() for row in rows],
            },
            indent=1,
            ensure_ascii=False,
        )
        + "\n"
    )


if __name__ == "__main__":
    main()
