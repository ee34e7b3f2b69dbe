"""The same run twice: how far apart rounding alone takes two runs of one config.

On a CPU a config gives the same numbers every time. A GPU may add in another order from one launch
to the next, and training blows a last digit up until the two runs are strangers. `Store.put` keeps
the later of two such runs beside the first one, which stays the one that counts.
"""

from __future__ import annotations

import math

import pandas as pd

from rgkit.chapters.library import rate_of
from rgkit.runs.config import Trained
from rgkit.runs.records import Store
from rgkit.runs.results import Results

COLUMNS = ["arm", "momentum", "weight_decay", "key", "rate", "first", "again", "apart"]


def repeated(results: Results, store: Store | None = None) -> pd.DataFrame:
    """Return the runs that were finished more than once, a row for each later run.

    Parameters
    ----------
    results : of a grid with the axis ``arm``
    store : where the later runs lie

    Returns
    -------
    DataFrame: arm, momentum, weight_decay and ``key`` of the run; ``rate``, "decayed" or "never
    decayed"; ``first`` and ``again``, what both ended at; ``apart``, the second minus the first

    Examples
    --------
    >>> import tempfile
    >>> from rgkit.runs.results import collect
    >>> from rgkit.runs.profiles import classification
    >>> grid = classification("smoke", arm=["plain"])
    >>> len(repeated(collect(grid, Store(tempfile.mkdtemp()))))
    0
    """
    store, rows = store or Store(), []
    arms = {cell.config: cell.labels["arm"] for cell in results.grid}
    for record in results.records:
        config = record.config
        assert isinstance(config, Trained)
        for later in map(store.read, store.repeats(config)):
            if record.status == later.status == "finished":
                first, again = (r.epochs[config.measure][-1] for r in (record, later))
                found = {"arm": arms[config], "key": record.key, "rate": rate_of(config)}
                ends = {"first": first, "again": again, "apart": again - first}
                rows.append(vars(config) | found | ends)
    return pd.DataFrame(rows, columns=COLUMNS)


def spread(apart: pd.Series) -> float:
    """Return the standard deviation of one run, from the distances of two; NaN without any.

    >>> round(spread(pd.Series([3.0, -3.0])), 3)
    2.121
    """
    return math.sqrt((apart**2).mean() / 2) if len(apart) else math.nan
