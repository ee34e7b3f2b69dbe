"""A blind test for readers: two pictures, of which one was made by the trick, and a count."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from rgkit.runs.results import Results

URL = "data:image/webp;base64,"
PAIRS = (("RG", "plain"), ("constant 1/2", "plain"))


def trials(results: Results, pairs: Sequence[tuple[str, str]] = PAIRS) -> list[dict[str, str]]:
    """Return pairs of pictures that two arms of one seed and setting make of one input.

    No picture is in two of them, which would give away that it is of the arm that both have.

    Parameters
    ----------
    results : of a grid whose records keep pictures, see `rgkit.runs.records`
    pairs : two arms each; the answer counts how often the first is preferred

    Returns
    -------
    A dict a pair: ``pair``, the arms with a bar between them, ``first`` and ``second``, data URLs
    """
    kept = {record.key: record.samples for record in results.records}
    cells = [name for name in results.grid.axes if name != "arm"]
    known = results.runs.dropna(subset=["key"]) if "key" in results.runs else results.runs
    found = []
    for turn, (first, second) in enumerate(pairs):
        for _, cell in known.groupby(cells) if cells else [((), known)]:
            keys = cell.set_index("arm")["key"]
            if first in keys and second in keys:
                one, other = (kept[keys[arm]][turn :: len(pairs)] for arm in (first, second))
                for a, b in zip(one, other, strict=False):
                    shown = {"pair": f"{first}|{second}", "first": URL + a, "second": URL + b}
                    found.append(shown)
    return found


def page(asked: list[dict[str, str]]) -> str:
    """Return the test as one piece of HTML, with its pictures and its script in it.

    >>> "Which is clearer" in page([])
    True
    """
    text = files("rgkit.chapters").joinpath("blind.html").read_text("utf-8")
    return text.replace("TRIALS", json.dumps(asked))


def blind_test(results: Results) -> Any:
    """Show the test: the reader chooses, pair by pair, and is told at the end.

    Answers are counted in the page and go nowhere.
    """
    from IPython.display import HTML

    return HTML(page(trials(results)))  # type: ignore[no-untyped-call]
