"""Markdown whose lines have at most 120 columns: paragraphs, list items, tables."""

import re

WIDEST = 120
MARKER = re.compile(r"^([-+*#>]|#+|\d+[.)])$")  # a word that would begin a list or a heading if it began a line


def number(value, places: int = 2) -> str:
    return "–" if value is None else f"{value:,.{places}f}"


def wrapped(text: str, first: str = "", others: str = "") -> list[str]:
    """The text in lines, the first of them after `first` and the others after `others`."""
    lines, line = [], first
    words = text.split()
    for at, word in enumerate(words):
        space = "" if line in (first, others) else " "
        # A marker stays on the line of the word before it, so that word waits for it.
        needed = len(word) + (1 + len(words[at + 1]) if at + 1 < len(words) and MARKER.match(words[at + 1]) else 0)
        if space and len(line) + 1 + needed > WIDEST:
            lines.append(line)
            line, space = others, ""
        line += space + word
    return [*lines, line]


def item(text: str) -> list[str]:
    return wrapped(text, "- ", "  ")


def table(header: list[str], lines: list[list[str]], left: int = 1) -> list[str]:
    """A table whose first `left` columns are text and the others numbers. Where it is too wide, names longer than their
    column become letters that are explained below it; where that is not enough it becomes several tables, each with the
    columns of text before some of the others."""
    rows = [[cell.replace("|", "\\|") for cell in line] for line in [header, *lines]]
    keys = max(1, left)
    legend = letters_for(rows, keys)
    rows[0] = [legend.get(i, name) for i, name in enumerate(rows[0])]
    parts = parts_of(rows, keys)
    widths = widths_of(rows)
    text = []
    for part in parts:
        rule = ["-" * widths[i] if i < left else "-" * (widths[i] - 1) + ":" for i in range(len(header))]
        for row in [rows[0], rule, *rows[1:]]:
            cells = [row[i].ljust(widths[i]) if i < left else row[i].rjust(widths[i]) for i in part]
            text.append("| " + " | ".join(cells) + " |")
        text.append("")
    if legend:
        text += [*wrapped("; ".join(f"{letter}: {header[i]}" for i, letter in sorted(legend.items())) + "."), ""]
    return text


def widths_of(rows: list[list[str]]) -> list[int]:
    return [max(4, *(len(row[i]) for row in rows)) for i in range(len(rows[0]))]


def letters_for(rows: list[list[str]], keys: int) -> dict[int, str]:
    """Letters in the place of the names of some columns, by column; where they make one table, or save two."""
    names = list(rows[0])
    spare = {i: len(names[i]) - max(4, *(len(row[i]) for row in rows[1:])) for i in range(keys, len(names))}
    needed = before = len(parts_of(rows, keys))
    replaced = []
    for i in sorted((i for i in spare if spare[i] > 0), key=lambda i: -spare[i]):
        if needed == 1:
            break
        names[i] = "a"
        replaced.append(i)
        needed = len(parts_of([names, *rows[1:]], keys))
    if needed > 1 and before - needed < 2:
        return {}
    return {i: chr(ord("a") + at) for at, i in enumerate(sorted(replaced))}


def parts_of(rows: list[list[str]], keys: int) -> list[list[int]]:
    """The columns of each table that the rows are shown in; the first `keys` are in all of them."""
    widths = widths_of(rows)
    parts, part = [], list(range(keys))
    for column in range(keys, len(widths)):
        if len(part) > keys and sum(widths[i] + 3 for i in [*part, column]) + 1 > WIDEST:
            parts.append(part)
            part = list(range(keys))
        part.append(column)
    return [*parts, part]
