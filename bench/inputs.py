"""What a bench needs and the project does not hold: public data (data.ini) and the scripts of peers.

Data lie in build/data, where bench/get_data puts them, or in $RETORT_SHARED/data; peers in $RETORT_SHARED/peers.
A bench that lacks one says so in one line and exits with 66.
"""

import configparser
import os
import pathlib
import subprocess
import sys
from dataclasses import dataclass
from typing import NoReturn

from provenance import ROOT

MISSING = 66  # EX_NOINPUT
DATA = ROOT / "build" / "data"
SHARED = pathlib.Path(os.environ["RETORT_SHARED"]) if os.environ.get("RETORT_SHARED") else None
PEER_MODULES = {  # what a script imports that the Python it is run under may lack
    "scdd_torch.py": ("torch", "anndata"),
    "scldm_torch.py": ("torch", "anndata", "scanpy", "ot"),
    "scrdit_torch.py": ("torch", "anndata", "scanpy"),
    "scvi_train.py": ("torch", "anndata", "scvi"),
}


@dataclass(frozen=True)
class PublicFile:
    """A section of data.ini. `wheel` and `member`: the package that ships it, if any. Sets of cells have labels."""

    name: str
    file: str
    sha256: str
    study: str
    wheel: str = ""
    member: str = ""
    label: str = ""
    more_labels: str = ""

    @property
    def labels(self) -> list[str]:
        return [label.strip() for label in ",".join((self.label, self.more_labels)).split(",") if label.strip()]


def public_files() -> dict[str, PublicFile]:
    table = configparser.ConfigParser()
    table.read(pathlib.Path(__file__).with_name("data.ini"))
    one_line = {name: {key: " ".join(value.split()) for key, value in table[name].items()} for name in table.sections()}
    return {name: PublicFile(name, **entries) for name, entries in one_line.items()}


FILES = public_files()


def missing(what: str, why: str, remedy: str) -> NoReturn:
    print(f"bench: error: {what} is missing ({why}). {remedy}", file=sys.stderr)
    sys.exit(MISSING)


def data_folders() -> list[pathlib.Path]:
    return [DATA, *([SHARED / "data"] if SHARED else [])]


def data(name: str) -> pathlib.Path:
    """The file of that name in data.ini."""
    file = FILES[name].file
    for folder in data_folders():
        if (folder / file).exists():
            return folder / file
    missing(f"the set '{name}'", f"no {file} in {' or '.join(map(str, data_folders()))}", f"Run bench/get_data {name}")


def peer_python() -> pathlib.Path:
    """Which Python the peers run under."""
    python = pathlib.Path(os.environ.get("RETORT_PEER_PYTHON") or ROOT / "build" / "python" / "bin" / "python")
    if not python.exists():
        missing("the peers' Python", f"no file {python}", "Run tools/setup --tests, or set RETORT_PEER_PYTHON")
    return python


def peer(script: str) -> pathlib.Path:
    """The file of a peer whose packages can be imported."""
    remedy = "Set RETORT_SHARED to a folder with peers/ (see bench/README.md)"
    if SHARED is None:
        missing(f"the peer {script}", "RETORT_SHARED names no folder", remedy)
    file = SHARED / "peers" / script
    if not file.exists():
        missing(f"the peer {script}", f"no file {file}", remedy)
    python, modules = peer_python(), PEER_MODULES[script]
    code = f"import importlib.util as u; print(*(name for name in {modules} if not u.find_spec(name)))"
    lacking = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    if lacking:
        why = f"{python} has no {', '.join(lacking)}"
        missing(f"a package of the peer {script}", why, "Run its pip install -r bench/requirements.txt")
    return file
