"""What a notebook says: what its page shows, numbers for the prose, verdicts, provenance.

HTML and Markdown are made from the templates beside this file. Everything is stored in the executed
notebook's own outputs, where the book finds it: a verdict is an output with a MIME type of its own
beside the HTML box that people see.
"""

from __future__ import annotations

import ast
import json
import math
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import median
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from rgkit.book.notebook import injected
from rgkit.method.spec import nearest
from rgkit.runs.config import Trained
from rgkit.runs.grid import Grid
from rgkit.runs.results import Results
from rgkit.stats.differences import UNMEASURED, VERDICTS, ledger

VERDICT_MIME = "application/vnd.rgkit.verdict+json"
SOURCE_MIME = "application/vnd.rgkit.provenance+json"


# A verdict is told by its mark, too: not everybody sees the colours.
MARKS = dict(zip(VERDICTS, "✓✗=?–", strict=True))


def kind(verdict: str) -> str:
    """Return the last part of the CSS classes that colour a verdict.

    >>> kind("equivalent within Δ"), kind("not measured")
    ('equivalent', 'unmeasured')
    """
    return "unmeasured" if verdict == UNMEASURED else verdict.split()[0]


def in_words(row: dict[str, Any]) -> str:
    """Return the 95 % interval of a verdict with its unit.

    >>> in_words({"interval": (-0.5, 1), "unit": "points"}), in_words({"interval": None})
    ('[-0.50, +1.00] points', '—')
    """
    ends = row["interval"]
    return f"[{ends[0]:+.2f}, {ends[1]:+.2f}] {row['unit']}" if ends else "—"


def plain(text: object) -> str:
    """Return text from a record or a message as Markdown in which it is nothing but text.

    >>> plain("<script> | [b](c)")
    '&#60;script> &#124; [b&#93;(c)'
    """
    escaped = re.sub(r"[<|`$*\\{]|\](?=\()", lambda mark: f"&#{ord(mark[0])};", str(text))
    return " ".join(escaped.split("\n"))


def smallest(row: dict[str, Any]) -> str:
    """Return the smallest detectable effect of a verdict with its unit, or "".

    >>> smallest({"detectable": 0.5, "unit": "%"})
    '0.50 %'
    """
    return "" if row["detectable"] is None else f"{row['detectable']:.2f} {row['unit']}"


TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).with_name("templates")),
    autoescape=select_autoescape(["html"]),  # Markdown has its own marks and needs no entities
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
TEMPLATES.globals |= {"marks": MARKS, "verdicts": VERDICTS, "unmeasured": UNMEASURED}
TEMPLATES.filters |= {"kind": kind, "interval": in_words, "smallest": smallest, "plain": plain}
TEMPLATES.filters |= {"median": median, "fmt": format}


def render(template: str, **values: Any) -> str:
    """Return a template of the folder `templates`, filled in; what is missing is an error.

    >>> print(render("banner.html", kind="note", words="a < b").splitlines()[-2])
    <p>a &lt; b</p>
    """
    return TEMPLATES.get_template(template).render(values)


def _display(bundle: dict[str, Any], metadata: dict[str, Any] | None = None) -> None:
    from IPython.display import display

    display(bundle, raw=True, metadata=metadata or {})  # type: ignore[no-untyped-call]


def _parameters() -> dict[str, Any]:
    """Return what this notebook was given: by rgkit, which has checked it, or by papermill."""
    from IPython.core.getipython import get_ipython

    if given := os.environ.get("RGKIT_PARAMETERS"):
        return dict(json.loads(given))
    shell = get_ipython()
    return injected(shell.user_ns["In"]) if shell else {}


def glue(**values: float | str) -> None:
    """Store numbers for the prose, which inserts them as {glue:text}`name:.2f`.

    The outputs have the form that MyST-NB's own `glue` gives them; nothing is shown in their place.

    >>> glue(gap=0.25)  # doctest: +SKIP
    """
    prefix = "application/papermill.record/"
    for name, value in values.items():
        text = repr(value if isinstance(value, str) else float(value))
        about = {"scrapbook": {"name": name, "mime_prefix": prefix}}
        _display({f"{prefix}text/plain": text}, about)


def glue_intervals(**rows: Any) -> None:
    """Store differences for the prose: ``name``, ``name_low``, ``name_high``, ``name_smallest``.

    Parameters
    ----------
    rows : rows of `rgkit.paired`, or `rgkit.Difference`; the last number is the smallest
        detectable difference
    """
    for name, row in rows.items():
        own = hasattr(row, "interval")
        low, high = row.interval() if own else (row["low"], row["high"])
        glue(**{name: row.mean if own else row["difference"], f"{name}_smallest": row.detectable})
        glue(**{f"{name}_low": low, f"{name}_high": high})


