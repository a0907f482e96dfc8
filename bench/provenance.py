"""What a figure was measured by and on: the command, the commit and the CPU."""
import argparse
import os
import pathlib
import platform
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent


def commit() -> str:
    try:
        return subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip() or "unknown"
    except FileNotFoundError:
        return "unknown"


def command(script: str, parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> str:
    """As somebody would type it again: what was asked for, without what is so anyway and without where files lie."""
    asked = {name: value for name, value in vars(arguments).items() if value != parser.get_default(name) and not isinstance(value, pathlib.Path)}
    return f"build/python/bin/python bench/{script}" + "".join(f" --{name} {value}" for name, value in asked.items())


def cpu() -> str:
    model = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), platform.machine())
    return f"{model}, {os.cpu_count()} cores"
