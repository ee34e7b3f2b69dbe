"""Each arm at its own best setting, chosen on validation images and never on the test set."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pandas as pd

from rgkit.config import Trained
from rgkit.execute import Results
from rgkit.grid import Cell, Grid

PART = 1 / 6  # of a run, over whose last epochs the validation accuracy is averaged


def _groups(tuning: Results, axis: str) -> list[str]:
    groups = [a for a in tuning.grid.axes if a not in (axis, "seed")]
    if not groups:
        raise ValueError(f"the grid has the axes {tuning.grid.axes}; it needs one more, as 'arm'")
    return groups


def _whole(tuning: Results, axis: str, last: int) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    """Yield labels and scored runs of each group of which no run is missing."""
    groups = _groups(tuning, axis)
    for place, tried in scores(tuning, last).groupby(groups, sort=False):
        if not tried["score"].isna().any():
            yield dict(zip(groups, place, strict=True)), tried


def chosen(tuning: Results, axis: str = "lr", last: int = 0) -> pd.DataFrame:
    """Return the best value of an axis for every group of runs that differ in it and in the seed.

    The best value has the highest validation accuracy, averaged over the last epochs (a run whose
    learning rate is never decayed jumps from one to the next) and over the tuning seeds. A run
    that diverged counts as chance.

    Parameters
    ----------
    tuning : results of a grid with ``validation=True``
    axis : the setting that is chosen
    last : epochs; 0 is a sixth of the run, five of thirty

    Returns
    -------
    DataFrame, a row a group, with the labels of the group as its index: the chosen value under the
    name of the axis, its ``validation`` accuracy, and ``edge``, whether it is the smallest or the
    largest that was tried, so that a better one may lie beyond. A group of which a run is missing
    has no row: a choice among some of the candidates is none.
    """
    groups, rows = _groups(tuning, axis), []
    for labels, tried in _whole(tuning, axis, last):
        means = tried.groupby(axis)["score"].mean()
        best = means.idxmax()
        edge = len(means) > 1 and best in (means.index.min(), means.index.max())
        rows.append(labels | {axis: best, "validation": means.max(), "edge": edge})
    return pd.DataFrame(rows, columns=[*groups, axis, "validation", "edge"]).set_index(groups)


def scores(tuning: Results, last: int = 0) -> pd.DataFrame:
    """Return every run with ``score``, its validation accuracy over the last epochs.

    It is NaN where the run is missing and chance where it diverged. Raises ValueError for a run
    that held no images out.
    """
    runs = tuning.runs.copy()
    runs["score"] = float("nan")
    for record in tuning.records:
        assert isinstance(record.config, Trained)
        held = record.config.measure.replace("test_", "validation_")
        if held not in record.epochs:
            raise ValueError(f"run {record.key} has no validation images; give validation=True")
        score = record.config.chance
        if record.status == "finished":
            every = record.epochs[held]
            values = every[-(last or max(1, round(PART * len(every)))) :]
            score = sum(values) / len(values)
        runs.loc[runs["key"] == record.key, "score"] = score
    return runs


def two_or_more(seeds: int) -> int:
    """Return a number of seeds for `crossfit`, 0 for the profile's; ValueError for a single one.

    A notebook asks before it trains.

    >>> two_or_more(0)
    0
    """
    if seeds == 1:
        raise ValueError("seeds=1 given; the others choose for each, so it takes two or more")
    return seeds


def crossfit(tuning: Results, axis: str = "lr", last: int = 0) -> pd.DataFrame:
    """Return the final test accuracy of every seed at the value that the other seeds choose.

    The value is chosen on validation images, as by `chosen`, but without the run that is then
    reported. That needs no run beyond the grid and is as free of the choice's luck as fresh seeds;
    the seeds of the result are then not quite independent of each other.

    Returns
    -------
    DataFrame, a row a group and seed: its labels, the chosen value under the name of the axis, and
    ``final``; a group of which a run is missing has no row. Raises ValueError for a single seed.
    """
    groups, rows = _groups(tuning, axis), []
    for labels, tried in _whole(tuning, axis, last):
        table = tried.pivot_table(index=axis, columns="seed", values="score")
        if table.shape[1] < 2:
            raise ValueError("one seed given; the others choose for each, so it takes two or more")
        for seed in table:
            best = table.drop(columns=seed).mean(axis=1).idxmax()
            run = tried[(tried[axis] == best) & (tried["seed"] == seed)].iloc[0]
            rows.append(labels | {axis: best, "seed": seed, "final": run["final"]})
    return pd.DataFrame(rows, columns=[*groups, axis, "seed", "final"])


def at_best(
    tuning: Results, seeds: Iterable[int], axis: str = "lr", priority: int = 50, last: int = 0
) -> Grid:
    """Return the grid of every group at its chosen value, with fresh seeds and nothing held out.

    What is not chosen yet, because runs of `tuning` are missing, is not in it.

    Parameters
    ----------
    tuning : results of a grid with ``validation=True``
    seeds : others than those of `tuning`, so that no luck is carried over
    axis, last : see `chosen`
    priority : see `rgkit.grid.Cell`

    Raises ValueError for a seed that the setting was chosen with.
    """
    again = sorted(set(seeds) & {cell.labels["seed"] for cell in tuning.grid})
    if again:
        raise ValueError(f"seeds={again} given; the {axis} was chosen with them, take others")
    cells, told = [], [*_groups(tuning, axis), axis]
    for best in chosen(tuning, axis, last).reset_index().to_dict("records"):
        labels: dict[str, Any] = {name: best[name] for name in told}
        like = next(c for c in tuning.grid if labels.items() <= dict(c.labels).items())
        assert isinstance(like.config, Trained)
        for seed in seeds:
            config = like.config.replace(seed=seed, validation=0)
            cells.append(Cell(labels | {"seed": seed}, config, priority))
    grid = tuning.grid
    return Grid(tuple(cells), grid.profile, "", grid.axes, grid.train)
