"""scRDiT's comparisons, on one class of one set: networks, samplers, zeros, gene counts. Part of comparisons.py."""

from collections.abc import Callable
from statistics import mean

from claims import check, over, shown, table
from comparison_runs import SetRuns, row_of, sampling_seconds, step_count, steps_in, training_seconds

CLASS = "CD4T"  # of kang_stim: the largest
STRIDES = (2, 5, 10, 20)
UNET, SHORT = {"diffusion_network": "unet", "diffusion_channels": 16}, {"diffusion_steps": 300}
FEW_STEPS = "transformer, as few steps"
NETWORKS = {  # name: settings of train-diffusion beside configs/scrdit.ini
    "transformer": {},
    "unet, equal time": UNET,  # as many steps as the transformer's training lasted
    FEW_STEPS: {},  # no more than that
    "zeros stay": {"diffusion_zero_value": 0},
}
OF_ONE_SEED = {  # of more genes, which take long, a tenth of the steps
    "zero value -5": {"diffusion_zero_value": -5},
    "zero value -20": {"diffusion_zero_value": -20},
    **{f"{genes:,} genes, 300 steps": {"diffusion_genes": genes} | SHORT for genes in (1000, 2000, 3000)},
}
MEASURES = {"scRDiT's MMD": "scrdit_mmd", "W2": "w2", "MMD²": "mmd2", "W1": "w1", "KL": "kl", "zeros": "zeros"}


def of_seed(one: SetRuns) -> dict[str, dict]:
    """Measures of each network under DDIM at 10, and of the transformer under all samplers."""
    files, seconds, lasted, folders = {}, {}, {}, {}
    for name, settings in (NETWORKS | (OF_ONE_SEED if one.seed == 1 else {})).items():
        if name == "unet, equal time":
            tried = one.denoiser("scrdit-unet-tried", CLASS, **UNET, diffusion_steps=20)
            settings = UNET | {"diffusion_steps": steps_in(lasted["transformer"], tried, "train-diffusion")}
        if name == FEW_STEPS:
            settings = {"diffusion_steps": step_count(folders["unet, equal time"], "train-diffusion")}
        folder = folders[name] = one.denoiser(f"scrdit-{name.replace(' ', '-').replace(',', '')}", CLASS, **settings)
        lasted[name] = training_seconds(folder, "train-diffusion")
        file = one.expression(folder, f"{folder.name}-ddim-10")
        files[name], seconds[name] = file, sampling_seconds(file)
        if name != "transformer":
            continue
        for sampler, chosen in {
            "DDPM": {"generate_solver": "ddpm"},
            **{f"DDIM, {stride}x": {"generate_stride": stride} for stride in STRIDES},
        }.items():
            stem = sampler.replace(", ", "-").rstrip("x").lower()
            files[sampler] = one.expression(folder, f"{folder.name}-{stem}", **chosen)
            seconds[sampler], lasted[sampler] = sampling_seconds(files[sampler]), lasted[name]
    scores = one.scores("scores-scrdit", list(dict.fromkeys(files.values())), label="cell_type")
    rows = {name: row_of(scores, file.stem) for name, file in files.items()}
    kept = {
        name: {key: row[key] for key in MEASURES.values()}
        | {
            "seconds": seconds[name],
            "training": lasted[name],
            "real": scores["comparisons"][row["comparison"]]["real"]["zeros"],
        }
        for name, row in rows.items()
    }
    kept["real train cells: the floor"] = {key: row_of(scores, "train cells")[key] for key in MEASURES.values()} | {
        "seconds": float("nan"),
        "training": float("nan"),
        "real": kept["transformer"]["real"],
    }
    return kept


def scrdit(sets: list[str], seeds: int, runs: Callable) -> tuple[list[dict], list[dict]]:
    found = over([name for name in sets if name == "kang_stim"], seeds, runs, of_seed)
    if not found:
        return [], []
    lines, checks = [], []
    for name, all_seeds in found.items():
        values = lambda who, key: [one[who][key] for one in all_seeds if who in one]
        value = lambda who, key: mean(values(who, key))
        lines += [
            [
                name,
                who if who in all_seeds[-1] else f"{who} (one seed)",
                *(shown(values(who, key)) for key in (*MEASURES.values(), "real", "training", "seconds")),
            ]
            for who in all_seeds[0]
        ]
        gap = lambda who: abs(value(who, "zeros") - value(who, "real"))
        mmd = lambda who: value(who, "scrdit_mmd")
        checks += [
            check(
                "scRDiT's transformer has no higher MMD than its U-Net after equal time",
                mmd("transformer") <= mmd("unet, equal time"),
                f"{mmd('transformer'):.4g} against {mmd('unet, equal time'):.4g}",
            ),
            check(
                "scRDiT's transformer has no higher MMD than its U-Net after as few steps",
                mmd(FEW_STEPS) <= mmd("unet, equal time"),
                f"{mmd(FEW_STEPS):.4g} against {mmd('unet, equal time'):.4g}",
            ),
            *(
                check(
                    f"DDIM at 10x is within 10 % of DDPM in {title}",
                    value("DDIM, 10x", key) <= 1.1 * value("DDPM", key),
                    f"{value('DDIM, 10x', key):.4g} against {value('DDPM', key):.4g}",
                )
                for title, key in (("scRDiT's MMD", "scrdit_mmd"), ("MMD²", "mmd2"))
            ),
            check(
                "DDIM at 10x is at least 5 times as fast as DDPM",
                5 * value("DDIM, 10x", "seconds") <= value("DDPM", "seconds"),
                f"{value('DDIM, 10x', 'seconds'):.3g} s against {value('DDPM', 'seconds'):.3g} s",
            ),
            check(
                "with zero-negation the share of zeros is within 0.02 of the real cells'",
                gap("transformer") <= 0.02,
                f"{value('transformer', 'zeros'):.3f}, real {value('transformer', 'real'):.3f}",
            ),
            check(
                "without zero-negation it is off by more than twice that",
                gap("zeros stay") > 0.04,
                f"{value('zeros stay', 'zeros'):.3f}, real {value('zeros stay', 'real'):.3f}",
            ),
        ]
    return [
        table(
            f"scRDiT on {CLASS}, DDIM at 10x where no sampler is named",
            ["set", "network or sampler", *MEASURES, "real zeros", "seconds to train", "seconds to draw"],
            lines,
        )
    ], checks
