"""Each arm at its own best setting, chosen on validation images and never on the test set.

And how soon a run is as good as wanted, which a setting may be judged by, too.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from rgkit.runs.config import Trained
from rgkit.runs.grid import Cell, Grid
from rgkit.runs.results import Results

PART = 1 / 6  # of a run, over whose last epochs the validation accuracy is averaged


def _groups(tuning: Results, axis: str) -> list[str]:
    groups = [a for a in tuning.grid.axes if a not in (axis, "seed")]
    if not groups:
        raise ValueError(f"the grid has the axes {tuning.grid.axes}; it needs one more, as 'arm'")
    return groups


def _whole(
    tuning: Results, axis: str, last: int = 0
) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    """Yield labels and scored runs of each group of which no run is missing."""
    groups = _groups(tuning, axis)
    for place, tried in scores(tuning, last).groupby(groups, sort=False):
        if not tried["score"].isna().any():
            yield dict(zip(groups, place, strict=True)), tried


def chosen(tuning: Results, last: int = 0) -> pd.DataFrame:
    """Return the best learning rate for every group of runs that differ in it and in the seed.

    The best rate has the highest validation accuracy, averaged over the last epochs (a run whose
    learning rate is never decayed jumps from one to the next) and over the tuning seeds. A run
    that diverged counts as chance.

    Parameters
    ----------
    tuning : results of a grid with ``validation=True``
    last : epochs; 0 is a sixth of the run, five of thirty

    Returns
    -------
    DataFrame, a row a group, with the labels of the group as its index: the chosen ``lr``, its
    ``validation`` accuracy, and ``edge``, whether it is the smallest or the largest that was
    tried, so that a better one may lie beyond. A group of which a run is missing has no row: a
    choice among some of the candidates is none.
    """
    groups, rows = _groups(tuning, "lr"), []
    for labels, tried in _whole(tuning, "lr", last):
        means = tried.groupby("lr")["score"].mean()
        best = means.idxmax()
        edge = len(means) > 1 and best in (means.index.min(), means.index.max())
        rows.append(labels | {"lr": best, "validation": means.max(), "edge": edge})
    return pd.DataFrame(rows, columns=[*groups, "lr", "validation", "edge"]).set_index(groups)


def scores(tuning: Results, last: int = 0) -> pd.DataFrame:
    """Return every run with ``score``, its validation accuracy over the last epochs.

    It is NaN where the run is missing and chance where it diverged. Raises ValueError for a run
    that held no images out.
    """
    found = {}
    for record in tuning.records:
        assert isinstance(record.config, Trained)
        held = record.config.measure.replace("test_", "validation_")
        if held not in record.epochs:
            raise ValueError(f"run {record.key} has no validation images; give validation=True")
        values = record.epochs[held] if record.status == "finished" else [record.config.chance]
        values = values[-(last or max(1, round(PART * len(values)))) :]
        found[record.key] = sum(values) / len(values)
    return tuning.runs.assign(score=tuning.runs["key"].map(found).astype(float))


def two_or_more(seeds: int) -> int:
    """Return a number of seeds for `crossfit`, 0 for the profile's; ValueError for a single one.

    A notebook asks before it trains.

    >>> two_or_more(0)
    0
    """
    if seeds == 1:
        raise ValueError("seeds=1 given; the others choose for each, so it takes two or more")
    return seeds


def crossfit(tuning: Results, axis: str = "lr") -> pd.DataFrame:
    """Return the final test accuracy of every seed at the value that the other seeds choose.

    A value of the axis is chosen on validation images, as a rate is by `chosen`, but without the
    run that is then reported. That needs no run beyond the grid and is as free of the choice's
    luck as fresh seeds; the seeds of the result are then not quite independent of each other.

    Returns
    -------
    DataFrame, a row a group and seed: its labels, the chosen value under the name of the axis, and
    ``final``; a group of which a run is missing has no row. Raises ValueError for a single seed.
    """
    groups, rows = _groups(tuning, axis), []
    for labels, tried in _whole(tuning, axis):
        table = tried.pivot_table(index=axis, columns="seed", values="score")
        two_or_more(table.shape[1])
        for seed in table:
            best = table.drop(columns=seed).mean(axis=1).idxmax()
            run = tried[(tried[axis] == best) & (tried["seed"] == seed)].iloc[0]
            rows.append(labels | {axis: best, "seed": seed, "final": run["final"]})
    return pd.DataFrame(rows, columns=[*groups, axis, "seed", "final"])


def at_best(tuning: Results, seeds: Iterable[int], last: int = 0) -> Grid:
    """Return the grid of every group at its chosen rate, with fresh seeds and nothing held out.

    What is not chosen yet, because runs of `tuning` are missing, is not in it. The plan takes it
    after the search.

    Parameters
    ----------
    tuning : results of a grid with ``validation=True``
    seeds : others than those of `tuning`, so that no luck is carried over
    last : see `chosen`

    Raises ValueError for a seed that the rate was chosen with.
    """
    again = sorted(set(seeds) & {cell.labels["seed"] for cell in tuning.grid})
    if again:
        raise ValueError(f"seeds={again} given; the lr was chosen with them, take others")
    cells = []
    for best in chosen(tuning, last).reset_index().to_dict("records"):
        labels = {name: best[name] for name in [*_groups(tuning, "lr"), "lr"]}
        like = next(c for c in tuning.grid if labels.items() <= dict(c.labels).items())
        for seed in seeds:
            config = like.config.replace(seed=seed, validation=0)
            cells.append(Cell(labels | {"seed": seed}, config, like.priority + 1))
    return replace(tuning.grid, cells=tuple(cells), note="")


def epochs_to(results: Results, targets: Sequence[float]) -> pd.DataFrame:
    """Return for each run the first epoch at or above each target, a row a run and target.

    Parameters
    ----------
    results : of any grid; runs that are missing have no rows
    targets : test accuracies in percent, or mean IoU where runs are judged by that

    Returns
    -------
    The labels of the runs, ``target``, and ``reached``, infinite for a run that never gets there,
    diverged ones among them. ``restricted`` is then one more than the length of the run: the
    restricted-mean convention, in which it counts as late, not as missing. ``images`` is the same
    in images trained on.
    """
    rows, records = [], {record.key: record for record in results.records}
    for run in results.runs[results.runs["status"] != "missing"].to_dict("records"):
        record = records[run["key"]]
        assert isinstance(record.config, Trained)
        accuracy = np.array(record.epochs[record.config.measure])
        for target in targets:
            at = np.flatnonzero(accuracy >= target)
            reached = float(at[0] + 1) if at.size else math.inf
            late = min(reached, record.config.epochs + 1.0)
            found = {"target": target, "reached": reached, "restricted": late}
            found["images"] = late * record.config.trained_on
            rows.append({axis: run[axis] for axis in results.grid.axes} | found)
    return pd.DataFrame(rows)
