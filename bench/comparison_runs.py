"""The runs behind comparisons.py: an atlas a set; autoencoders, flows, samples and their scores a set and seed.

A run is a folder with its own settings.ini, of one program; one that is whole with the same settings is not run again.
"""

import json
import os
import pathlib
import subprocess
import sys

from inputs import data
from launch import ENVIRONMENT, events_of, executable, launcher, seconds_of, steps_of
from provenance import ROOT
from table_runs import kept_copy

SIMULATED = {
    "cells": 100_000,
    "genes": 1000,
    "types": 8,
    "batches": 1,
    "conditions": 2,
    "de_genes": 100,
    "lfc": 1.5,
    "nonzeros": 150,
}
# By name: the share of a condition's changes that are each type's own (simulated), or the set of data.ini; the labels.
COMPARED = {
    "kang_stim": ("kang_stim", "cell_type,condition"),
    "zheng_facs": ("zheng", "cell_type"),
    "interaction": (1.0, "cell_type,condition"),
    "no_interaction": (0.0, "cell_type,condition"),
}
# What is not trained on where unseen combinations are asked for: every type is seen under the other condition, and the
# condition in other types.
LEFT_OUT = {
    "kang_stim": "CD4T/stimulated,B/control",
    "interaction": "t1/treated,t3/treated",
    "no_interaction": "t1/treated,t3/treated",
}
CELLS_OF_A_KIND = 250  # that are drawn and compared of simulated sets, whose kinds have thousands


