"""Load what is recorded, train what is missing, and return tidy tables."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from rgkit.runs.grid import Grid, in_order
from rgkit.runs.kinds import Trained
from rgkit.runs.records import Record, Store
from rgkit.train.pool import run_missing


@dataclass(frozen=True)
class Results:
    """What a grid measured.

    Attributes
    ----------
    runs : DataFrame, a row a run: labels, key, status, final and best accuracy (or mean IoU, see
        `rgkit.runs.config.Trained`), seconds, device
    epochs : DataFrame, a row an epoch of a run: labels, epoch, every metric; the learning rate at
        the end of the epoch is ``lr_now``
    """

    grid: Grid
    records: tuple[Record, ...]
    runs: pd.DataFrame
    epochs: pd.DataFrame


def collect(grid: Grid, store: Store | None = None) -> Results:
    """Return the tidy tables of a grid; a missing run is a row with the status "missing"."""
    store = store or Store()
    rows, long, records = [], [], []
    for cell in grid:
        record = store.get(cell.config)
        row: dict[str, Any] = dict(cell.labels)
        if record is None:
            nothing = dict.fromkeys(["key", "final", "best", "arithmetic"], np.nan)
            rows.append(row | {"status": "missing"} | nothing)
            continue
        records.append(record)
        row |= {"key": record.key, "status": record.status, "seconds": record.source["seconds"]}
        row |= {"device": record.source["device"], "diverged_at": record.diverged_at}
        row["arithmetic"] = record.arithmetic
        if isinstance(record.config, Trained):
            chance, values = record.config.chance, record.epochs[record.config.measure]
            row["final"] = values[-1] if record.status == "finished" else chance
            row["best"] = max([chance, *values])
        rows.append(row)
        # A grid may have an axis of that name; what an epoch trained with is another thing.
        frame = pd.DataFrame(record.epochs).rename(columns={"lr": "lr_now"})
        added = record.config.added if isinstance(record.config, Trained) else ()
        frame = frame.reindex(columns=[*frame, *(name for name in added if name not in frame)])
        frame.insert(0, "epoch", range(1, len(frame) + 1))
        long.append(frame.assign(**dict(cell.labels), key=record.key))
    epochs = pd.concat(long, ignore_index=True) if long else pd.DataFrame()
    columns = None if rows else [*grid.axes, "status", "key", "final", "best"]
    return Results(grid, tuple(records), pd.DataFrame(rows, columns=columns), epochs)


def run(
    grid: Grid,
    *,
    device: str = "auto",
    jobs: int | None = None,
    store: Store | None = None,
    show: bool = True,
) -> Results:
    """Return the results of a grid: load what is recorded, train what is missing.

    A grid that is not to train (`Grid.train`) is only loaded.

    Examples
    --------
    >>> from rgkit.runs.kinds import Classification
    >>> from rgkit.runs.grid import Grid, in_order, cross
    >>> import tempfile
    >>> tiny = Classification(data="digits", images=64, model="resnet8(2)", epochs=1)
    >>> grid = Grid(cross(tiny, {"arm": ["plain"], "seed": [0]}), "smoke")
    >>> run(grid, device="cpu", store=Store(tempfile.mkdtemp()), show=False).runs.status.tolist()
    ['finished']
    """
    if grid.profile == "smoke" and store is None:
        # A smoke test trains every time, and its records are no results: they go away.
        with tempfile.TemporaryDirectory(prefix="rgkit-smoke-") as folder:
            return run(grid, device=device, jobs=1, store=Store(folder), show=show)
    store = store or Store()
    if not grid.train:
        found = collect(grid, store)
        if show:
            print(f"{len(grid)} runs: {len(found.records)} from records, the others not measured")
        return found
    missing = len({store.path(c.config) for c in grid if not store.path(c.config).is_file()})
    bar = "bar" if show else ""
    summary = run_missing(in_order([grid]), store, device=device, jobs=jobs, show=bar)
    for config, error in summary.failed.items():
        raise RuntimeError(f"{len(summary.failed)} runs failed, such as {config.brief()}: {error}")
    if show:
        print(f"{len(grid)} runs: {len(grid) - missing} from records, {missing} trained now")
    return collect(grid, store)
