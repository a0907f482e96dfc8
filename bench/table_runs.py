"""The runs behind the tables: an atlas, its networks and its features once per set, distilled sets once per settings.

A run is a folder with its own settings.ini, made by jobs/submit.sh; a run that is whole with the same settings is not
run again.
"""

import configparser
import filecmp
import json
import pathlib
import shutil
import subprocess
import sys

from inputs import FILES, data
from provenance import ROOT

SETS = [name for name, file in FILES.items() if file.labels]
SIX = ["kidney", "kang", "zheng", "pbmc3k", "worm", "oligo"]
PATHWAYS = {"zheng", "pbmc3k"}  # sets whose genes have symbols; the others' pathways are random gene sets
NETWORKS, SETS_AND_ROWS = "ingest,train-foundation,embed,train-diffusion", "distill,evaluate"


def config(name: str) -> pathlib.Path:
    return ROOT / "configs" / f"{name}.ini"


def start(command: list) -> None:
    if subprocess.run([str(part) for part in command], stdout=sys.stderr).returncode:
        sys.exit(f"tables: error: this failed: {' '.join(str(part) for part in command)}")


def kept_copy(file: pathlib.Path, folder: pathlib.Path) -> pathlib.Path:
    """Of the data: its time of change, by which ingest knows whether to run, stays when the data are unpacked again."""
    copy = folder / file.name
    if not copy.exists() or not filecmp.cmp(file, copy, shallow=False):
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)
    return copy


def named(rows: list[dict], variant: str, matching: str = "", spc: int = 0) -> dict:
    found = [row for row in rows if (row["variant"], row["matching"], row["spc"]) == (variant, matching, spc)]
    if not found:
        raise KeyError(f"no row {variant} {matching} {spc}")
    return found[0]


def accuracy(rows: list[dict], variant: str, matching: str = "", spc: int = 0) -> float:
    return named(rows, variant, matching, spc)["accuracy_mean"]


def better(rows: list[dict], variant: str, spc: int = 1) -> float:
    """The better of distribution and gradient matching, as the paper reports it."""
    return max(accuracy(rows, variant, matching, spc) for matching in ("dm", "dc"))


