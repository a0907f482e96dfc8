"""What the audits say of sets of one cell per class: who was in them, how they look, which genes they call."""

from statistics import mean

from claims import check, table
from table_runs import AtlasRuns

FROM = {
    "matched": ("random-spc1", "cells-dm-spc1", "scdd-dm-spc1", "scdd-dc-spc1"),
    "students": ("class_mean-spc1", "scdd-head-spc1", "scdd-head+genes-spc1"),
}  # sets by the run that made them
MOST = 0.6  # area under the curve, at one cell per class
WAYS = {
    "membership_auc": "distance to the set's features",
    "confidence_auc": "confidence of a head taught by it",
    "expression_auc": "distance to its cells",
}


def number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def recall_of_rare(results: dict, name: str) -> str:
    """Mean over the classes with the fewest train cells."""
    found = [row["recall"] for row in results["audits"]["rare_classes"]["rows"] if row["set"] == name]
    return f"{mean(found[0].values()):.1f}" if found and found[0] else "–"


def audit_table(sets: list[AtlasRuns]) -> tuple[dict, list[dict]]:
    lines, areas = [], {way: {} for way in WAYS}
    for one in sets:
        one.matched(), one.taught_by_heads()
        for run, names in FROM.items():
            results = one.results(run)
            for name in names:
                row = next(row for row in results["audits"]["sets"] if row["set"] == name)
                genes, looks = row["differential_expression"], row["zero_proportion"]
                lines.append(
                    [
                        one.name,
                        name.removesuffix("-spc1"),
                        *(number(row[way]) for way in WAYS),
                        ", ".join(row["leaks"]) or "none",
                        str(row["copies"]),
                        f"{looks['distilled']:.2f} ({looks['real']:.2f})",
                        number(genes["precision_at_50"]),
                        number(genes["fold_spearman"]),
                        recall_of_rare(results, name),
                    ]
                )
                if name.startswith("scdd"):
                    for way in WAYS:
                        areas[way][f"{one.name}/{name.removesuffix('-spc1')}"] = row[way]
    checks = [
        check(
            f"Audits: of distilled sets the area under the curve of membership inference by the {title} is at most "
            f"{MOST} at one cell per class",
            all(area <= MOST for area in areas[way].values()),
            "; ".join(f"{name} {area:.2f}" for name, area in areas[way].items()),
        )
        for way, title in WAYS.items()
    ]
    header = [
        "set",
        "distilled",
        *(f"membership AUC by {title}" for title in WAYS.values()),
        "classes that leak",
        "copies of real cells",
        "zeros (real)",
        "top 50 genes, precision",
        "fold changes, Spearman",
        "recall of rare classes (%)",
    ]
    return table("Audits of sets of one cell per class", header, lines), checks
