"""The page of one study, and its lines in the summary.

A study is {"title", "command", "commit", "cpu", "date", "notes": [...]} with any of
"rows":    accuracies, as retort-evaluate writes them, each with the name of its "set";
"figures": {"what", "unit", "retort", "peer", "peer_is", "ratio", "target", "at_most", "note", "commit", "cpu"};
"checks":  {"what", "holds", "figures"};
"tables":  {"title", "header", "lines", "left": how many columns are text}.
"""

from results_text import item, number, table, wrapped

# In the order of the summary, with what each shows.
SHOWS = {
    "accuracy": "how well heads and CellTypist's classifier do that are trained on a distilled set, on six real sets",
    "tables": "the scDD paper's tables II to VII and figure 4, made again on sets at hand",
    "students": "five classifiers that are trained on distilled sets, on random cells and on class means",
    "audits": "what distilled sets tell of the cells they were made from, and what of genes and rare classes they keep",
    "foundations": "distilling with the encoder of the same atlas and of another one",
    "comparisons": "scLDM, scRDiT and a scVI-shaped autoencoder beside each other, simple priors and real cells",
    "speed": "ingest, training, embedding and matching beside PyTorch and scanpy on the same cores",
    "generators": "training of the generators beside PyTorch on the same cores, one and two ranks",
    "scaling": "strong and weak scaling over ranks and over two nodes of one machine",
    "links": "a model of the links between nodes, held against a slowed link, and what it extrapolates to",
    "million": "seconds and memory of every stage on a simulated atlas of a million cells",
}

# Studies that are made with others and lie in one file with them: the file, the title of the page, how its tables and
# its claims begin, and a word that its notes have.
PARTS = {
    "students": ("tables", "Classifiers taught by distilled sets", "Matching through", "Students:", "students"),
    "audits": ("tables", "Audits", "Audits", "Audits:", "audits"),
    "foundations": ("tables", "Encoders of other atlases", "Foundations", "Foundation ", "Foundations:"),
}


def studies_of(runs: dict[str, dict]) -> dict[str, dict]:
    """The studies in the order of the summary; each knows the name of its file."""
    studies = {name: run | {"file": name} for name, run in runs.items()}
    for name, (file, title, table_start, claim_start, word) in PARTS.items():
        if file not in studies:
            continue
        whole = studies[file]
        own = {
            "tables": [one for one in whole["tables"] if one["title"].startswith(table_start)],
            "checks": [one for one in whole["checks"] if one["what"].startswith(claim_start)],
            "notes": [note for note in whole["notes"][1:] if word in note],
        }
        studies[file] = whole | {key: [one for one in whole[key] if one not in part] for key, part in own.items()}
        own["notes"].insert(0, whole["notes"][0])  # how all of them were made
        studies[name] = whole | own | {"title": title}
    return {name: studies[name] for name in SHOWS if name in studies}


def claims_of(run: dict) -> list[dict]:
    """Checks, and figures that have a target, in one form."""
    claims = list(run.get("checks", []))
    for figure in run.get("figures", []):
        if figure.get("ratio") is not None and figure.get("target") is not None:
            bound = f"{'at most' if figure.get('at_most') else 'at least'} {figure['target']:g}"
            claims.append(
                {
                    "what": f"{figure['what']}: ratio {bound}",
                    "holds": meets_target(figure) == "yes",
                    "figures": f"ratio {number(figure['ratio'])}, {measured(figure)}",
                }
            )
    return claims


def meets_target(figure: dict) -> str:
    ratio, target = figure.get("ratio"), figure.get("target")
    if ratio is None or target is None:
        return "–"
    return "yes" if (ratio <= target if figure.get("at_most") else ratio >= target) else "**no**"


def measured(figure: dict) -> str:
    unit = figure.get("unit", "")
    peer = f"{number(figure.get('peer'))} {unit}".strip()
    return f"retort {number(figure.get('retort'))} {unit}".strip() + f", {figure.get('peer_is', 'peer')} {peer}"


def figure_table(figures: list[dict]) -> list[str]:
    lines, details, several = [], [], len({figure.get("commit") for figure in figures}) > 1
    for figure in figures:
        target = figure.get("target")
        bound = "–" if target is None else f"{'≤' if figure.get('at_most') else '≥'} {target:g}"
        lines.append([figure["what"], number(figure.get("ratio")), bound, meets_target(figure)])
        said = [measured(figure), figure.get("note"), f"commit {figure['commit']}" if several else None]
        details += item(f"{figure['what']}: " + "; ".join(one for one in said if one))
    return [*table(["what", "ratio", "target", "holds"], lines), "Each of them:", "", *details, ""]


def accuracy_tables(rows: list[dict]) -> list[str]:
    header = ["variant", "matching", "SPC", "draws", "accuracy ± sd (%)", "sd over draws", "macro F1 (%)"]
    text = []
    for name in dict.fromkeys(row.get("set", "") for row in rows):
        lines = []
        for row in rows:
            if row.get("set", "") != name:
                continue
            headroom = row.get("headroom")
            lines.append(
                [
                    row["variant"],
                    row["matching"] or "–",
                    str(row["spc"] or "all"),
                    str(row["draws"]),
                    f"{number(row['accuracy_mean'])} ± {number(row['accuracy_sd'])}",
                    number(row.get("accuracy_sd_draws")) if row["draws"] > 1 else "–",
                    number(row["macro_f1"]),
                    "–" if headroom is None else f"{100 * headroom:.1f} %",
                    number(row["seconds"], 1),
                ]
            )
        text += [f"### {name}", ""] if name else []
        text += table([*header, "headroom", "seconds"], lines, left=2)
    return text


def claim_items(claims: list[dict], figures: bool = True) -> list[str]:
    text = []
    for claim in claims:
        text += item(f"{claim['what']}: {claim['figures']}." if figures else f"{claim['what']}.")
    return text


def study_page(name: str, run: dict) -> list[str]:
    text = [f"# {run['title']}", ""]
    text += wrapped(f"Written by `tools/results.py` from `docs/results/{run['file']}.json`; do not edit.")
    text += ["", *wrapped(f"It shows {SHOWS[name]}.")]
    text += ["", *wrapped(f"Made by `{run['command']}`"), ""]
    text += [*wrapped(f"Commit {run['commit']}, {run['cpu']}, {run['date']}. [All results](../results.md)."), ""]
    for note in run.get("notes", []):
        text += [*wrapped(note), ""]
    for title, holds in (("Does not hold", False), ("Holds", True)):
        claims = [check for check in run.get("checks", []) if bool(check["holds"]) == holds]
        if claims:
            text += [f"## {title}", "", *claim_items(claims), ""]
    if run.get("figures"):
        text += ["## Figures", "", *figure_table(run["figures"])]
    if run.get("tables") or run.get("rows"):
        text += ["## Tables", ""]
    for one in run.get("tables", []):
        text += [*wrapped(one["title"], "### "), "", *table(one["header"], one["lines"], one["left"])]
    return text + accuracy_tables(run.get("rows", []))
