"""Turns ctest's JUnit file into the dated JSON of `tools/check --full`: usage: junit_to_json.py IN.xml OUT.json"""

import datetime
import json
import platform
import subprocess
import sys
import xml.etree.ElementTree as ElementTree


def status_of(case: ElementTree.Element) -> str:
    """run, skipped, fail, or what else ctest calls it (notrun where a program is missing)."""
    return "skipped" if case.find("skipped") is not None else case.get("status")


def main(source: str, target: str) -> None:
    suite = ElementTree.parse(source).getroot()
    tests = [
        {"name": case.get("name"), "status": status_of(case), "seconds": float(case.get("time", 0))}
        for case in suite.iter("testcase")
    ]
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    report = {
        "date": datetime.date.today().isoformat(),
        "commit": commit,
        "machine": platform.processor() or platform.machine(),
        "tests": len(tests),
        "failed": [test["name"] for test in tests if test["status"] == "fail"],
        "skipped": [test["name"] for test in tests if test["status"] == "skipped"],
        "seconds": round(sum(test["seconds"] for test in tests), 1),
        "each": tests,
    }
    with open(target, "w") as out:
        json.dump(report, out, indent=1)
        out.write("\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
