"""The tables II to VII and figure 4 of the scDD paper on given sets, and whether the paper's directions hold."""

from statistics import mean

from claims import table
from table_runs import AtlasRuns, accuracy, better, named


def signed(values: dict[str, float]) -> str:
    return f"{mean(values.values()):+.1f} on average: " + "; ".join(
        f"{name} {value:+.1f}" for name, value in values.items()
    )


def above(what: str, gains: dict[str, float], least: float = 0.0) -> dict:
    """A claim about a difference in points, on the average over sets."""
    return {"what": what, "holds": mean(gains.values()) > least, "figures": signed(gains)}


def figure(row: dict) -> str:
    spread = f" ± {row['accuracy_sd_draws']:.1f}" if row["draws"] > 1 else ""
    return f"{row['accuracy_mean']:.1f}{spread}"


def figure_if_any(rows: list[dict], *key: object) -> str:
    try:
        return figure(named(rows, *key))
    except KeyError:
        return "–"


def by_set(rows_of: dict[str, list[dict]], methods: list[tuple]) -> list[list[str]]:
    """A line a method (its name, matching, and key of the row), a column a set, and the mean."""
    lines = []
    for name, matching, key in methods:
        rows = [named(rows, *key) for rows in rows_of.values()]
        lines.append([name, matching, *map(figure, rows), f"{mean(row['accuracy_mean'] for row in rows):.1f}"])
    return lines


def table_ii(sets: list[AtlasRuns]) -> tuple[dict, list[dict]]:
    rows_of = {one.name: one.matched() + one.features() for one in sets}
    methods = [
        ("random cells", "–", ("random", "", 1)),
        ("SDXL-Turbo (generator, nothing matched)", "–", ("generator", "none", 1)),
        ("DC", "dc", ("cells", "dc", 1)),
        ("DM", "dm", ("cells", "dm", 1)),
        ("FeatDistill", "dm", ("features", "dm", 1)),
        ("FeatDistill+DC+DM", "dm+dc", ("features", "dm+dc", 1)),
        ("TextDistill", "dm", ("features_decoded", "dm", 1)),
        ("TextDistill+DC+DM", "dm+dc", ("features_decoded", "dm+dc", 1)),
        ("scDD", "dm", ("scdd", "dm", 1)),
        ("scDD", "dc", ("scdd", "dc", 1)),
        ("all cells", "–", ("full", "", 0)),
    ]
    plain = {name: better(rows, "cells") for name, rows in rows_of.items()}
    ours = {name: better(rows, "scdd") for name, rows in rows_of.items()}
    over = lambda values, *key: {name: values[name] - accuracy(rows, *key) for name, rows in rows_of.items()}
    checks = [
        above("Table II: the better of DC and DM is above random cells", over(plain, "random", "", 1)),
        above("Table II: the better of DC and DM is above FeatDistill", over(plain, "features", "dm", 1)),
        above("Table II: scDD is above the better of DC and DM", {name: ours[name] - plain[name] for name in ours}),
        above("Table II: scDD is above the generator with nothing matched", over(ours, "generator", "none", 1)),
        above("Table II: scDD is above TextDistill", over(ours, "features_decoded", "dm", 1)),
    ]
    return table(
        "Table II: classes at one cell per class, accuracy ± sd over draws (%)",
        ["method", "matching", *rows_of, "mean"],
        by_set(rows_of, methods),
    ), checks


def table_iii(sets: list[AtlasRuns]) -> tuple[dict, list[dict]]:
    rows_of = {f"{one.name}/{label}": one.of_label(label) for one in sets for label in one.further}
    methods = [
        ("random cells", "–", "random", ""),
        ("DC", "dc", "cells", "dc"),
        ("DM", "dm", "cells", "dm"),
        ("FeatDistill", "dm", "features", "dm"),
        ("TextDistill", "dm", "features_decoded", "dm"),
        ("scDD", "dm", "scdd", "dm"),
        ("scDD", "dc", "scdd", "dc"),
        ("scDD, ours", "head", "scdd", "head"),
    ]
    lines = [
        [
            name,
            matching,
            *(figure(named(rows, *key, spc)) for rows in rows_of.values() for spc in (1, 5)),
            f"{mean(accuracy(rows, *key, spc) for rows in rows_of.values() for spc in (1, 5)):.1f}",
        ]
        for name, matching, *key in methods
    ]
    lines.append(
        [
            "all cells",
            "–",
            *(text for rows in rows_of.values() for text in (figure(named(rows, "full")), "")),
            f"{mean(accuracy(rows, 'full') for rows in rows_of.values()):.1f}",
        ]
    )
    average = lambda gain: {name: mean(gain(rows, spc) for spc in (1, 5)) for name, rows in rows_of.items()}
    checks = [
        above(
            "Table III: scDD is above random cells",
            average(lambda rows, spc: better(rows, "scdd", spc) - accuracy(rows, "random", "", spc)),
        ),
        above(
            "Table III: scDD is above the better of DC and DM",
            average(lambda rows, spc: better(rows, "scdd", spc) - better(rows, "cells", spc)),
        ),
        above(
            "Table III: matching through the training of the head is above the better of DC and DM",
            average(lambda rows, spc: accuracy(rows, "scdd", "head", spc) - better(rows, "cells", spc)),
        ),
        above(
            "Table III: scDD is better with 5 cells per class than with 1",
            {name: better(rows, "scdd", 5) - better(rows, "scdd", 1) for name, rows in rows_of.items()},
        ),
    ]
    header = ["method", "matching", *(f"{name}, SPC {spc}" for name in rows_of for spc in (1, 5)), "mean"]
    return table("Table III: other labels, accuracy ± sd over draws (%)", header, lines), checks


