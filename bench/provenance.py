"""What a figure was measured by and on, the command, the commit and the CPU, and the file that keeps them."""

import argparse
import datetime
import json
import os
import pathlib
import platform
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent


def commit() -> str:
    try:
        return (
            subprocess.run(
                ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True
            ).stdout.strip()
            or "unknown"
        )
    except FileNotFoundError:
        return "unknown"


def command(script: str, parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> str:
    """As somebody would type it again: what was asked for, without what is so anyway and without where files lie."""
    asked = {
        name: value
        for name, value in vars(arguments).items()
        if value != parser.get_default(name) and not isinstance(value, pathlib.Path)
    }
    return f"build/python/bin/python bench/{script}" + "".join(f" --{name} {value}" for name, value in asked.items())


def cpu() -> str:
    told = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":", 1)[1].strip() for line in told if line.startswith("model name")), platform.machine())
    return f"{model}, {os.cpu_count()} cores"


def record_figures(file: str, title: str, by: str, made: list[dict]) -> None:
    """Puts figures into docs/results/FILE, each with its commit and CPU; those not measured again stay as they are."""
    target = ROOT / "docs" / "results" / file
    figures = {one["what"]: one for one in json.loads(target.read_text())["figures"]} if target.exists() else {}
    for one in made:
        print(json.dumps(one), flush=True)
        figures[one["what"]] = {
            key: round(value, 3) if isinstance(value, float) else value for key, value in one.items()
        } | {"commit": commit(), "cpu": cpu()}
    target.write_text(
        json.dumps(
            {
                "title": title,
                "command": by,
                **origins(list(figures.values())),
                "date": datetime.date.today().isoformat(),
                "figures": list(figures.values()),
            },
            indent=1,
        )
        + "\n"
    )


def origins(figures: list[dict]) -> dict[str, str]:
    """The commits and CPUs of several figures, for their file's head; where CPUs differ, which commits they ran."""
    commits_on: dict[str, dict[str, None]] = {}
    for one in figures:
        commits_on.setdefault(one["cpu"], {})[one["commit"]] = None
    cpus = [name if len(commits_on) == 1 else f"{name} ({', '.join(commits)})" for name, commits in commits_on.items()]
    return {"commit": ", ".join(dict.fromkeys(one["commit"] for one in figures)), "cpu": "; ".join(cpus)}
