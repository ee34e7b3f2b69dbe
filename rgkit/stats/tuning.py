"""Each arm at its own best setting, chosen on validation images and never on the test set."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
from rgkit.runs.results import Results, collect
from rgkit.train.execute import run

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


def is_whole(results: Results) -> bool:
    """Say whether no run is missing."""
    return len(results.records) == len(results.grid)


def beyond(tuning: Results) -> Grid:
    """Return one more candidate for every arm, beyond an edge at which one of them is best.

    Arms that share everything else, such as a schedule, share their candidates. The next one
    follows as the last two follow each other. Nothing is added while a run is missing.
    """
    best, cells = chosen(tuning, last=1).reset_index(), []
    shared = [name for name in _groups(tuning, "lr") if name != "arm"]
    edges = best[best["edge"].astype(bool)].drop_duplicates([*shared, "lr"])
    for row in edges.to_dict("records") if is_whole(tuning) else ():
        place = {name: row[name] for name in shared}
        alike = [c for c in tuning.grid if place.items() <= dict(c.labels).items()]
        rates = sorted({c.labels["lr"] for c in alike})
        last, before = rates[:2] if row["lr"] == rates[0] else rates[:-3:-1]
        for cell in alike:
            if cell.labels["lr"] == last:
                assert isinstance(cell.config, Trained)
                labels = dict(cell.labels) | {"lr": last * (last / before)}
                config = cell.config.replace(lr=cell.config.lr * (last / before))
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

    def final(self, tuning: Results) -> Grid:
        """Return the runs of every arm at its best rate; none before the search is whole."""
        every = at_best(tuning, self.seeds, last=1)
        return replace(every, cells=every.cells * is_whole(tuning), note=self.search.note)

    def searched(self, results_of: Callable[[Grid], Results]) -> Results:
        """Return the results of the search, one candidate more at an edge included."""
        tuning = results_of(self.search)
        more = beyond(tuning)
        return _joined(tuning, results_of(more)) if more else tuning

    @property
    def grid(self) -> Grid:
        """The runs that are known by now: those at the best rates once these are chosen."""
        tuning = self.searched(collect)
        return tuning.grid + self.final(tuning)

    def run(self) -> tuple[Results, Results]:
        """Return the results of the search, and those of every arm at its own best rate."""
        tuning = self.searched(run)
        return tuning, run(self.final(tuning))


def best_rates(
    profile: str,
    *,
    times: Sequence[float],
    tuning_seeds: Iterable[int],
    seeds: Mapping[str, int],
    like: Grid | None = None,
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
    options : see `rgkit.runs.profiles.trained`

    Examples
    --------
    >>> found = best_rates("smoke", times=[1, 2], tuning_seeds=[9], seeds={"smoke": 2}, arm=["RG"])
    >>> len(found.search), found.seeds
    (2, (0, 1))
    """
    store, tuning_seeds = Store(), list(tuning_seeds)
    check_seeds(seeds)

    def made(name: str, like: Grid | None) -> BestRates:
        rate = classification(name, like=like, **options)[0].config.lr
        search = {"lr": [rate * factor for factor in times], "seed": tuning_seeds}
        if (like.profile if like is not None else name) == "smoke":  # does every line run?
            search = {axis: values[:2] for axis, values in search.items()}
        tried = classification(name, like=like, validation=True, **options, **search)
        main = "quick" if tried.profile == "embedded" else tried.profile
        return BestRates(tried, tuple(range(seeds.get(main, 0) or SEEDS[main])))

    def whole(plan: BestRates) -> list[int]:
        return whole_seeds(plan.final(plan.searched(collect)), store)[0]

    if check(profile) != "best" or (like is not None and like.profile == "smoke"):
        plan = made(profile, like)
        here = plan.search.profile != "quick" or IMAGES.here()
        if not here and len(whole(plan)) < len(plan.seeds):
            return made(profile, Grid(profile="embedded"))  # what is missing cannot be trained here
        return plan
    found = []
    for name in [like.profile] if like is not None else ["short", "quick"]:
        plan = made("best", Grid(profile=name) if like is None else like)  # whatever data are here
        seen = whole(plan)
        tried = sum(store.path(cell.config).is_file() for cell in plan.search)
        found.append(((len(seen) == len(plan.seeds), len(seen), tried), seen, plan))
    (complete, _, tried), seen, plan = max(found, key=lambda row: row[0])
    note = "" if complete else how_many(len(seen), len(plan.seeds))
    if like is None and not tried:
        plan = made("smoke", None)
        seen = list(plan.seeds)
        note = "no run is recorded for these parameters yet: -p profile quick trains them"
    return replace(plan, search=replace(plan.search, note=note), seeds=tuple(seen))
