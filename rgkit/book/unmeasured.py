"""Numbers in prose: written out where a viewer cannot, and taken away where nothing is measured.

A smoke test trains on toy data, to see that every line of a notebook runs. Its figures are stamped;
here its numbers are taken out of the page that readers see.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Any

from rgkit.book.report import SOURCE_MIME
from rgkit.stats.verdicts import UNMEASURED

GLUED = re.compile(r"\{glue:text\}`(\w+)(?::([^`]*))?`")
ROLE = re.compile(r"\{(?:doc|cite)\}`([^`]+)`")
# An interval of nothing, with the words around it: "(95 % interval *not measured* to …)".
EMPTY = re.compile(rf" \((?:95 % interval )?\*{UNMEASURED}\* to \*{UNMEASURED}\*\)")
PRINTED = "printed_"  # what a paper prints is no less so where nothing of ours is measured
NO_NUMBER = ("nan", "inf", "-inf")  # without bounds it says as little as one that is missing
TABLE = f'<p class="unmeasured">A table of numbers: {UNMEASURED}, a smoke test only.</p>'


def _outputs(notebook: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for cell in notebook["cells"]:
        yield from cell.get("outputs", [])


def glued(notebook: dict[str, Any]) -> dict[str, str]:
    """Return what an executed notebook stored for its prose: the text of each value by its name."""
    found = {}
    for output in _outputs(notebook):
        about = output.get("metadata", {}).get("scrapbook")
        if about:
            found[about["name"]] = "".join(output["data"][about["mime_prefix"] + "text/plain"])
    return found


def _smoke(notebook: dict[str, Any]) -> bool:
    facts = [o["data"][SOURCE_MIME] for o in _outputs(notebook) if SOURCE_MIME in o.get("data", {})]
    return any(fact["profile"] == "smoke" for fact in facts)


def fill_in(notebook: dict[str, Any]) -> dict[str, Any]:
    """Write the stored numbers into the prose, in place, for viewers that know no MyST.

    The book does it when it is built; this is for JupyterLab and for pages made by nbconvert. A
    number of a smoke test is no result and is not written. Of a cross-reference the words or the
    name of the page are left, of a citation its key.

    >>> cell = {"cell_type": "markdown", "source": "{glue:text}`gap:+.1f`, {doc}`../ld-fig1`"}
    >>> about = {"scrapbook": {"name": "gap", "mime_prefix": "x/"}}
    >>> output = {"metadata": about, "data": {"x/text/plain": "0.25"}}
    >>> page = {"cells": [cell, {"cell_type": "code", "outputs": [output]}]}
    >>> fill_in(page)["cells"][0]["source"]
    '+0.2, *ld-fig1*'
    """
    values, smoke = glued(notebook), _smoke(notebook)

    def number(match: re.Match[str]) -> str:
        value = values.get(match[1], "nan")
        if value in NO_NUMBER or (smoke and not match[1].startswith(PRINTED)):
            return f"*{UNMEASURED}*"
        return format(ast.literal_eval(value), match[2] or "")

    def reference(match: re.Match[str]) -> str:
        words, _, target = match[1].partition(" <")
        return f"*{words if target else words.rpartition('/')[2]}*"

    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            said = GLUED.sub(number, "".join(cell["source"]))
            cell["source"] = ROLE.sub(reference, EMPTY.sub("", said))
        elif "outputs" in cell:  # what is stored is written now, and viewers cannot show it
            stored = [o for o in cell["outputs"] if "scrapbook" in o.get("metadata", {})]
            cell["outputs"] = [o for o in cell["outputs"] if o not in stored]
    return notebook


def hide_unmeasured(notebook: dict[str, Any]) -> dict[str, Any]:
    """Replace, in place, every number that is no result by the words "not measured".

    Numbers in prose that are missing; and where the page is a smoke test, all tables and all
    numbers in prose but those called ``printed_…``, which a paper prints: they are written out.
    An interval of which neither end is known goes away.

    >>> words = "It is {glue:text}`gap:+.2f` points ({glue:text}`low` to {glue:text}`high`)."
    >>> cell = {"cell_type": "markdown", "source": words}
    >>> output = {"data": {SOURCE_MIME: {"profile": "smoke"}}}
    >>> page = {"cells": [cell, {"cell_type": "code", "outputs": [output]}]}
    >>> hide_unmeasured(page)["cells"][0]["source"]
    'It is *not measured* points.'
    """
    values, smoke = glued(notebook), _smoke(notebook)
    missing = {name for name, value in values.items() if value in NO_NUMBER}

    def said(match: re.Match[str]) -> str:
        if smoke and match[1].startswith(PRINTED) and match[1] in values:
            return format(float(values[match[1]]), match[2] or "")
        return f"*{UNMEASURED}*" if smoke or match[1] in missing else match[0]

    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            cell["source"] = EMPTY.sub("", GLUED.sub(said, "".join(cell["source"])))
    for output in _outputs(notebook):
        if smoke and "dataframe" in "".join(output.get("data", {}).get("text/html", "")):
            output["data"] = {"text/html": TABLE, "text/plain": UNMEASURED}
    return notebook
