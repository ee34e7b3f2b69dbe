"""The chapter on the discarded scheduler: its answer in one picture, and runs made twice.

On a CPU a config gives the same numbers every time. A GPU may add in another order from one launch
to the next, and training blows a last digit up until the two runs are strangers. `Store.put` keeps
the later of two such runs beside the first one, which stays the one that counts.
"""

from __future__ import annotations

import math

import pandas as pd
from matplotlib.figure import Figure

from rgkit.chapters.library import rate_of
from rgkit.chapters.lines import grouped
from rgkit.figures.plots import draw_curves
from rgkit.figures.style import canvas, finish, looks, title
from rgkit.runs.config import Trained
from rgkit.runs.records import Store
from rgkit.runs.results import Results

COLUMNS = ["arm", "momentum", "weight_decay", "key", "rate", "first", "again", "apart"]


def answer(fixed: Results, tuned: Results) -> Figure:
    """Draw the curves of each schedule at one rate, and each arm at its own best rate.

    The last panel has the final accuracy of every run at the arm's own learning rate, with the
    mean and its 95 % interval, grouped by schedule, on a scale of its own; it is empty while no
    rate is chosen.
    """
    words = {one: title("schedule", one) for one in fixed.epochs["schedule"].unique()}
    figure, (*curves, last) = canvas(3.2, len(words) + 1, 3.4 * (len(words) + 1))
    for ax, schedule in zip(curves, words, strict=True):
        ax.sharey(curves[0])
        own = fixed.epochs[fixed.epochs["schedule"] == schedule]
        draw_curves(ax, own, "test_accuracy", looks(fixed.epochs["arm"]))
        ax.set(title=f"same rate, {words[schedule]}", xlabel="epoch", ylabel="test accuracy, %")
        ax.label_outer(remove_inner_ticks=True)
    finals = fixed.runs["final"].dropna()
    # The first epochs are far below: what is to be compared would be squeezed into a corner.
    room = finals.max() - finals.min()
    curves[0].set_ylim(finals.min() - 1.2 * room - 1, finals.max() + 0.15 * room + 0.5)
    runs = tuned.runs.dropna(subset=["final"])
    if runs.empty:
        last.text(0.5, 0.5, "not measured yet", ha="center", transform=last.transAxes)
    else:
        grouped(last, runs.assign(schedule=runs["schedule"].map(words)), "schedule", "final")
    last.set(title="each at its own best rate", ylabel="")
    return finish(figure, fixed)


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
