"""The pages that nobody types: the verdicts collected, where numbers come from, speed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from rgkit.book.notebook import ROOT
from rgkit.book.report import SOURCE_MIME, VERDICT_MIME, outputs, render
from rgkit.stats.differences import UNMEASURED, ledger

PAPERS = {
    "random-gradient": "Random Gradient",
    "loss-decay": "Loss Decay",
    "calibrated-sgd": "Calibrated SGD",
    "predictions": "Our predictions",
}
Row = dict[str, Any]
# What is said of a claim that no notebook has judged.
MISSING: Row = {"verdict": UNMEASURED, "measured": "not yet measured", "interval": None}
MISSING |= {"detectable": None, "unit": "", "profile": "", "seeds": 0, "page": ""}
BEGIN, END = "<!-- found: made by `rgkit readme` -->", "<!-- end -->"
README, PICTURE = ROOT / "README.md", ROOT / "book" / "_static" / "headline.png"


def printed(facts: Mapping[str, Any]) -> str:
    """Return what the paper prints for a claim of the ledger: the rows of its table, or a value.

    >>> printed({"kind": "number", "rows": [{"method": "baseline", "miou": 62.13}]})
    'baseline, mean IoU 62.13'
    >>> printed({"kind": "curve"})
    'only a curve'
    """
    return render("printed.txt", claim={"rows": [], "value": "", **facts})


def rows(executed: Mapping[str, Mapping[str, Any]]) -> list[Row]:
    """Return one row for every claim of the ledger, in its order.

    Parameters
    ----------
    executed : executed notebooks by their path from the repository's root, without suffix
    """
    found: dict[str, Row] = {}
    for page, notebook in executed.items():
        for entry in outputs(notebook, VERDICT_MIME):
            found[entry["claim"]] = entry | {"page": page}
    table = []
    for claim, facts in ledger().items():
        row = {"claim": claim} | {name: facts[name] for name in ("paper", "where", "says")}
        row["printed"] = "" if facts["paper"] == "predictions" else printed(facts)
        table.append(row | MISSING | found.get(claim, {}))
    return table


def page(template: str, table: list[Row]) -> str:
    """Return a page on the verdicts: a template of `answer`, `predictions`, `scorecard`, `readme`.

    >>> page("predictions.md", rows({})).splitlines()[0]
    '| | the theory says | verdict | tested in |'
    """
    papers = {title: [r for r in table if r["paper"] == paper] for paper, title in PAPERS.items()}
    return render(template, table=table, papers=papers)


def as_csv(table: list[Row]) -> str:
    """Return the scorecard as CSV, the two ends of an interval in columns ``low`` and ``high``."""
    frame = pd.DataFrame(table)
    place, ends = list(frame).index("interval"), frame.pop("interval")
    for shift, name in enumerate(("low", "high")):
        frame.insert(place + shift, name, [known and known[shift] for known in ends])
    return frame.to_csv(index=False)


def status(executed: Mapping[str, Mapping[str, Any]], failed: Mapping[str, str]) -> str:
    """Return the status page's table (Markdown): where each notebook's numbers come from."""
    pages = {}
    for page, notebook in executed.items():
        seconds = notebook["metadata"].get("papermill", {}).get("duration") or 0.0
        facts = next(outputs(notebook, SOURCE_MIME), None)
        pages[page] = facts and facts | {"duration": seconds}
    return render("status.md", pages=pages, failed=failed)


def bench(folder: Path) -> str:
    """Return the speed page (Markdown): the newest measurement of each device, no quick one.

    >>> bench(Path("no such folder"))
    'Nothing has been measured yet: `make bench` does it.\\n'
    """
    newest: dict[str, Row] = {}
    for path in sorted(folder.glob("*.json"), key=lambda path: int(path.suffixes[-2][1:])):
        found = json.loads(path.read_text("utf-8"))
        if not found["quick"]:
            newest[path.name.partition(".")[0]] = found
    return render("bench.md", measured=[found for _, found in sorted(newest.items())])


def findings(output: Path) -> str:
    """Return the text of README.md with the findings of a built book between its marks."""
    head, _, rest = README.read_text("utf-8").partition(BEGIN)
    found = page("readme.md", json.loads((output / "html" / "scorecard.json").read_text("utf-8")))
    return f"{head}{BEGIN}\n{found}{END}{rest.partition(END)[2]}"


def readme(output: Path) -> int:
    """Write the findings of a built book into README.md, and its picture beside the book's own."""
    from PIL import Image  # comes with matplotlib

    README.write_text(findings(output), "utf-8")
    # A palette is enough for lines on white, and a fifth of the size in every later commit.
    picture = Image.open(output / "source" / "book" / "_generated" / "headline.png")
    picture.convert("RGB").quantize(128).save(PICTURE, optimize=True)
    return 0