def table_iv(sets: list[AtlasRuns]) -> tuple[dict, list[dict]]:
    results_of = {one.name: one.cross_architecture() for one in sets}
    keys = [
        ("DC", "cells", "dc"),
        ("DM", "cells", "dm"),
        ("TextDistill", "features_decoded", "dm"),
        ("scDD dm", "scdd", "dm"),
        ("scDD dc", "scdd", "dc"),
    ]
    lines, checks = [], []
    for classifier in next(iter(results_of.values())):
        gains, over_plain = {}, {}
        for name, results in results_of.items():
            rows = results[classifier]
            ours, others = (
                better(rows, "scdd"),
                [accuracy(rows, variant, matching, 1) for _, variant, matching in keys[:3]],
            )
            gains[name], over_plain[name] = ours - mean(others), ours - max(others[:2])
            lines.append(
                [
                    name,
                    classifier,
                    *(figure(named(rows, variant, matching, 1)) for _, variant, matching in keys),
                    f"{gains[name]:+.1f}",
                ]
            )
        checks += [
            above(f"Table IV: under {classifier}, scDD is above the mean of DC, DM and TextDistill", gains),
            above(
                f"Table IV: under {classifier}, scDD carries over better than the better of DC and DM by 3 points",
                over_plain,
                3,
            ),
        ]
    return table(
        "Table IV: other architectures at one cell per class, accuracy ± sd over draws (%)",
        ["set", "trained on the set", *(name for name, *_ in keys), "gain"],
        lines,
    ), checks


def table_v(sets: list[AtlasRuns]) -> tuple[dict, list[dict]]:
    rows_of = {one.name: one.matched() for one in sets}
    names = {"cells": "cells", "decoder": "scDD+Decoder", "scdd": "scDD+SCDG"}
    lines = by_set(
        rows_of, [(names[variant], matching, (variant, matching, 1)) for matching in ("dc", "dm") for variant in names]
    )
    checks = []
    for matching in ("dc", "dm"):
        over = lambda first, second: {
            name: accuracy(rows, first, matching, 1) - accuracy(rows, second, matching, 1)
            for name, rows in rows_of.items()
        }
        checks += [
            above(
                f"Table V: with {matching}, scDD with its generator is above the decoder alone", over("scdd", "decoder")
            ),
            above(f"Table V: with {matching}, the decoder is above cells", over("decoder", "cells")),
        ]
    return table(
        "Table V: with and without the generator at one cell per class, accuracy ± sd over draws (%)",
        ["method", "matching", *rows_of, "mean"],
        lines,
    ), checks


def table_vi(sets: list[AtlasRuns]) -> tuple[dict, list[dict]]:
    rows_of = {one.name: one.by_size() for one in sets}
    sizes = sorted({row["spc"] for row in next(iter(rows_of.values())) if row["variant"] == "scdd"})
    lines = by_set(
        rows_of, [("scDD", str(spc), ("scdd", "dm", spc)) for spc in sizes] + [("all cells", "all", ("full", "", 0))]
    )
    share = lambda spc: (
        100 * mean(accuracy(rows, "scdd", "dm", spc) / accuracy(rows, "full") for rows in rows_of.values())
    )
    lines.append(
        ["mean share of all cells (%)", "", *[""] * len(rows_of), ", ".join(f"{share(spc):.1f}" for spc in sizes)]
    )
    means = [mean(accuracy(rows, "scdd", "dm", spc) for rows in rows_of.values()) for spc in sizes]
    rising = all(first < second for first, second in zip(means, means[1:]))
    checks = [
        {
            "what": "Table VI: scDD rises with every step of SPC",
            "holds": rising,
            "figures": "on average " + ", ".join(f"{spc}: {value:.1f}" for spc, value in zip(sizes, means)),
        },
        above(
            "Table VI: scDD is better at SPC 10 than at SPC 1",
            {
                name: accuracy(rows, "scdd", "dm", 10) - accuracy(rows, "scdd", "dm", 1)
                for name, rows in rows_of.items()
            },
        ),
    ]
    return table(
        "Table VI: cells per class, distribution matching, accuracy ± sd over draws (%)",
        ["method", "SPC", *rows_of, "mean"],
        lines,
    ), checks