class AtlasRuns:
    """The runs of one set: its atlas, networks and features in WORK/SET, what is distilled in WORK/SET/tables/NAME."""

    def __init__(self, name: str, work: pathlib.Path, ranks: int, draws: int):
        self.name, self.folder, self.ranks, self.draws = name, work / name, ranks, draws
        self.has_base = False
        if name in SETS:
            self.file = data(name)
            self.label, *self.further = FILES[name].labels
        else:  # an atlas of configs/, such as the paper's
            settings = configparser.ConfigParser()
            if not settings.read(config(name)) or not settings.has_option("ingest", "input"):
                sys.exit(f"tables: error: unknown set '{name}' (known are {', '.join(SETS)}, and atlases of configs/)")
            self.file = ROOT / settings["ingest"]["input"]
            self.label, *self.further = settings["ingest"]["label"].split(",")

    def run(self, verbs: str, folder: pathlib.Path, settings: dict[str, object], configs: tuple[str, ...] = ()) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        text = "".join(config(name).read_text() + "\n" for name in configs)
        for key, value in ({"run.folder": folder} | settings).items():
            section, name = key.split(".")
            text += f"[{section}]\n{name}={value}\n"
        (folder / "settings.ini").write_text(text)
        start([ROOT / "jobs" / "submit.sh", verbs, folder / "settings.ini", "--local", self.ranks])

    def base(self) -> pathlib.Path:
        if not self.has_base:
            self.run(
                NETWORKS, self.folder, {"ingest.input": kept_copy(self.file, self.folder), "ingest.label": self.label}
            )
            self.has_base = True
        return self.folder

    def distilled(self, name: str, configs: tuple[str, ...], label: str = "", **settings: object) -> list[dict]:
        """Rows of results.json of the sets that `configs` and `settings` (SECTION_KEY=value) ask for."""
        more = {key.replace("_", ".", 1): value for key, value in settings.items()}
        verbs = SETS_AND_ROWS
        if label:
            more |= {f"{section}.label": label for section in ("diffusion", "distill", "evaluate")}
            verbs = SETS_AND_ROWS if "distill.generator" in more else f"train-diffusion,{SETS_AND_ROWS}"
        return self.rows(name, verbs, {"run.base": self.base()} | more, configs)

    def with_foundation(self, name: str, foundation: pathlib.Path, gene_column: str) -> list[dict]:
        """Rows of a run of its own, as ./tools/distill FILE LABEL --foundation FOLDER makes it."""
        settings = {
            "ingest.input": kept_copy(self.file, self.folder),
            "ingest.label": self.label,
            "ingest.gene_column": gene_column,
            "foundation.import": foundation,
            "distill.spc": "1,10",
        }
        return self.rows(
            f"foundation-{name}", f"{NETWORKS},{SETS_AND_ROWS}", settings, ("table-vi",)
        ) + self.by_gradients(f"foundation-{name}-gradients", self.folder / "tables" / f"foundation-{name}")

    def with_own_foundation(self) -> list[dict]:
        return self.by_size() + self.by_gradients("foundation-own-gradients", self.base())

    def by_gradients(self, name: str, base: pathlib.Path) -> list[dict]:
        """Rows of sets whose networks and features lie in `base`, by gradient and by head matching."""
        settings = {
            "run.base": base,
            "distill.matchings": "dc,head",
            "distill.spc": "1,10",
            "evaluate.rows": "distilled",
        }
        return self.rows(name, SETS_AND_ROWS, settings, ("table-vi",))

    def rows(self, name: str, verbs: str, settings: dict[str, object], configs: tuple[str, ...]) -> list[dict]:
        folder = self.folder / "tables" / name
        self.run(verbs, folder, {"distill.draws": self.draws, "evaluate.draws": self.draws} | settings, configs)
        return self.results(name)["rows"]

    def results(self, name: str) -> dict:
        """results.json of a run that was made."""
        return json.loads((self.folder / "tables" / name / "results.json").read_text())

    # Sets that several tables share.

    def matched(self) -> list[dict]:
        return self.distilled("matched", ("table-v",))

    def features(self) -> list[dict]:
        return self.distilled(
            "features",
            ("table-ii",),
            distill_variants="generator,features,features_decoded",
            distill_matchings="dm,dm+dc",
        )

    def by_size(self) -> list[dict]:
        return self.distilled("sizes", ("table-vi",))

    def of_label(self, label: str) -> list[dict]:
        rows = self.distilled(f"label-{label}", ("table-iii",), label)
        through_heads = {
            "distill_variants": "scdd",
            "distill_matchings": "head",
            "distill_generator": self.folder / "tables" / f"label-{label}" / "generator",
            "evaluate_rows": "distilled",
        }
        return rows + self.distilled(f"label-{label}-heads", ("table-iii",), label, **through_heads)

    def pathways(self) -> dict:
        return {"evaluate.pathways": data("reactome")} if self.name in PATHWAYS else {}

    def cross_architecture(self) -> dict[str, list[dict]]:
        """Rows of each classifier. The sets are those of table II, linked: only classifiers are trained here."""
        self.matched(), self.features()
        results = self.judged(
            "architectures",
            {"matched": ("cells-*", "scdd-*"), "features": ("features_decoded-*",)},
            {"evaluate.rows": "distilled"},
            ("table-iv",),
        )
        return {name: results[name] for name in ("celltypist", "cnn", "tosica")}

    def judged(
        self, name: str, wanted: dict[str, tuple[str, ...]], settings: dict[str, object], configs: tuple[str, ...] = ()
    ) -> dict:
        """results.json of classifiers that are trained on sets of other runs; `wanted`: patterns of sets by run."""
        links = self.folder / "tables" / name / "distilled"
        links.mkdir(parents=True, exist_ok=True)
        files = {
            file.name: file.resolve()
            for source, patterns in wanted.items()
            for pattern in patterns
            for file in (self.folder / "tables" / source / "distilled").glob(f"{pattern}.h5ad")
        }
        if {
            link.name: link.resolve() for link in links.iterdir()
        } != files:  # else the folder's time of change stays, and what was judged need not be again
            for link in links.iterdir():
                link.unlink()
            for link, file in files.items():
                (links / link).symlink_to(file)
        self.run("evaluate", links.parent, {"run.base": self.base()} | settings | self.pathways(), configs)
        return self.results(name)

    def taught_by_heads(self) -> dict[str, list[dict]]:
        """Rows of each classifier on sets that were distilled through the training of heads, and of heads and genes.

        The transformer, which trains longest, has sets of one cell per class alone.
        """
        rows = self.distilled(
            "students",
            (),
            distill_matchings="head,head+genes",
            evaluate_classifiers="head,celltypist,cnn",
            evaluate_rows="full,random,class_mean,distilled",
        )
        results = self.results("students")
        transformer = self.judged(
            "students-transformer",
            {"students": ("*-spc1-*",)},
            {"evaluate.classifiers": "tosica", "evaluate.spc": 1, "evaluate.rows": "full,random,class_mean,distilled"},
        )
        unscaled = self.judged(
            "students-logistic",
            {"students": ("*",)},
            {"evaluate.classifiers": "logistic", "evaluate.rows": "random,class_mean,distilled"},
        )
        return {
            "head": rows,
            "celltypist": results["celltypist"],
            "logistic": unscaled["logistic"],
            "cnn": results["cnn"],
            "tosica": transformer["tosica"],
        }

    def trace(self, encoder: str) -> list[tuple[int, float, float]]:
        """Step, loss and held-out accuracy of gradient matching at one rate."""
        self.distilled(f"encoder-{encoder}", ("table-vii",), distill_encoder=encoder, distill_draws=1)
        header, *lines = [
            line.split("\t")
            for line in (self.folder / "tables" / f"encoder-{encoder}" / "distill" / "steps.tsv")
            .read_text()
            .splitlines()
        ]
        column = {name: header.index(name) for name in ("step", "loss", "held_out")}
        return [
            (int(float(line[column["step"]])), float(line[column["loss"]]), float(line[column["held_out"]]))
            for line in lines
        ]

    def with_head(self, hidden: str) -> list[dict]:
        return self.distilled("head-" + (hidden.replace(",", "-") or "linear"), ("figure-4",), head_hidden=hidden)
