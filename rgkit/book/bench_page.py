"""The bench page: what `make bench` measured on each machine, as tables and bars."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

NOTHING = "Nothing has been measured yet: `make bench` does it.\n"


def latest(folder: Path) -> list[dict[str, Any]]:
    """Return the newest measurement of each device, quick ones left out.

    >>> latest(Path("no such folder"))
    []
    """
    newest: dict[str, tuple[int, dict[str, Any]]] = {}
    for path in folder.glob("*.json"):
        slug, _, number = path.stem.rpartition(".")
        found = json.loads(path.read_text())
        if not found["quick"] and int(number) > newest.get(slug, (0, {}))[0]:
            newest[slug] = int(number), found
    return [found for _, (_, found) in sorted(newest.items())]


def _table(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    lines += ["| " + " | ".join(map(str, row)) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def _times(bounds: Sequence[float], digits: int = 1) -> str:
    middle, low, high = (f"{value:.{digits}f}" for value in bounds)
    return f"**{middle}×** [{low}, {high}]"


def _bars(rows: Mapping[str, float], unit: str) -> str:
    """Horizontal bars with their numbers, as a table that a screen reader can read."""
    longest = max(rows.values())
    body = "".join(
        f'<tr><th scope="row">{html.escape(name)}</th>'
        f'<td><span class="bar" style="width:{100 * value / longest:.1f}%"></span></td>'
        f"<td>{value:,.0f} {unit}</td></tr>"
        for name, value in rows.items()
    )
    return f'```{{raw}} html\n<table class="bars"><tbody>{body}</tbody></table>\n```\n'


def _throughput(found: Mapping[str, Any]) -> str:
    rows = [
        (
            f"`{row['model']}`",
            f"{median(row['paper']):,.0f}",
            f"{median(row['alone']):,.0f}",
            f"{median(row['together']):,.0f} ({row['jobs']} runs)",
            _times(row["ratio_alone"]),
            _times(row["ratio_together"]),
            f"{row['runs_per_hour']:.1f}",
            f"{100 * row['share_of_matrix_rate']:.0f} %",
        )
        for row in found["throughput"]
    ]
    heads = (
        "network", "paper-style loop", "one run", "whole machine", "one run ÷ paper style",
        "machine ÷ paper style", "runs an hour", "of the matrix rate",
    )  # fmt: skip
    return (
        "Training images per second. The *paper-style loop* is what users of the papers' code run: "
        "torchvision's transforms image by image in a DataLoader with two workers, float32, "
        "`.item()` at each step, all cores. Speeds are medians of interleaved blocks, ratios are "
        "geometric means with 95 % intervals. *Runs an hour* is of 30 epochs on all of CIFAR-10; "
        "the *matrix rate* is what this device reaches in large bfloat16 products, one run's share "
        "of it.\n\n" + _table(heads, rows)
    )


def _ways(found: Mapping[str, Any]) -> str:
    bars = {
        f"{row['way']}, {row['jobs']}" if row["jobs"] > 1 else row["way"]: median(
            row["images_per_s"]
        )
        for row in found["ways"]
    }
    best = max(bars, key=bars.__getitem__)
    return (
        f"Several runs of `{found['ways'][0]['model']}` at once, images per second in all; "
        f"the best is *{best}*.\n\n" + _bars(bars, "images/s")
    )


def _choices(found: Mapping[str, Any]) -> str:
    bars = {row["choice"]: median(row["images_per_s"]) for row in found["choices"]}
    model = found["choices"][0]["model"]
    return f"What one step of `{model}` is made of:\n\n" + _bars(bars, "images/s")


def _arithmetics(found: Mapping[str, Any]) -> str:
    rows = [
        (
            f"`{row['model']}`",
            *(f"{median(row[name]):,.0f}" for name in ("float32", "bfloat16", "ours")),
            _times(row["ratio"], 2),
        )
        for row in found["arithmetics"]
    ]
    heads = (
        "network", "plain, float32", "plain, bfloat16", "ours", "time of ours ÷ the faster",
    )  # fmt: skip
    return (
        "Images per second of one run in the arithmetic that "
        "{doc}`the machine chooses <methods>`, and of the same step written out in plain "
        "PyTorch in both, on one batch that lies ready. 1.1 or less is the aim.\n\n"
        + _table(heads, rows)
    )


def _rest(found: Mapping[str, Any]) -> str:
    rows = []
    for row in found["overhead"]:
        mean, low, high = row["percent"]
        what = (
            f"Random Gradient's cost per step of `{row['model']}`, {row['pairs']} pairs of blocks"
        )
        rows.append((what, f"{mean:+.2f} % [{low:+.2f}, {high:+.2f}]"))
    if book := found.get("book"):
        rows += [
            (f"the book of {book['notebooks']} notebooks from records", f"{book['cold']:.1f} s"),
            (
                "the same by papermill, one notebook after the other",
                f"{book['sequential']:.1f} s, {book['sequential'] / book['cold']:.1f}×",
            ),
            ("again, nothing changed", f"{book['warm']:.1f} s"),
            ("again, the slowest notebook changed", f"{book['one_changed']:.1f} s"),
        ]
        if many := book.get("many"):
            what = f"as if it had {many['notebooks']} notebooks: those of today, several times each"
            ratio = many["sequential"] / many["cold"]
            rows.append((what, f"{many['cold']:.1f} s, {ratio:.1f}× faster than papermill"))
    for row in found.get("masked", []):
        what = (
            f"images/s of `{row['model']}` with masks, one run; a loop that reads picture by "
            "picture, on all cores; their ratio"
        )
        speeds = f"{median(row['alone']):,.0f}; {median(row['paper']):,.0f}"
        rows.append((what, f"{speeds}; {_times(row['ratio_alone'])}"))
    for row in found["loading"]:
        rows.append((f"load {row['records']:,} records of 100 epochs", f"{row['seconds']:.2f} s"))
    return _table(("what", "measured"), rows)


def page(folder: Path) -> str:
    """Return the page's Markdown: a section for each device that was measured.

    >>> page(Path("no such folder")) == NOTHING
    True
    """
    sections = []
    for found in latest(folder):
        where = found["source"]
        kind = where.get("processor", "")  # older files lack it, and the next section
        compared = ["### Arithmetic\n", _arithmetics(found)] if "arithmetics" in found else []
        sections += [
            f"## {where['device'].split(',')[0]}, {found['cores']} cores\n",
            f"Measured in one run of {where['seconds'] / 60:.0f} minutes on {where['date']}, "
            f"torch {where['versions']['torch']}, commit {where['commit']}"
            f"{kind and f', {kind}'}.\n",
            "### Training\n",
            _throughput(found),
            "### Several runs at once\n",
            _ways(found),
            "### Precision, memory and threads\n",
            _choices(found),
            *compared,
            "### Everything else\n",
            _rest(found),
        ]
    return "\n".join(sections) or NOTHING