class SetRuns:
    """The runs of one set with one seed: the atlas in WORK/SET/atlas, everything else in WORK/SET/seed-SEED/NAME."""

    def __init__(self, name: str, seed: int, work: pathlib.Path, ranks: int):
        self.name, self.seed, self.ranks = name, seed, ranks
        self.folder = work / name
        self.source, self.label = COMPARED[name]
        self.is_simulated = isinstance(self.source, float)

    def run(self, verb: str, folder: pathlib.Path, settings: dict[str, object], config: str = "") -> pathlib.Path:
        folder.mkdir(parents=True, exist_ok=True)
        text = (ROOT / "configs" / f"{config}.ini").read_text() + "\n" if config else ""
        for key, value in ({"run.folder": folder} | settings).items():
            section, name = key.split(".", 1)
            text += f"[{section}]\n{name}={value}\n"
        file = folder / f"{verb}.ini"
        file.write_text(text)
        done = subprocess.run(
            [*launcher(self.ranks, 1), executable(verb), "--config", str(file)],
            env=os.environ | ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        if done.returncode:
            said = f"retort-{verb} --config {file} failed with {done.returncode}\n{done.stderr[-2000:]}"
            sys.exit(f"comparisons: error: {said}")
        return folder

    def atlas(self) -> pathlib.Path:
        folder = self.folder / "atlas"
        if self.is_simulated:
            self.run(
                "simulate",
                folder,
                {f"simulate.{key}": value for key, value in SIMULATED.items()} | {"simulate.interaction": self.source},
            )
        else:
            self.run(
                "ingest",
                folder,
                {
                    "ingest.input": kept_copy(data(self.source), self.folder),
                    "ingest.label": self.label,
                },
            )
        return folder / "atlas.h5ad"

    def trained(self, verb: str, name: str, config: str, **settings: object) -> pathlib.Path:
        """A network: settings as SECTION_KEY=value."""
        return self.run(
            verb,
            self.folder / f"seed-{self.seed}" / name,
            {"run.base": self.atlas().parent, "run.seed": self.seed, "run.shards": self.ranks}
            | {key.replace("_", ".", 1): value for key, value in settings.items()},
            config,
        )

    # scLDM

    def autoencoder(self, steps: int = 0) -> pathlib.Path:
        """Of as many steps as its config has, which everything else is made with, or of so many."""
        return (
            self.trained("train-vae", f"scldm-{steps}", "scldm", vae_steps=steps)
            if steps
            else self.trained("train-vae", "scldm", "scldm")
        )

    def scvi(self, name: str, steps: int) -> pathlib.Path:
        """Under scvi-tools' own settings, which are the defaults."""
        return self.trained("train-vae", name, "", vae_model="scvi", vae_steps=steps)

    def flow(self, conditioning: str = "joint", left_out: str = "") -> pathlib.Path:
        vae = self.autoencoder()
        more = {"diffusion_leave_out": left_out} if left_out else {}
        return self.trained(
            "train-diffusion",
            f"flow-{conditioning}" + ("-unseen" if left_out else ""),
            "scldm",
            diffusion_features=vae / "latents.h5ad",
            diffusion_label=self.label,
            diffusion_conditioning=conditioning,
            **more,
        )

    def samples(self, conditioning: str = "joint", weight: float = 1, left_out: str = "") -> pathlib.Path:
        """The file of cells drawn under that guidance; of what was left out, these alone."""
        flow = self.flow(conditioning, left_out)
        name = f"{conditioning}-{weight:g}" + ("-unseen" if left_out else "")
        more = {"generate_cells": CELLS_OF_A_KIND} if self.is_simulated else {}
        if left_out:
            more["generate_only"] = left_out
        self.trained(
            "generate",
            name,
            "scldm",
            generate_generator=flow / "flow",
            generate_vae=self.autoencoder() / "vae",
            generate_weight=weight,
            generate_output=self.folder / f"seed-{self.seed}" / name / f"{name}.h5ad",
            **more,
        )
        return self.folder / f"seed-{self.seed}" / name / f"{name}.h5ad"

    def scores(
        self, name: str, files: list[pathlib.Path], vae: pathlib.Path | None = None, label: str = "", **more: object
    ) -> dict:
        """What evaluate-generated says of the files, and of the autoencoder where one is given."""
        of_vae = (
            {"evaluate_generated.vae": vae / "vae", "evaluate_generated.latents": vae / "latents.h5ad"} if vae else {}
        )
        if self.is_simulated:
            of_vae["evaluate_generated.most_cells"] = CELLS_OF_A_KIND
        folder = self.run(
            "evaluate-generated",
            self.folder / f"seed-{self.seed}" / name,
            {
                "run.base": self.atlas().parent,
                "run.seed": self.seed,
                "evaluate_generated.label": label or self.label,
                "evaluate_generated.generated": ",".join(map(str, files)),
            }
            | of_vae
            | more,
        )
        return json.loads((folder / "generation.json").read_text())

    # scRDiT: one class, as the paper has it

    def denoiser(self, name: str, only: str, **settings: object) -> pathlib.Path:
        return self.trained(
            "train-diffusion", name, "scrdit", diffusion_label="cell_type", diffusion_only=only, **settings
        )

    def expression(self, denoiser: pathlib.Path, name: str, **settings: object) -> pathlib.Path:
        folder = self.trained(
            "generate",
            name,
            "scrdit",
            generate_generator=denoiser / "denoiser",
            generate_output=self.folder / f"seed-{self.seed}" / name / f"{name}.h5ad",
            **settings,
        )
        return folder / f"{name}.h5ad"


def training_seconds(folder: pathlib.Path, verb: str = "train-vae") -> float:
    """Of the program's steps alone, without its start and without the latents."""
    return seconds_of(steps_of(folder, verb))


def cells_shown(folder: pathlib.Path) -> int:
    """To an autoencoder in its training."""
    batch = next(
        line.split("=")[1]
        for line in (folder / "train-vae" / "options.ini").read_text().splitlines()
        if line.startswith("batch")
    )
    return step_count(folder) * int(batch)


def step_count(folder: pathlib.Path, verb: str = "train-vae") -> int:
    return len(steps_of(folder, verb))


def steps_in(seconds: float, like: pathlib.Path, verb: str = "train-vae") -> int:
    """How many steps of a run like that take so long."""
    return max(1, round(seconds / (training_seconds(like, verb) / step_count(like, verb))))


def sampling_seconds(file: pathlib.Path) -> float:
    return events_of(file.parent, "generate", "generated")[-1]["seconds"]


def row_of(results: dict, name: str) -> dict:
    """The first row of that set."""
    return next(row for row in results["rows"] if row["set"] == name or pathlib.Path(row.get("file", "")).stem == name)
