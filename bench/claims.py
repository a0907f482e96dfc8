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
    return check(what, all(sign * mean(ours[name]) < sign * mean(theirs[name]) for name in ours), "; ".join(f"{name} {mean(ours[name]):.4g} against {mean(theirs[name]):.4g}" for name in ours))


def above(what: str, ours: dict[str, list[float]], theirs: dict[str, list[float]]) -> dict:
    return below(what, ours, theirs, -1)


WHY = [  # of tables.json, where a direction of the paper does not hold here; the figures are those of its rows
    "Why plain DC and DM are not beaten under the head (tables II, III and V): here they too go through the trained encoder and are judged by heads on it, which leaves them next to nothing below full data. "
    "A set that must come out of a generator and a decoder can only lose there; what these are for shows where the judge sees genes (table IV).",
    "Why accuracy does not rise with cells a class (table VI): one cell a class is at full data's level already but on oligo, and dm matches the same class means with more cells, whose spread a head has to put up with. "
    "Matching through the training of the head knows where classes meet: there it rises with the encoder of another atlas, whose classes overlap (foundations).",
    "Why the unfrozen encoder is not far below (table VII): its sets are judged by heads on the trained encoder as all others are; the paper's accuracies before the first step differ between its two rows, so its judge was trained from the encoder up.",
    "Why class means stay ahead under cnn and tosica on small panels (students): what is matched is a linear head and a regression on genes; docs/decisions.md, \"The student `genes`\", says what was tried.",
]


def table(title: str, header: list[str], lines: list[list[str]], left: int = 2) -> dict:
    return {"title": title, "header": header, "lines": lines, "left": left}


def over(sets: list[str], seeds: int, runs: Callable, of: Callable) -> dict[str, list]:
    """What `of` says of each set's runs, a list over seeds."""
    return {name: [of(runs(name, seed)) for seed in range(1, seeds + 1)] for name in sets}
