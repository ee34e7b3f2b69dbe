"""The pages that nobody types: the scorecard as a table, its data, and the status page."""

from __future__ import annotations

import csv
import html
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from rgkit.book.findings import PAPERS, Row, badge
from rgkit.book.report import SOURCE_MIME, VERDICT_MIME, ledger
from rgkit.stats.verdicts import UNMEASURED, VERDICTS

# What the columns of the papers' tables are called here; a name speaks for itself.
COLUMNS = dict.fromkeys(("model", "method", "backbone"), "") | {
    "lr": "rate",
    "rg": "RG",
    "sigma": "σ",
    "miou": "mean IoU",
    "printed_map": "mAP",
    "params_m": "parameters (M)",
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
    "top1": "top 1",
    "top5": "top 5",
}
HEADS = (
    "claim",
    "the paper says",
    "the paper's value",
    "verdict; profile, repeats",
    "we measured",
    "95 % interval; detectable",
)
# A row's second half, where nothing is measured.
NOTHING: Row = {
    "verdict": UNMEASURED,
    "measured": "not yet measured",
    "interval": None,
    "detectable": None,
    "unit": "",
    "profile": "",
    "seeds": 0,
    "page": "",
}
LEFT_OUT = ("ap", "stages")  # one number for each class; how wide a network is
NO_VALUE = {"curve": "only a curve", "picture": "only pictures", "statement": "no number"}


def printed(facts: Mapping[str, Any]) -> str:
    """Return what the paper prints for a claim of the ledger: the rows of its table, or a value.

    >>> printed({"kind": "number", "rows": [{"method": "baseline", "miou": 62.13}]})
    'baseline, mean IoU 62.13'
    >>> printed({"kind": "curve"})
    'only a curve'
    """
    lines = []
    for row in facts.get("rows", ()):
        named = {COLUMNS.get(k, k): v for k, v in row.items() if k not in LEFT_OUT}
        lines.append(", ".join(f"{k} {v}".strip() for k, v in named.items()))
    return "; ".join(lines) or facts.get("value") or NO_VALUE[facts["kind"]]


def outputs(notebook: Mapping[str, Any], mime: str) -> Iterator[Any]:
    """Yield every output of one MIME type in an executed notebook."""
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            if mime in output.get("data", {}):
                yield output["data"][mime]


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
        table.append(row | NOTHING | found.get(claim, {}))
    return table


def _cell(text: object) -> str:
    return html.escape(str(text))


def _small(text: str) -> str:
    return f"<small>{_cell(text)}</small>" if text else ""


def as_html(table: list[Row], up: str = "../") -> str:
    """Return the scorecard as an HTML table with its filter buttons."""
    lines = ['<div class="scorecard-filters">']
    for kind, values in (("verdict", VERDICTS), ("paper", tuple(PAPERS))):
        options = "".join(
            f'<button type="button" data-filter="{kind}" data-value="{_cell(v)}">'
            f"{_cell(PAPERS.get(v, v))}</button>"
            for v in values
            if any(row[kind] == v for row in table)
        )
        lines.append(f'<span class="scorecard-group">{options}</span>')
    lines.append(
        '</div><div class="scorecard-scroll"><table class="scorecard dataframe"><thead><tr>'
    )
    lines += [f"<th>{h}</th>" for h in HEADS]
    lines.append("</tr></thead><tbody>")
    for row in table:
        name = f"<code>{row['claim']}</code><br>{PAPERS[row['paper']]}, {_cell(row['where'])}"
        link = f'<a href="{up}{row["page"]}.html">{name}</a>' if row["page"] else name
        low_high, unit = row["interval"], _cell(row["unit"])
        interval = f"[{low_high[0]:+.2f}, {low_high[1]:+.2f}] {unit}" if low_high else "—"
        smallest = "" if row["detectable"] is None else f"{row['detectable']:.2f} {unit}"
        made = f"{row['profile']}, {row['seeds']}" if row["profile"] else ""
        value = _cell(row["printed"]).replace("; ", "<br>") or "—"
        verdict = f'<span class="{badge(row["verdict"])}">{row["verdict"]}</span>{_small(made)}'
        found = f"{interval}{_small(smallest)}"
        values = (link, _cell(row["says"]), value, verdict, _cell(row["measured"]), found)
        data = f'data-verdict="{_cell(row["verdict"])}" data-paper="{row["paper"]}"'
        lines.append(f"<tr {data}>" + "".join(f"<td>{v}</td>" for v in values) + "</tr>")
    return "\n".join([*lines, "</tbody></table></div>"])


def as_csv(table: list[Row]) -> str:
    """Return the scorecard as CSV, the two ends of an interval in columns ``low`` and ``high``."""
    flat = []
    for row in table:
        low, high = row["interval"] or ("", "")
        ends: Row = {"low": low, "high": high}
        items = [ends if k == "interval" else {k: v} for k, v in row.items()]
        flat.append({k: v for item in items for k, v in item.items()})
    text = io.StringIO()
    writer = csv.DictWriter(text, list(flat[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    return text.getvalue()


def status(executed: Mapping[str, Mapping[str, Any]], failed: Mapping[str, str]) -> str:
    """Return the status page's table (Markdown): where each notebook's numbers come from."""
    lines = [
        "| notebook | profile | runs | training | device | measured | commit | executed in |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for page, notebook in executed.items():
        facts = next(outputs(notebook, SOURCE_MIME), None)
        name = Path(page).name
        if page in failed or facts is None:
            lines.append(f"| [{name}](/{page}) | **failed**: {failed.get(page, '')} | | | | | | |")
            continue
        seconds = notebook["metadata"].get("papermill", {}).get("duration") or 0.0
        values = (
            f"[{name}](/{page})",
            facts["profile"],
            facts["runs"],
            f"{facts['seconds'] / 60:.0f} min" if facts["runs"] else "—",
            ", ".join(facts["devices"]) or "—",
            ", ".join(dict.fromkeys(facts["dates"][:1] + facts["dates"][-1:])) or "—",
            ", ".join(facts["commits"]) or "—",
            f"{seconds:.0f} s",
        )
        lines.append("| " + " | ".join(map(str, values)) + " |")
    return "\n".join(lines) + "\n"


def pictures(notebook: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield name and base64 PNG of each figure whose cell has a tag ``picture-name``."""
    for cell in notebook["cells"]:
        for tag in cell["metadata"].get("tags", []):
            if tag.startswith("picture-"):
                for png in outputs({"cells": [cell]}, "image/png"):
                    yield tag.removeprefix("picture-"), png


def predictions(table: Iterable[Row]) -> str:
    """Return where each of our own predictions stands (Markdown), linked to its chapter."""
    lines = ["| | the theory says | verdict | tested in |", "|---|---|---|---|"]
    for row in table:
        if row["paper"] == "predictions":
            number = row["claim"].removeprefix("prediction-")
            page = f"[{Path(row['page']).name}](/{row['page']})" if row["page"] else "—"
            kind = f"{row['verdict']} ({row['profile']})" if row["page"] else row["verdict"]
            lines.append(f"| {number} | {row['says']} | {kind} | {page} |")
    return "\n".join(lines) + "\n"


def as_json(table: list[Row]) -> str:
    """Return the scorecard as JSON."""
    return json.dumps(table, indent=1, ensure_ascii=False) + "\n"
