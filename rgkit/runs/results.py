"""What a grid measured, as tidy tables."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from rgkit.runs.config import Trained
from rgkit.runs.grid import Grid
from rgkit.runs.records import Record, Store


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
    """Return the tidy tables of a grid; a missing run is a row with the status "missing".

    >>> from rgkit.runs.grid import cross
    >>> from rgkit.runs.config import Classification
    >>> grid = Grid(cross(Classification(lr=0.123), {"seed": [0, 1]}))
    >>> collect(grid).runs["status"].tolist()
    ['missing', 'missing']
    """
    store = store or Store()
    rows, long, records = [], [], []
    for cell in grid:
        record, labels = store.get(cell.config), dict(cell.labels)
        if record is None:
            nothing = dict.fromkeys(["key", "final", "best", "arithmetic"], np.nan)
            rows.append(labels | {"status": "missing"} | nothing)
            continue
        records.append(record)
        row = labels | {
            "key": record.key,
            "status": record.status,
            "seconds": record.source["seconds"],
            "device": record.source["device"],
            "arithmetic": record.arithmetic,
        }
        # A grid may have an axis of that name; what an epoch trained with is another thing.
        frame = pd.DataFrame(record.epochs).rename(columns={"lr": "lr_now"})
        if isinstance(record.config, Trained):
            chance, values = record.config.chance, record.epochs[record.config.measure]
            row["final"] = values[-1] if record.status == "finished" else chance
            row["best"] = max([chance, *values])
        rows.append(row)
        frame.insert(0, "epoch", range(1, len(frame) + 1))
        long.append(frame.assign(**labels, key=record.key))
    epochs = pd.concat(long, ignore_index=True) if long else pd.DataFrame()
    columns = None if rows else [*grid.axes, "status", "key", "final", "best"]
    return Results(grid, tuple(records), pd.DataFrame(rows, columns=columns), epochs)
