#!/usr/bin/env python3
"""Writes docs/results.md from the committed runs docs/results/*.json; the standard library is enough.

usage: tools/results.py [--check]
--check writes nothing and exits 1 when docs/results.md is not what the runs give.

A run is {"title", "command", "commit", "cpu", "date", "notes": [...]} with any of
"rows":    accuracies, as retort-evaluate writes them, each with the name of its "set";
"figures": {"what", "unit", "retort", "peer", "peer_is", "ratio", "target", "at_most", "note", "commit", "cpu"};
"checks":  {"what", "holds", "figures"};
"tables":  {"title", "header", "lines", "left": how many columns are text}.
"""

import json
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
SOURCE, TARGET = ROOT / "docs" / "results", ROOT / "docs" / "results.md"
HEADER = """# Results

Written by `tools/results.py` from `docs/results/*.json`; do not edit. Run the command of a section to repeat it.
"""


def number(value, places: int = 2) -> str:
    return "–" if value is None else f"{value:,.{places}f}"


def table(header: list[str], lines: list[list[str]], left: int = 1) -> list[str]:
    """A Markdown table whose first `left` columns are text and the others numbers."""
    rule = ["---" if i < left else "---:" for i in range(len(header))]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in [header, rule, *lines]] + [
        ""
    ]


def accuracy_table(rows: list[dict]) -> list[str]:
    lines = []
    for row in rows:
        headroom = row.get("headroom")
        lines.append(
            [
                row["variant"],
                row["matching"] or "–",
                str(row["spc"] or "all"),
                str(row["draws"]),
                f"{number(row['accuracy_mean'])} ± {number(row['accuracy_sd'])}",
                number(row.get("accuracy_sd_draws")) if row["draws"] > 1 else "–",
                number(row["macro_f1"]),
                "–" if headroom is None else f"{100 * headroom:.1f} %",
                number(row["seconds"], 1),
            ]
        )
    return table(
        [
            "variant",
            "matching",
            "SPC",
            "draws",
            "accuracy ± sd (%)",
            "sd over draws",
            "macro F1 (%)",
            "headroom",
            "seconds",
        ],
        lines,
        left=2,
    )


def accuracy_sections(rows: list[dict]) -> list[str]:
    text = []
    for name in dict.fromkeys(row.get("set", "") for row in rows):
        own = [row for row in rows if row.get("set", "") == name]
        if name:
            text += [f"### {name}", ""]
        text += accuracy_table(own)
    return text


def meets_target(figure: dict) -> str:
    ratio, target = figure.get("ratio"), figure.get("target")
    if ratio is None or target is None:
        return "–"
    return "yes" if (ratio <= target if figure.get("at_most") else ratio >= target) else "**no**"


def figure_table(figures: list[dict]) -> list[str]:
    lines, several = [], len({figure.get("commit") for figure in figures}) > 1
    for figure in figures:
        target = figure.get("target")
        bound = "–" if target is None else f"{'≤' if figure.get('at_most') else '≥'} {target:g}"
        unit = figure.get("unit", "")
        lines.append(
            [
                figure["what"],
                figure.get("peer_is", "–"),
                f"{number(figure.get('retort'))} {unit}".strip(),
                f"{number(figure.get('peer'))} {unit}".strip(),
                number(figure.get("ratio")),
                bound,
                meets_target(figure),
                *([figure["commit"]] if several else []),
            ]
        )
    text = table(
        ["what", "peer", "retort", "peer", "ratio", "target", "holds", *(["commit"] if several else [])], lines, left=2
    )
    for figure in figures:
        if figure.get("note"):
            text.append(f"- {figure['what']}: {figure['note']}")
    return text + [""] if text[-1] else text


def check_table(checks: list[dict]) -> list[str]:
    return table(
        ["claim", "holds", "figures"],
        [[check["what"], "yes" if check["holds"] else "**no**", check["figures"]] for check in checks],
        left=3,
    )


def section(run: dict) -> list[str]:
    text = [
        f"## {run['title']}",
        "",
        f"`{run['command']}`",
        "",
        f"Commit {run['commit']}, {run['cpu']}, {run['date']}.",
        "",
    ]
    for note in run.get("notes", []):
        text += [note, ""]
    if run.get("checks"):
        text += check_table(run["checks"])
    if run.get("figures"):
        text += figure_table(run["figures"])
    for one in run.get("tables", []):
        text += [f"### {one['title']}", "", *table(one["header"], one["lines"], one["left"])]
    if run.get("rows"):
        text += accuracy_sections(run["rows"])
    return text


def render() -> str:
    lines = [HEADER]
    for path in sorted(SOURCE.glob("*.json")):
        try:
            lines += section(json.loads(path.read_text(encoding="utf-8")))
        except (KeyError, TypeError, ValueError) as error:
            sys.exit(f"results: error: '{path.relative_to(ROOT)}' is not a run ({type(error).__name__}: {error})")
    return "\n".join(lines).rstrip("\n") + "\n"


def main() -> None:
    if sys.argv[1:] not in ([], ["--check"]):
        print("results: error: unknown option (only --check is known)", file=sys.stderr)
        sys.exit(2)
    text = render()
    if not sys.argv[1:]:
        TARGET.write_text(text, encoding="utf-8")
    elif not TARGET.exists() or TARGET.read_text(encoding="utf-8") != text:
        sys.exit("results: error: docs/results.md is not what docs/results/*.json give. Run tools/results.py")


if __name__ == "__main__":
    main()
