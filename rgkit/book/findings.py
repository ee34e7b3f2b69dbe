"""What the book has found: a map of the verdicts and the claims of each paper, for two pages."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Iterable
from typing import Any

from rgkit.stats.verdicts import (
    CONTRADICTED,
    EQUIVALENT,
    INCONCLUSIVE,
    SUPPORTED,
    UNMEASURED,
    VERDICTS,
)

PAPERS = {
    "random-gradient": "Random Gradient",
    "loss-decay": "Loss Decay",
    "calibrated-sgd": "Calibrated SGD",
    "predictions": "Our predictions",
}
# A verdict is told by its mark, too: not everybody sees the colours.
MARKS = {SUPPORTED: "✓", CONTRADICTED: "✗", EQUIVALENT: "=", INCONCLUSIVE: "?", UNMEASURED: "–"}
Row = dict[str, Any]


def counts(table: Iterable[Row]) -> str:
    """Return the verdicts counted, in words, the measured ones first.

    >>> counts([{"verdict": "supported"}, {"verdict": "inconclusive"}, {"verdict": "supported"}])
    '2 supported, 1 inconclusive'
    """
    number = Counter(row["verdict"] for row in table)
    return ", ".join(f"{number[v]} {v}" for v in VERDICTS if number[v])


def by_paper(table: Iterable[Row]) -> dict[str, list[Row]]:
    """Return the rows of each paper under its title, in the order of `PAPERS`."""
    every = list(table)
    return {title: [r for r in every if r["paper"] == paper] for paper, title in PAPERS.items()}


def badge(verdict: str) -> str:
    """Return the CSS class that colours a verdict.

    >>> badge("equivalent within Δ"), badge("not measured")
    ('badge-equivalent', 'badge-unmeasured')
    """
    return "badge-unmeasured" if verdict == UNMEASURED else f"badge-{verdict.split()[0]}"


def said(row: Row) -> str:
    """Return a claim, its verdict and what was measured (Markdown), linked to its chapter.

    >>> row = {"claim": "x", "says": "it gains", "verdict": "supported", "measured": "a gain"}
    >>> said(row | {"page": "p", "profile": "quick"})
    '**supported** (quick, [x](/p)): *it gains*. A gain.'
    """
    link = f"[{row['claim']}](/{row['page']})" if row["page"] else row["claim"]
    if row["verdict"] == UNMEASURED:
        return f"**{UNMEASURED}** ({link}): *{row['says']}*."
    text = row["measured"].rstrip(".")
    text = text[:1].upper() + text[1:]
    return f"**{row['verdict']}** ({row['profile']}, {link}): *{row['says']}*. {text}."


def verdict_map(table: Iterable[Row], up: str = "../") -> str:
    """Return one mark for each claim, coloured by its verdict and linked to its chapter (HTML)."""
    lines = ['<div class="verdict-map">']
    for title, rows in by_paper(table).items():
        lines.append(f"<p><strong>{title}</strong></p><ul>")
        for row in rows:
            short = row["claim"].partition("-")[2].replace("-", " ")
            text = html.escape(f"{row['says']} — {row['verdict']}: {row['measured']}", quote=True)
            look = f'class="{badge(row["verdict"])}" title="{text}"'
            mark = f'{MARKS[row["verdict"]]} {short}<span class="sr-only">: {row["verdict"]}</span>'
            target = f'href="{up}{row["page"]}.html"' if row["page"] else ""
            lines.append(f"<li><a {look} {target}>{mark}</a></li>")
        lines.append("</ul>")
    legend = " ".join(f'<span class="{badge(v)}">{MARKS[v]} {v}</span>' for v in VERDICTS)
    return "\n".join([*lines, f'<p class="verdict-legend">{legend}</p></div>'])


def summary(table: Iterable[Row]) -> str:
    """Return the verdicts on the papers' claims and on our predictions, counted (Markdown)."""
    every = list(table)
    ours = [row for row in every if row["paper"] == "predictions"]
    papers = [row for row in every if row["paper"] != "predictions"]
    return (
        f"Of {len(papers)} claims in the three papers: **{counts(papers)}**. "
        f"Of our own {len(ours)} predictions: **{counts(ours)}**.\n"
    )


def _listed(rows: Iterable[Row]) -> str:
    return "\n".join(f"- {said(row)}" for row in rows)


def answer(table: Iterable[Row]) -> str:
    """Return what the book has found so far, for its start page (MyST Markdown)."""
    every = list(table)
    folded = [
        f"```{{dropdown}} {title}: {counts(rows)}\n{_listed(rows)}\n```"
        for title, rows in by_paper(every).items()
    ]
    raw = f"```{{raw}} html\n{verdict_map(every)}\n```"
    return "\n\n".join([summary(every), raw, *folded]) + "\n"


def for_readme(table: Iterable[Row]) -> str:
    """Return the same for README.md, with a table in the place of the map (GitHub's Markdown)."""
    every = list(table)
    lines = [f"| | {' | '.join(f'{MARKS[v]} {v}' for v in VERDICTS)} |", "|---" * 6 + "|"]
    for title, rows in by_paper(every).items():
        number = Counter(row["verdict"] for row in rows)
        lines.append(f"| {title} | {' | '.join(str(number[v] or '') for v in VERDICTS)} |")
    folded = [
        f"<details><summary><b>{title}</b>: {counts(rows)}</summary>\n\n"
        f"{_listed(rows)}\n\n</details>"
        for title, rows in by_paper(every).items()
    ]
    return "\n\n".join([summary(every).strip(), "\n".join(lines), *folded]) + "\n"