def table_vii(sets: list[AtlasRuns]) -> tuple[dict, list[dict]]:
    traces = {(one.name, encoder): one.trace(encoder) for one in sets for encoder in ("unfrozen", "frozen")}
    steps = [step for step, *_ in next(iter(traces.values()))]
    lines = []
    for (name, encoder), trace in traces.items():
        lines.append([name, encoder, "loss", *(f"{loss:.4g}" for _, loss, _ in trace)])
        lines.append([name, encoder, "held out (%)", *(f"{held_out:.1f}" for *_, held_out in trace)])
    last = {name: traces[name, "frozen"][-1][2] - traces[name, "unfrozen"][-1][2] for name, _ in traces}
    falls = {name: traces[name, "frozen"][-1][1] / traces[name, "frozen"][0][1] for name, _ in traces}
    checks = [
        above("Table VII: with a frozen encoder accuracy ends far (10 points) above the unfrozen one's", last, 10),
        {
            "what": "Table VII: with a frozen encoder the loss ends below half of what it was",
            "holds": mean(falls.values()) < 0.5,
            "figures": "; ".join(f"{name} {share:.2f} of it" for name, share in falls.items()),
        },
    ]
    return table(
        "Table VII: gradient matching by steps, one cell per class, one rate, first draw",
        ["set", "encoder", "", *map(str, steps)],
        lines,
        3,
    ), checks


def figure_4(sets: list[AtlasRuns]) -> tuple[dict, list[dict]]:
    heads = {"": "linear", "128": "128", "128,128": "128, 128"}
    rows_of = {hidden: {one.name: one.with_head(hidden) for one in sets} for hidden in heads}
    lines = [
        [
            name,
            *(figure(named(rows, "scdd", "dc", 1)) for rows in rows_of[hidden].values()),
            f"{mean(accuracy(rows, 'scdd', 'dc', 1) for rows in rows_of[hidden].values()):.1f}",
        ]
        for hidden, name in heads.items()
    ]
    less = lambda hidden: {
        one.name: accuracy(rows_of[""][one.name], "scdd", "dc", 1)
        - accuracy(rows_of[hidden][one.name], "scdd", "dc", 1)
        for one in sets
    }
    checks = [
        above(f"Figure 4: a linear head is above one of hidden layers {heads[hidden]}", less(hidden))
        for hidden in ("128", "128,128")
    ]
    return table(
        "Figure 4: deeper task heads, gradient matching at one cell per class, accuracy ± sd over draws (%)",
        ["hidden layers", *(one.name for one in sets), "mean"],
        lines,
        1,
    ), checks


def students(sets: list[AtlasRuns]) -> tuple[dict, list[dict]]:
    """Not of the paper: what is distilled through the training of a head, and of a head and a regression on genes."""
    results_of = {one.name: one.taught_by_heads() for one in sets}
    columns = [
        ("class_mean", "", 1),
        *(("scdd", matching, spc) for matching in ("head", "head+genes") for spc in (1, 10)),
    ]
    lines, checks = [], []
    for classifier in next(iter(results_of.values())):
        for name, results in results_of.items():
            rows = results[classifier]
            full = figure_if_any(rows, "full")
            lines.append(
                [
                    name,
                    classifier,
                    figure(named(rows, "random", "", 1)),
                    *(figure_if_any(rows, *key) for key in columns),
                    full,
                ]
            )
        over_mean = lambda matching: {
            name: accuracy(results[classifier], "scdd", matching, 1)
            - accuracy(results[classifier], "class_mean", "", 1)
            for name, results in results_of.items()
        }
        if classifier == "head":
            gains, lost = (
                over_mean("head"),
                {
                    name: accuracy(rows["head"], "full") - accuracy(rows["head"], "scdd", "head", 10)
                    for name, rows in results_of.items()
                },
            )
            checks += [
                {
                    "what": "Students: head matching at SPC 1 is above the class mean by 2 points on average and below "
                    "it on no set",
                    "holds": mean(gains.values()) >= 2 and min(gains.values()) >= 0,
                    "figures": signed(gains),
                },
                {
                    "what": "Students: head matching at SPC 10 is within 1 point of full data on every set",
                    "holds": max(lost.values()) <= 1,
                    "figures": "full data has " + signed(lost),
                },
            ]
        else:
            gains = over_mean("head+genes")
            checks.append(
                {
                    "what": f"Students: under {classifier}, head+genes at SPC 1 is not below the class mean - 1 on any "
                    "set",
                    "holds": min(gains.values()) >= -1,
                    "figures": signed(gains),
                }
            )
    header = [
        "set",
        "trained on the set",
        "random, SPC 1",
        "class mean",
        *(f"{matching}, SPC {spc}" for _, matching, spc in columns[1:]),
        "all cells",
    ]
    return table("Matching through the training of students, accuracy ± sd over draws (%)", header, lines), checks


PAPER_TABLES = {
    "II": table_ii,
    "III": table_iii,
    "IV": table_iv,
    "V": table_v,
    "VI": table_vi,
    "VII": table_vii,
    "4": figure_4,
    "students": students,
}
