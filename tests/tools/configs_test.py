"""Every file of configs/ is accepted by every program, its values are taken, and it says what it is for."""

import configparser
import pathlib
import subprocess

import pytest

CONFIGS = sorted(pathlib.Path(__file__).parents[2].joinpath("configs").glob("*.ini"))


def printed(program, config):
    """The settings of a program, as it prints them."""
    done = subprocess.run([program, f"--config={config}", "--print-config"], capture_output=True, text=True)
    assert done.returncode == 0, f"{program.name}: {done.stderr}"
    settings = configparser.ConfigParser()
    settings.read_string(done.stdout)
    return settings


@pytest.fixture(scope="module")
def built(programs):
    return sorted(pathlib.Path(programs).glob("retort-*"))


@pytest.fixture(scope="module")
def declared(built, tmp_path_factory):
    """The sections of every program, each of which was given all files of configs/ in one."""
    joined = tmp_path_factory.mktemp("configs") / "all.ini"
    joined.write_text("\n".join(config.read_text() for config in CONFIGS))
    return {program: set(printed(program, joined).sections()) for program in built}


def test_there_are_as_many_as_ever(built):
    assert len(CONFIGS) >= 13 and len(built) >= 7


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.name)
def test_a_config_says_how_it_is_run(config):
    lines = config.read_text().splitlines()
    comment = " ".join(line for line in lines if line.startswith("#"))
    assert lines[0].startswith("# ")
    assert f"--config configs/{config.name}" in comment
    assert "./tools/distill " in comment or "/retort-" in comment


def test_every_program_takes_every_config(declared):
    assert all(declared.values())


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.name)
def test_the_values_of_a_config_are_taken(declared, config):
    """By one program of each section; one that declares many of them goes first, because a start takes its time."""
    asked = configparser.ConfigParser()
    asked.read(config)
    left = set(asked.sections())
    while left:
        program = max(declared, key=lambda one: len(declared[one] & left))
        sections = declared[program] & left
        assert sections, f"no program declares {left}"
        taken = printed(program, config)
        for section in sections:
            for key, value in asked[section].items():
                assert taken[section][key] == value, (section, key)
        left -= sections
