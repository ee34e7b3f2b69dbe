"""What a notebook says: numbers for the prose, verdict boxes, provenance lines.

Everything is stored in the executed notebook's own outputs, where the book finds it: a verdict is
an output with a MIME type of its own beside the HTML box that people see.
"""

from __future__ import annotations

import html
import json
import os
from collections import Counter
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rgkit.method.spec import nearest
from rgkit.runs.grid import Grid
from rgkit.stats.verdicts import UNMEASURED, VERDICTS

if TYPE_CHECKING:
    from rgkit.runs.results import Results  # with pandas, which building the book does not need

VERDICT_MIME = "application/vnd.rgkit.verdict+json"
SOURCE_MIME = "application/vnd.rgkit.provenance+json"
BOOK = Path(__file__).resolve().parents[2] / "book"
LEDGERS = (BOOK / "claims.yml", BOOK / "predictions.yml")

# A verdict speaks of the setting that was measured; below the paper's own, the box says so.
LIMITS = {
    "quick": " in this small setting (profile quick): a direction, not the paper's scale",
    "embedded": " on embedded data, not on the paper's",
    "audit": " by the paper's own printed numbers, before any measurement",
    "short": " in a shorter or smaller setting than the paper's (profile short)",
}


@cache
def ledger() -> dict[str, dict[str, Any]]:
    """Return every claim of the three papers, then our predictions, by id.

    Each has its paper ("predictions" for ours) under "paper".

    >>> ledger()["rg-cost"]["says"]
    'no extra cost'
    """
    import yaml

    papers: dict[str, list[dict[str, Any]]] = {}
    for path in LEDGERS:
        papers |= yaml.safe_load(path.read_text())
    return {
        claim["id"]: claim | {"paper": paper}
        for paper, claims in papers.items()
        for claim in claims
    }


def _display(bundle: dict[str, Any], metadata: dict[str, Any] | None = None) -> None:
    from IPython.display import display

    display(bundle, raw=True, metadata=metadata or {})  # type: ignore[no-untyped-call]


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


def _plain(interval: tuple[float, float] | None, unit: str) -> str:
    return "—" if interval is None else f"[{interval[0]:+.2f}, {interval[1]:+.2f}] {unit}"


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
        One of `rgkit.stats.verdicts.VERDICTS`; a smoke test always says "not measured".
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
        raise ValueError(f"unknown claim {claim!r}{nearest(claim, list(claims))}")
    if verdict not in VERDICTS:
        raise ValueError(f"verdict={verdict!r} given{nearest(verdict, list(VERDICTS))}")
    if profile == "smoke":
        verdict, measured = UNMEASURED, "smoke test only"
    if verdict == UNMEASURED:  # NaN is no number for the pages that are made of it
        interval, detectable = None, None
    entry = {
        "claim": claim,
        "verdict": verdict,
        "measured": measured,
        "interval": interval,
        "detectable": detectable,
        "profile": profile,
        "seeds": seeds,
        "unit": unit,
    }
    who, what, limit = "The claim", html.escape(says), f" (profile {profile})"
    if not says:
        facts = claims[claim]
        who = "The theory says" if facts["paper"] == "predictions" else "The paper said"
        what = f"{html.escape(facts['says'])} ({facts['where']}, <code>{claim}</code>)"
        limit = LIMITS.get(profile, "")
    rows = {
        who: what,
        "We measured": html.escape(measured),
        "95 % interval": _plain(interval, unit),
        "Smallest detectable effect": "—" if detectable is None else f"{detectable:.2f} {unit}",
        "Verdict": f"<strong>{verdict}</strong>{limit}",
    }
    body = "".join(f"<tr><th>{k}</th><td>{v}</td></tr>" for k, v in rows.items())
    kind = verdict.split()[0].replace("not", "unmeasured")
    box = f'<div class="verdict verdict-{kind}"><table>{body}</table></div>'
    text = f"{claim}: {verdict}. {measured} {_plain(interval, unit)}"
    _display({"text/html": box, "text/plain": text, VERDICT_MIME: entry})


def provenance(*what: Results | Grid, records_url: str = "../../results") -> None:
    """Show where a page's numbers come from, and hand it to the status page.

    The first of several results is the page's main one: its profile is the page's.
    """
    every = {r.key: r for w in what if not isinstance(w, Grid) for r in w.records}
    records = tuple(every.values())
    grid = what[0] if isinstance(what[0], Grid) else what[0].grid
    notebook = os.environ.get("RGKIT_NOTEBOOK") or os.environ.get("JPY_SESSION_NAME", "notebook")
    facts = {
        "notebook": notebook,
        "parameters": json.loads(os.environ.get("RGKIT_PARAMETERS", "{}")),
        "profile": grid.profile,
        "runs": len(records),
        "seconds": round(sum(r.source["seconds"] for r in records)),
        "arithmetics": dict(Counter(r.arithmetic for r in records).most_common()),
        "devices": sorted({r.source["device"] for r in records}),
        "commits": sorted({r.source["commit"] for r in records}),
        "dates": sorted({r.source["date"] for r in records}),
    }
    given = ", ".join(f"{k}={v}" for k, v in facts["parameters"].items()) or "as committed"
    words = [f"{Path(notebook).stem}: profile {grid.profile}, parameters {given}"]
    if records:
        words.append(f"{len(records)} records, {facts['seconds'] / 60:.0f} minutes of training")
        words.append(f"on {', '.join(facts['devices'])}")
        if len(facts["arithmetics"]) > 1:
            words.append(" and ".join(f"{n} in {name}" for name, n in facts["arithmetics"].items()))
        words.append(f"{' to '.join(dict.fromkeys((facts['dates'][0], facts['dates'][-1])))}")
        words.append(f"commit {', '.join(facts['commits'])}")
    kept = [] if grid.profile == "smoke" else records
    links = " ".join(
        f'<a href="{records_url}/{r.config.task}/{r.key}.json">{r.key[:8]}</a>' for r in kept
    )
    more = f"<details><summary>the records</summary>{links}</details>" if links else ""
    line = html.escape("; ".join(words))
    _display(
        {
            "text/html": f'<p class="provenance">{line}</p>{more}',
            "text/plain": "; ".join(words),
            SOURCE_MIME: facts,
        }
    )
