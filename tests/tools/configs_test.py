"""Every file of configs/ is accepted by every program, and says what it is for: usage configs_test.py PROJECT PROGRAMS"""

import configparser
import pathlib
import subprocess
import sys

configs, programs = (
    sorted(pathlib.Path(sys.argv[1], "configs").glob("*.ini")),
    sorted(pathlib.Path(sys.argv[2]).glob("retort-*")),
)
assert len(configs) >= 13 and len(programs) >= 7, (configs, programs)
for config in configs:
    first = config.read_text().splitlines()
    comment = " ".join(line for line in first if line.startswith("#"))
    assert (
        first[0].startswith("# ")
        and f"--config configs/{config.name}" in comment
        and ("./tools/distill " in comment or "/retort-" in comment)
    ), f"{config.name} does not say how it is run"
    asked = configparser.ConfigParser()
    asked.read(config)
    taken = configparser.ConfigParser()
    for program in programs:
        done = subprocess.run([program, f"--config={config}", "--print-config"], capture_output=True, text=True)
        assert done.returncode == 0, f"{program.name} refuses {config.name}: {done.stderr}"
        taken.read_string(done.stdout)
    for section in asked.sections():
        for key, value in asked[section].items():
            assert taken[section][key] == value, (config.name, section, key, taken[section][key])