def conclude(
    claim: str,
    *,
    verdict: str,
    measured: str,
    profile: str,
    interval: tuple[float, float] | None = None,
    detectable: float | None = None,
    seeds: int = 0,
    unit: str = "points",
    says: str = "",
) -> None:
    """Show the verdict box of a claim and hand the verdict to the scorecard.

    Parameters
    ----------
    claim : str
        An id of the ledger; or, with `says`, any other name.
    verdict : str
        One of `rgkit.stats.differences.VERDICTS`; a smoke test always says "not measured".
    measured : str
        One sentence, made from measured numbers.
    profile : str
        ``grid.profile``.
    interval, detectable : 95 % interval and smallest detectable effect, in `unit`
    seeds : int
    says : str
        A claim of the reader's own, in words: it gets a box and no place on the scorecard.

    Raises ValueError for an unknown claim or verdict, naming the nearest right one, and for words
    of one's own on a claim of the ledger.
    """
    claims = ledger()
    if says and claim in claims:
        raise ValueError(f"claim {claim!r} given with says={says!r}; the ledger has its words")
    if not says and claim not in claims:
        hint = f"{nearest(claim, list(claims))} One of your own is given with says=..."
        raise ValueError(f"unknown claim {claim!r}{hint}")
    if verdict not in VERDICTS:
        raise ValueError(f"verdict={verdict!r} given{nearest(verdict, list(VERDICTS))}")
    if profile == "smoke":
        verdict, measured = UNMEASURED, "smoke test only"
    if verdict == UNMEASURED:  # NaN is no number for the pages that are made of it
        interval, detectable = None, None
    row: dict[str, Any] = {"claim": claim, "verdict": verdict, "measured": measured}
    row |= {"interval": interval, "detectable": detectable, "unit": unit}
    row |= {"profile": profile, "seeds": seeds}
    box = render("verdict.html", row=row, facts=claims.get(claim), says=says)
    text = f"{claim}: {verdict}. {measured} {in_words(row)}"
    _display({"text/html": box, "text/plain": text, VERDICT_MIME: row})


def provenance(*what: Results | Grid, records_url: str = "../../results") -> None:
    """Show where a page's numbers come from, and hand it to the status page.

    The first of several results is the page's main one: its profile is the page's.
    """
    records = list({r.key: r for w in what if not isinstance(w, Grid) for r in w.records}.values())
    grid = what[0] if isinstance(what[0], Grid) else what[0].grid
    notebook = os.environ.get("RGKIT_NOTEBOOK") or os.environ.get("JPY_SESSION_NAME", "notebook")
    facts = {
        "notebook": notebook,
        "parameters": _parameters(),
        "profile": grid.profile,
        "runs": len(records),
        "seconds": round(sum(r.source["seconds"] for r in records)),
        "arithmetics": dict(Counter(r.arithmetic for r in records).most_common()),
        "devices": sorted({r.source["device"] for r in records}),
        "commits": sorted({r.source["commit"] for r in records}),
        "dates": sorted({r.source["date"] for r in records}),
    }
    words = render("provenance.txt", name=Path(notebook).stem, facts=facts)
    kept = [] if grid.profile == "smoke" else records
    line = render("provenance.html", words=words, records=kept, url=records_url)
    _display({"text/html": line, "text/plain": words, SOURCE_MIME: facts})


def describe(grid: Grid) -> str:
    """Return in words which runs a grid holds and what their numbers are worth.

    >>> from rgkit.runs.profiles import no_runs
    >>> describe(no_runs("best"))
    'Simulated in this notebook; nothing is trained.'
    """
    axes: dict[str, list[str]] = {}
    for axis in grid.axes:
        values = dict.fromkeys(str(cell.labels[axis]) for cell in grid if axis in cell.labels)
        axes |= {axis: list(values)} if values else {}
    trained = [cell.config for cell in grid if isinstance(cell.config, Trained)]
    alike = len({(c.data, c.images, c.epochs) for c in trained}) == 1
    one = trained[0] if alike and trained[0] is grid[0].config else None
    return render(
        "describe.txt",
        profile=grid.profile,
        runs=len(grid),
        axes=axes,
        # Where the axes are not all crossed, a product would be read as one.
        crossed=len(grid) == math.prod(map(len, axes.values())),
        one=one,
        note=grid.note,
    )


def banner(grid: Grid) -> None:
    """Show the words of `describe`, in a box that warns where the numbers are no result.

    Raises UsageError for parameters of plain papermill's that `rgkit run` would have refused.
    """
    _parameters()
    kind = "warning" if grid.profile in ("smoke", "embedded") else "note"
    words = describe(grid)
    _display({"text/html": render("banner.html", kind=kind, words=words), "text/plain": words})


