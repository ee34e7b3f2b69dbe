"""HTML and Markdown from the templates beside this file: in the book, and in notebooks' kernels."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from rgkit.stats.verdicts import UNMEASURED, VERDICTS

# A verdict is told by its mark, too: not everybody sees the colours.
MARKS = dict(zip(VERDICTS, "✓✗=?–", strict=True))


def kind(verdict: str) -> str:
    """Return the last part of the CSS classes that colour a verdict.

    >>> kind("equivalent within Δ"), kind("not measured")
    ('equivalent', 'unmeasured')
    """
    return "unmeasured" if verdict == UNMEASURED else verdict.split()[0]


def interval(row: dict[str, Any]) -> str:
    """Return the 95 % interval of a verdict with its unit.

    >>> interval({"interval": (-0.5, 1), "unit": "points"}), interval({"interval": None})
    ('[-0.50, +1.00] points', '—')
    """
    ends = row["interval"]
    return f"[{ends[0]:+.2f}, {ends[1]:+.2f}] {row['unit']}" if ends else "—"


def smallest(row: dict[str, Any]) -> str:
    """Return the smallest detectable effect of a verdict with its unit, or "".

    >>> smallest({"detectable": 0.5, "unit": "%"})
    '0.50 %'
    """
    return "" if row["detectable"] is None else f"{row['detectable']:.2f} {row['unit']}"


def sentence(text: str) -> str:
    """Return words as a sentence: with a capital and a full stop."""
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


@cache
def _templates() -> Environment:
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=select_autoescape(["html"]),  # Markdown has its own marks and needs no entities
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    for function in (kind, interval, smallest, sentence, median):
        templates.filters[function.__name__] = function
    templates.filters["fmt"] = format
    templates.globals |= {"marks": MARKS, "verdicts": VERDICTS, "unmeasured": UNMEASURED}
    return templates


def render(template: str, **values: Any) -> str:
    """Return a template of the folder `templates`, filled in; what is missing is an error.

    >>> print(render("banner.html", kind="note", words="a < b").splitlines()[-2])
    <p>a &lt; b</p>
    """
    return _templates().get_template(template).render(values)
