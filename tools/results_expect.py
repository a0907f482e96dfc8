"""What a user has to expect: accuracies of three classifiers on six sets, from the committed runs."""

from results_text import table, wrapped

JUDGES = {
    "head": "head",
    "celltypist": "CellTypist",
    "logistic": "logistic",
}
MATCHINGS = ("dm", "dc", "head")  # those of a run that asks for nothing
STUDENTS = "Matching through the training of students"
SAYS = [
    "Accuracy in per cent on real test cells, mean of five draws, by a classifier that is trained on 1 or 10 cells per "
    "class. **Bold**: the set teaches it less than as many random real cells do. `default` is the best of the three "
    "sets that a plain run makes, by the mean of head and CellTypist on these test cells; a run has to choose without "
    "them, so expect no more. `head+genes` is what `--distill.matchings=head+genes` makes.",
    "`head`: a linear classifier on the features that the trained encoder gives a cell. `CellTypist`: its classifier "
    "of genes. `logistic`: logistic regression on genes, for all cells with the penalty that is best on held-out "
    "cells. –: not measured.",
]


def accuracy_of(runs: dict) -> dict[tuple[str, str, str, int], float]:
    """By judge, set, kind of set and cells per class (0: all of them)."""
    found = {}
    for row in runs["accuracy"]["rows"]:
        name = row["set"].split(":")[0]
        kind = row["matching"] if row["variant"] == "scdd" else row["variant"]
        if row["variant"] == "genes":
            found["logistic", name, "full", 0] = row["accuracy_mean"]
        elif row["variant"] in ("full", "random", "scdd"):
            found["head", name, kind, row["spc"]] = row["accuracy_mean"]
    for one in runs["accuracy"]["tables"]:
        for variant, matching, spc, _, value, _ in one["lines"]:
            if variant in ("random", "scdd"):
                kind = matching if variant == "scdd" else variant
                found["celltypist", one["title"].split(",")[0], kind, int(spc)] = float(value.split()[0])
    students = next(one for one in runs["tables"]["tables"] if one["title"].startswith(STUDENTS))
    for line in students["lines"]:
        name, judge = line[:2]
        for column, value in zip(students["header"][2:], line[2:]):
            kind, _, cells = column.partition(", SPC ")
            if judge in JUDGES and cells and value != "–":
                found.setdefault((judge, name, kind, int(cells)), float(value.split()[0]))
    return found


def default_matching(found: dict, name: str, cells: int) -> str:
    return max(MATCHINGS, key=lambda one: found["head", name, one, cells] + found["celltypist", name, one, cells])


def expect_table(runs: dict) -> list[str]:
    """The lines of the table and of what it says."""
    found = accuracy_of(runs)
    sets = list(dict.fromkeys(row["set"].split(":")[0] for row in runs["accuracy"]["rows"]))
    lines = []
    for judge, title in JUDGES.items():
        for name in sets:
            cells = [title, name]
            for size in (1, 10):
                random = found.get((judge, name, "random", size))
                cells.append("–" if random is None else f"{random:.1f}")
                for kind in (default_matching(found, name, size), "head+genes"):
                    value = found.get((judge, name, kind, size))
                    worse = value is not None and random is not None and value < random
                    cells.append("–" if value is None else f"**{value:.1f}**" if worse else f"{value:.1f}")
            everything = found.get((judge, name, "full", 0))
            lines.append([*cells, "–" if everything is None else f"{everything:.1f}"])
    header = ["classifier", "set"]
    header += [f"{kind} {size}" for size in (1, 10) for kind in ("random", "default", "head+genes")]
    text = table([*header, "all cells"], lines, left=2)
    for paragraph in SAYS:
        text += [*wrapped(paragraph), ""]
    return text[:-1]
