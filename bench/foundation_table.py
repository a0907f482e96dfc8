"""Distilling with the atlas's own foundation, with another atlas's, and with an imported SCimilarity-shaped folder."""

from collections import defaultdict
from statistics import mean

from claims import check, table
from paper_tables import figure
from provenance import ROOT
from table_runs import AtlasRuns, accuracy, better, named, start

TARGETS = ["pbmc3k", "kang_stim", "kang"]
GENE_COLUMN = {"kang": "symbol"}  # its index holds Ensembl ids, the other atlases' symbols
SCIMILARITY = {
    "foundation.triplet_weight": 0.001,
    "foundation.margin": 0.05,
    "foundation.mining": "semi_hard",
    "foundation.input_dropout": 0.4,
    "foundation.dropout": 0.5,
    "foundation.rate": 0.005,
}
NOTE = (
    "Foundations: `own` is trained on the atlas itself, `zheng` on zheng_facs, `imported` on zheng_facs too, with "
    "SCimilarity's loss, mining, dropout and rate, then "
    "written in SCimilarity's layout by bench/export_scimilarity.py and imported from there: SCimilarity's released "
    "weights are not at hand here. "
    "Genes of an atlas are registered to the foundation's by symbol."
)


def foundations(zheng: AtlasRuns) -> dict:
    folder = zheng.folder / "tables" / "scimilarity"
    zheng.run("train-foundation", folder, {"run.base": zheng.base()} | SCIMILARITY)
    model = folder / "model"
    if (
        not (model / "encoder.ckpt").exists()
        or (model / "encoder.ckpt").stat().st_mtime < (folder / "foundation" / "config.json").stat().st_mtime
    ):
        start(
            [
                ROOT / "build" / "python" / "bin" / "python",
                ROOT / "bench" / "export_scimilarity.py",
                folder / "foundation",
                model,
            ]
        )
    return {"zheng": zheng.folder / "foundation", "imported": model}


def foundation_table(make, targets: list[str]) -> tuple[dict, list[dict]]:
    """`make` gives the runs of a set by its name."""
    others = foundations(make("zheng"))
    lines, checks = [], []
    shares, gains = defaultdict(dict), defaultdict(dict)  # by foundation and way of matching: of each target
    for target in targets:
        atlas = make(target)
        for name, rows in {
            "own": atlas.with_own_foundation(),
            **{
                name: atlas.with_foundation(name, folder, GENE_COLUMN.get(target, ""))
                for name, folder in others.items()
            },
        }.items():
            lines.append(
                [
                    target,
                    name,
                    *(
                        figure(named(rows, *key))
                        for key in (
                            ("random", "", 1),
                            *(("scdd", matching, spc) for matching in ("dm", "dc", "head") for spc in (1, 10)),
                            ("full", "", 0),
                        )
                    ),
                ]
            )
            if name not in others:
                continue
            for matching, best in {
                "by the better of dm and dc": lambda rows, spc: better(rows, "scdd", spc),
                "by head": lambda rows, spc: accuracy(rows, "scdd", "head", spc),
            }.items():
                for spc in (1, 10):
                    shares[name, matching, spc][target] = 100 * best(rows, spc=spc) / accuracy(rows, "full")
                gains[name, matching][target] = best(rows, spc=1) - accuracy(rows, "random", "", 1)
    told = lambda values: (
        f"{mean(values.values()):.1f} on average: "
        + "; ".join(f"{target} {value:.1f}" for target, value in values.items())
    )
    for (name, matching), gained in gains.items():
        checks += [
            check(
                f"Foundation '{name}': scDD {matching} at SPC {spc} keeps at least {least} % of full data on average",
                mean(shares[name, matching, spc].values()) >= least,
                told(shares[name, matching, spc]),
            )
            for spc, least in ((1, 85), (10, 91))
        ]
        checks.append(
            check(
                f"Foundation '{name}': scDD {matching} at SPC 1 beats random cells by at least 10 points on average",
                mean(gained.values()) >= 10,
                told(gained),
            )
        )
    header = [
        "set",
        "foundation",
        "random, SPC 1",
        *(f"scDD {matching}, SPC {spc}" for matching in ("dm", "dc", "head") for spc in (1, 10)),
        "all cells",
    ]
    return table(
        "Foundations: scDD with the encoder of the same or another atlas, accuracy ± sd over draws (%)", header, lines
    ), checks
