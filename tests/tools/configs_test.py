"""Every file of configs/ is accepted by every program, and says what it is for."""

import configparser
import pathlib
import subprocess

import pytest

CONFIGS = sorted(pathlib.Path(__file__).parents[2].joinpath("configs").glob("*.ini"))


@pytest.fixture(scope="module")
def built(programs):
    return sorted(pathlib.Path(programs).glob("retort-*"))


def test_there_are_as_many_as_ever(built):
    assert len(CONFIGS) >= 13 and len(built) >= 7


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.name)
def test_a_config_says_how_it_is_run(config):
    lines = config.read_text().splitlines()
    comment = " ".join(line for line in lines if line.startswith("#"))
    assert lines[0].startswith("# ")
    assert f"--config configs/{config.name}" in comment
    assert "./tools/distill " in comment or "/retort-" in comment


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.name)
def test_every_program_takes_a_config(built, config):
    asked, taken = configparser.ConfigParser(), configparser.ConfigParser()
    asked.read(config)
    for program in built:
        done = subprocess.run([program, f"--config={config}", "--print-config"], capture_output=True, text=True)
        assert done.returncode == 0, f"{program.name}: {done.stderr}"
        taken.read_string(done.stdout)
    for section in asked.sections():
        for key, value in asked[section].items():
            assert taken[section][key] == value, (section, key)
