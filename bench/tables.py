"""The scDD paper's tables on sets at hand: writes docs/results/tables.json.

usage: tables.py [--tables II,III,IV,V,VI,VII,4,students,audits,foundations] [--sets kidney,kang] [--draws 5]
                 [--ranks 2] [--work DIR] [--out FILE]
--sets may name atlases of configs/, such as the paper's. Table III takes those of the sets that have further labels,
the table of foundations those of its own. Each set's atlas, networks and features are made once in --work (that of
accuracy.py by default), and distilled sets once for all tables.
"""

import argparse
import datetime
import functools
import json
import pathlib
import time
from collections.abc import Callable

from audit_table import audit_table
from foundation_table import NOTE, TARGETS, foundation_table
from inputs import data
from paper_notes import CHOSEN, WHY
from paper_tables import PAPER_TABLES
from provenance import ROOT, command, commit, cpu
from table_runs import PATHWAYS, SIX, AtlasRuns

TABLES = PAPER_TABLES | {"audits": audit_table}
# By table, where it is not all six sets. The paper has one set for the last two; VII is one draw per set.
SETS_OF = {
    "III": ["kang_stim", "oligo", "onek1k"],
    "VII": ["kidney", "kang", "zheng"],
    "4": ["kidney", "kang", "zheng"],
}
NEEDS_PATHWAYS = {"IV", "students", "audits"}


def need(names: list[str], asked: list[str], make: Callable) -> None:
    """Ends here what would end for a missing file after hours."""
    for name in names:
        targets = [one for one in TARGETS if one in (asked or TARGETS)]
        sets = ["zheng", *targets] if name == "foundations" else asked or SETS_OF.get(name, SIX)
        for one in sets:
            make(one)
        if name in NEEDS_PATHWAYS and PATHWAYS & set(sets):
            data("reactome")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--tables", default=",".join([*TABLES, "foundations"]))
    parser.add_argument("--sets", default="")
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--work", type=pathlib.Path, default=ROOT / "build" / "accuracy")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "docs" / "results" / "tables.json")
    arguments = parser.parse_args()
    unknown = set(arguments.tables.split(",")) - {*TABLES, "foundations"}
    if unknown:
        parser.error(f"unknown tables {', '.join(sorted(unknown))} (known are {', '.join(TABLES)} and foundations)")
    make = functools.cache(lambda name: AtlasRuns(name, arguments.work, arguments.ranks, arguments.draws))
    asked = arguments.sets.split(",") if arguments.sets else []
    need(arguments.tables.split(","), asked, make)

    run = {
        "title": "The paper's tables",
        "command": command("tables.py", parser, arguments),
        "commit": commit(),
        "cpu": cpu(),
        "date": datetime.date.today().isoformat(),
    }
    tables, checks, notes = (
        [],
        [],
        [
            f"{arguments.draws} draws of initial cells, 10 fresh heads each, {arguments.ranks} ranks; accuracy on the "
            f"real test part. {CHOSEN}",
            *WHY,
        ],
    )
    for name in arguments.tables.split(","):
        begin = time.monotonic()
        if name == "foundations":
            made, claims = foundation_table(make, [one for one in TARGETS if one in (asked or TARGETS)])
            notes.append(NOTE)
        else:
            sets = [make(one) for one in asked or SETS_OF.get(name, SIX)]
            made, claims = TABLES[name]([one for one in sets if one.further] if name == "III" else sets)
        tables.append(made)
        checks += claims
        print("\n".join("  ".join(line) for line in [[made["title"]], made["header"], *made["lines"]]))
        for claim in claims:
            print(f"{'yes' if claim['holds'] else 'NO '}  {claim['what']}: {claim['figures']}")
        print(f"{name}: {time.monotonic() - begin:.0f} s\n", flush=True)
        run["tables"], run["checks"], run["notes"] = tables, checks, notes
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        # After each: a run that is cut keeps what it has.
        arguments.out.write_text(json.dumps(run, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
