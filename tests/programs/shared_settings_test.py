"""One INI serves all programs: each knows the others' sections."""

import os
import subprocess

import pytest


@pytest.fixture(scope="module")
def verbs(programs):
    return sorted(name.removeprefix("retort-") for name in os.listdir(programs) if name.startswith("retort-"))


def printed(runs, verb, *settings):
    done = subprocess.run([runs.program(verb), *settings, "--print-config"], capture_output=True, text=True)
    assert done.returncode == 0, f"{verb}: {done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def one_of_each(runs, verbs):
    """An INI with a setting of every section of every program."""
    keys = {}
    for verb in verbs:
        section = ""
        for line in printed(runs, verb).splitlines():
            if line.startswith("["):
                section = line
            elif "=" in line and not line.startswith("#") and section != "[run]":
                keys.setdefault(section, line)
    with open(runs.path("all.ini"), "w") as file:
        file.write("".join(f"{section}\n{line}\n" for section, line in keys.items()))
    return keys


def test_there_are_as_many_sections_as_ever(one_of_each):
    assert len(one_of_each) >= 14


def test_every_program_takes_the_settings_of_all(runs, verbs, one_of_each):
    for verb in verbs:
        printed(runs, verb, "--config", runs.path("all.ini"))
