"""Numbers in prose: written out where a viewer cannot, and taken away where nothing is measured.

A smoke test trains on toy data, to see that every line of a notebook runs. Its figures are stamped;
here its numbers are taken out of the page that readers see.
"""

from __future__ import annotations

import ast
import re
from typing import Any

from rgkit.book.report import SOURCE_MIME, outputs, render
from rgkit.stats.verdicts import UNMEASURED

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
