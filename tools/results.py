#!/usr/bin/env python3
"""Writes docs/results.md and docs/results/*.md from the committed runs docs/results/*.json.

usage: tools/results.py [--check | --expect]
--check   writes nothing; exits 1 when a page is not what the runs give, or belongs to no run
--expect  prints the table "What to expect", which README.md holds between two comments; without options it is put there
What a run holds stands in tools/results_study.py. The standard library is enough.
"""

import json
import pathlib
import sys

from results_expect import expect_table
from results_study import SHOWS, claim_items, claims_of, studies_of, study_page
from results_text import item, wrapped

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGES = ROOT / "docs" / "results"
BEGIN, END = "<!-- expect: written by tools/results.py -->", "<!-- /expect -->"
INTRODUCTION = (
    "Written by `tools/results.py` from `docs/results/*.json`; do not edit. First what does not hold, with its "
    "figures; then what holds; then what to expect; at the end the studies, each with its page of tables, commit, "
    "machine and command. Words such as SPC (synthetic cells per class), head, dm and dc are explained in "
    "[the glossary](glossary.md)."
)


def fail(what: str) -> None:
    sys.exit(f"results: error: {what}")


def committed_runs() -> dict[str, dict]:
    runs = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in PAGES.glob("*.json")}
    for name in sorted(runs.keys() - SHOWS.keys()):
        fail(f"docs/results/{name}.json is new. Say what it shows in tools/results_study.py")
    return runs


def summary(runs: dict[str, dict], studies: dict[str, dict]) -> list[str]:
    text = ["# Results", "", *wrapped(INTRODUCTION), ""]
    for title, holds in (("Claims that do not hold", False), ("Claims that hold", True)):
        of_run = {name: [one for one in claims_of(run) if bool(one["holds"]) == holds] for name, run in studies.items()}
        where = " Their figures stand in the studies." if holds else ""
        text += [f"## {title}", "", f"{sum(map(len, of_run.values()))} claims.{where}", ""]
        for name, claims in of_run.items():
            if claims:
                text += [f"### [{studies[name]['title']}](results/{name}.md)", ""]
                text += [*claim_items(claims, figures=not holds), ""]
    text += ["## What to expect", "", *expect_table(runs), "", "## Studies", ""]
    for name, run in studies.items():
        text += item(f"[{run['title']}](results/{name}.md), {run['date']}, {run['cpu']}: {SHOWS[name]}.")
    return text


def with_table(text: str, lines: list[str]) -> str:
    """README's text with the table between its two comments, where it has them."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin and END not in text:
        return text
    if not end or BEGIN in after:
        fail(f"README.md needs one '{BEGIN}' and after it one '{END}', or neither")
    return "\n".join([before + begin, *lines, end + after])


def rendered(runs: dict[str, dict]) -> dict[pathlib.Path, str]:
    studies = studies_of(runs)
    pages = {ROOT / "docs" / "results.md": summary(runs, studies)}
    pages |= {PAGES / f"{name}.md": study_page(name, run) for name, run in studies.items()}
    texts = {path: "\n".join(lines).rstrip("\n") + "\n" for path, lines in pages.items()}
    readme = ROOT / "README.md"
    return texts | {readme: with_table(readme.read_text(encoding="utf-8"), expect_table(runs))}


def main() -> None:
    if sys.argv[1:] not in ([], ["--check"], ["--expect"]):
        print("results: error: unknown option (known are --check and --expect)", file=sys.stderr)
        sys.exit(2)
    try:
        runs = committed_runs()
        pages = rendered(runs)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        fail(f"a file of docs/results is not a run ({type(error).__name__}: {error})")
    if sys.argv[1:] == ["--expect"]:
        print("\n".join(expect_table(runs)))
        return
    stale = [path for path in sorted(PAGES.glob("*.md")) if path not in pages]
    for path in stale:
        if not sys.argv[1:]:
            path.unlink()
    changed = [path for path, text in pages.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    if not sys.argv[1:]:
        for path in changed:
            path.write_text(pages[path], encoding="utf-8")
    elif changed or stale:
        names = ", ".join(str(path.relative_to(ROOT)) for path in [*changed, *stale])
        fail(f"not what docs/results/*.json give: {names}. Run tools/results.py")


if __name__ == "__main__":
    main()
