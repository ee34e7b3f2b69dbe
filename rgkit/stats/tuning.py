"""Each arm at its own best setting, chosen on validation images and never on the test set."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from rgkit.runs.grid import Cell, Grid
from rgkit.runs.kinds import Trained
from rgkit.runs.profiles import (
    IMAGES,
    SEEDS,
    check,
    check_seeds,
    classification,
    how_many,
    whole_seeds,
)
from rgkit.runs.records import Store
from rgkit.train.execute import Results, collect, run

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
    priority : see `rgkit.runs.grid.Cell`

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


def is_whole(results: Results) -> bool:
    """Say whether no run is missing."""
    return len(results.records) == len(results.grid)


def beyond(tuning: Results, axis: str = "lr") -> Grid:
    """Return one more candidate for every arm, beyond an edge at which one of them is best.

    Arms that share everything else, such as a schedule, share their candidates. The next one
    follows as the last two follow each other. Nothing is added while a run is missing.
    """
    best = chosen(tuning, axis, last=1).reset_index() if is_whole(tuning) else pd.DataFrame()
    if best.empty:
        return replace(tuning.grid, cells=())
    shared = [name for name in _groups(tuning, axis) if name != "arm"]
    cells = []
    for row in best[best["edge"]].drop_duplicates([*shared, axis]).to_dict("records"):
        place = {name: row[name] for name in shared}
        alike = [c for c in tuning.grid if place.items() <= dict(c.labels).items()]
        low = row[axis] == min(c.labels[axis] for c in alike)
        rates = sorted({c.labels[axis] for c in alike}, reverse=low)
        times = rates[-1] / rates[-2]
        for cell in alike:
            if cell.labels[axis] == rates[-1]:
                config = cell.config.replace(**{axis: getattr(cell.config, axis) * times})
                labels = dict(cell.labels) | {axis: rates[-1] * times}
                cells.append(replace(cell, labels=labels, config=config))
    return replace(tuning.grid, cells=tuple(cells))


def _joined(first: Results, second: Results) -> Results:
    return Results(
        first.grid + second.grid,
        first.records + second.records,
        pd.concat([first.runs, second.runs], ignore_index=True),
        pd.concat([first.epochs, second.epochs], ignore_index=True),
    )


@dataclass(frozen=True)
class BestRates:
    """A search for the best learning rate of each arm, and the seeds that they are compared by.

    A rate is chosen by the accuracy on held-out images after the last epoch, averaged over the
    seeds of the search. Where an arm is best at an edge, one candidate more is tried, see `beyond`.
    Nothing is chosen before the search is whole, and the plan takes it first.
    """

    search: Grid
    seeds: tuple[int, ...]
    priority: int = 50

    def final(self, tuning: Results) -> Grid:
        """Return the runs of every arm at its best rate; none before the search is whole."""
        every = at_best(tuning, self.seeds, priority=self.priority + 1, last=1)
        return replace(every, cells=every.cells * is_whole(tuning), note=self.search.note)

    def known(self, store: Store | None = None) -> Results:
        """Return what is recorded of the search, one candidate more at an edge included."""
        tuning = collect(self.search, store)
        return _joined(tuning, collect(beyond(tuning), store))

    @property
    def grid(self) -> Grid:
        """The runs that are known by now: those at the best rates once these are chosen."""
        tuning = self.known()
        return tuning.grid + self.final(tuning)

    def run(self) -> tuple[Results, Results]:
        """Return the results of the search, and those of every arm at its own best rate."""
        tuning = run(self.search)
        if more := beyond(tuning):
            tuning = _joined(tuning, run(more))
        return tuning, run(self.final(tuning))


def best_rates(
    profile: str,
    *,
    times: Sequence[float],
    tuning_seeds: Iterable[int],
    seeds: Mapping[str, int],
    priority: int = 50,
    like: Grid | None = None,
    store: Store | None = None,
    **options: Any,
) -> BestRates:
    """Return the search for the best rate of each arm of a classification notebook.

    Parameters
    ----------
    profile : str
        At "best" it is the highest of which every seed at the best rates is recorded, or else the
        one with the most whole seeds, or with the most runs of its search; only what is recorded
        is shown.
    times : candidates, as multiples of the profile's own rate
    tuning_seeds : seeds of the search, which count for nothing else
    seeds : how many there are at the best rates, by profile
    like : the page's main search, whose profile this one has
    priority, options : see `rgkit.runs.profiles.trained`

    Examples
    --------
    >>> found = best_rates("smoke", times=[1, 2], tuning_seeds=[9], seeds={"smoke": 2}, arm=["RG"])
    >>> len(found.search), found.seeds
    (2, (0, 1))
    """
    store, tuning_seeds = store or Store(), list(tuning_seeds)
    check_seeds(seeds)
    options |= {"priority": priority, "store": store}

    def made(name: str, like: Grid | None) -> BestRates:
        rate = classification(name, like=like, **options)[0].config.lr
        search = {"lr": [rate * factor for factor in times], "seed": tuning_seeds}
        if (like.profile if like is not None else name) == "smoke":  # does every line run?
            search = {axis: values[:2] for axis, values in search.items()}
        tried = classification(name, like=like, validation=True, **options, **search)
        main = "quick" if tried.profile == "embedded" else tried.profile
        return BestRates(tried, tuple(range(seeds.get(main, 0) or SEEDS[main])), priority)

    def whole(plan: BestRates) -> list[int]:
        return whole_seeds(plan.final(plan.known(store)), store)[0]

    if check(profile) != "best" or (like is not None and like.profile == "smoke"):
        plan = made(profile, like)
        quick = plan.search.profile == "quick"
        if quick and not IMAGES.here() and len(whole(plan)) < len(plan.seeds):
            return made(profile, Grid(profile="embedded"))  # what is missing cannot be trained here
        return plan
    found = {}
    for name in [like.profile] if like is not None else ["short", "quick"]:
        plan = made("best", Grid(profile=name) if like is None else like)  # whatever data are here
        tried = sum(store.path(cell.config).is_file() for cell in plan.search)
        seen = whole(plan)
        found[name] = len(seen) == len(plan.seeds), len(seen), tried, seen, plan
    if like is None and not any(row[2] for row in found.values()):
        smoke = made("smoke", None)
        words = "no run is recorded for these parameters yet: -p profile quick trains them"
        return replace(smoke, search=replace(smoke.search, note=words))
    complete, _, _, seen, plan = max(found.values(), key=lambda row: row[:3])
    note = "" if complete else how_many(len(seen), len(plan.seeds))
    return replace(plan, search=replace(plan.search, note=note), seeds=tuple(seen))