def outputs(notebook: Mapping[str, Any], mime: str) -> Iterator[Any]:
    """Yield every output of one MIME type in an executed notebook."""
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            if mime in output.get("data", {}):
                yield output["data"][mime]


GLUED = re.compile(r"\{glue:text\}`(\w+)(?::([^`]*))?`")
ROLE = re.compile(r"\{(?:doc|cite)\}`([^`]+)`")
# An interval of nothing, with the words around it: "(95 % interval *not measured* to …)".
EMPTY = re.compile(rf" \((?:95 % interval )?\*{UNMEASURED}\* to \*{UNMEASURED}\*\)")
PRINTED = "printed_"  # what a paper prints is no less so where nothing of ours is measured
NO_NUMBER = ("nan", "inf", "-inf")  # without bounds it says as little as one that is missing


def glued(notebook: dict[str, Any]) -> dict[str, str]:
    """Return what an executed notebook stored for its prose: the text of each value by its name."""
    found = {}
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            if about := output.get("metadata", {}).get("scrapbook"):
                text = output["data"][about["mime_prefix"] + "text/plain"]
                found[about["name"]] = "".join(text)
    return found


def _numbers(notebook: dict[str, Any], everything: bool) -> bool:
    """Write numbers into the prose, in place; return whether the page is a smoke test.

    What is no result becomes the words "not measured": a number that is missing, and of a smoke
    test every one but those called ``printed_…``, which a paper prints. The others are written out
    where `everything` is. An interval of which neither end is known goes away.
    """
    values = glued(notebook)
    smoke = any(facts["profile"] == "smoke" for facts in outputs(notebook, SOURCE_MIME))

    def number(match: re.Match[str]) -> str:
        name, form = match[1], match[2] or ""
        known = values.get(name, "nan") not in NO_NUMBER
        if not (everything or smoke) and (known or name not in values):
            return match[0]  # MyST writes it, and warns of a name that is not there
        if not known or (smoke and not name.startswith(PRINTED)):
            return f"*{UNMEASURED}*"
        return format(ast.literal_eval(values[name]), form)

    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            cell["source"] = EMPTY.sub("", GLUED.sub(number, "".join(cell["source"])))
    return smoke


def fill_in(notebook: dict[str, Any]) -> dict[str, Any]:
    """Write the stored numbers into the prose, in place, for viewers that know no MyST.

    The book does it when it is built; this is for JupyterLab and for pages made by nbconvert. Of a
    cross-reference the words or the name of the page are left, of a citation its key.

    >>> cell = {"cell_type": "markdown", "source": "{glue:text}`gap:+.1f`, {doc}`../ld-fig1`"}
    >>> about = {"scrapbook": {"name": "gap", "mime_prefix": "x/"}}
    >>> output = {"metadata": about, "data": {"x/text/plain": "0.25"}}
    >>> page = {"cells": [cell, {"cell_type": "code", "outputs": [output]}]}
    >>> fill_in(page)["cells"][0]["source"]
    '+0.2, *ld-fig1*'
    """

    def reference(match: re.Match[str]) -> str:
        words, _, target = match[1].partition(" <")
        return f"*{words if target else words.rpartition('/')[2]}*"

    _numbers(notebook, everything=True)
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            cell["source"] = ROLE.sub(reference, cell["source"])
        elif "outputs" in cell:  # what is stored is written now, and viewers cannot show it
            told = [o for o in cell["outputs"] if "scrapbook" not in o.get("metadata", {})]
            cell["outputs"] = told
    return notebook


def hide_unmeasured(notebook: dict[str, Any]) -> dict[str, Any]:
    """Replace, in place, every number that is no result by the words "not measured".

    Where the page is a smoke test, tables of numbers as well.

    >>> words = "It is {glue:text}`gap:+.2f` points ({glue:text}`low` to {glue:text}`high`)."
    >>> cell = {"cell_type": "markdown", "source": words}
    >>> output = {"data": {SOURCE_MIME: {"profile": "smoke"}}}
    >>> page = {"cells": [cell, {"cell_type": "code", "outputs": [output]}]}
    >>> hide_unmeasured(page)["cells"][0]["source"]
    'It is *not measured* points.'
    """
    if _numbers(notebook, everything=False):
        for data in [o.get("data", {}) for c in notebook["cells"] for o in c.get("outputs", [])]:
            if "dataframe" in "".join(data.get("text/html", "")):
                data.clear()
                data |= {"text/html": render("unmeasured.html"), "text/plain": UNMEASURED}
    return notebook
