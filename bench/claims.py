"""Tables and claims over sets and seeds, as tools/results.py takes them."""

from collections.abc import Callable
from math import isfinite
from statistics import mean, stdev


def shown(values: list[float]) -> str:
    if not all(map(isfinite, values)):
        return "–"
    return f"{mean(values):.4g}" + (f" ± {stdev(values):.2g}" if len(values) > 1 else "")


def check(what: str, holds: bool, figures: str) -> dict:
    return {"what": what, "holds": bool(holds), "figures": figures}


def below(what: str, ours: dict[str, list[float]], theirs: dict[str, list[float]], sign: int = 1) -> dict:
    """On every set, the mean over seeds is lower; with sign -1 higher."""
    return check(
        what,
        all(sign * mean(ours[name]) < sign * mean(theirs[name]) for name in ours),
        "; ".join(f"{name} {mean(ours[name]):.4g} against {mean(theirs[name]):.4g}" for name in ours),
    )


def above(what: str, ours: dict[str, list[float]], theirs: dict[str, list[float]]) -> dict:
    return below(what, ours, theirs, -1)


def table(title: str, header: list[str], lines: list[list[str]], left: int = 2) -> dict:
    return {"title": title, "header": header, "lines": lines, "left": left}


def over(sets: list[str], seeds: int, runs: Callable, of: Callable) -> dict[str, list]:
    """What `of` says of each set's runs, a list over seeds."""
    return {name: [of(runs(name, seed)) for seed in range(1, seeds + 1)] for name in sets}
