"""Each arm at its own best rate, one candidate more at an edge: the page on a tuned recipe."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rgkit.runs.config import Trained
from rgkit.runs.grid import Grid
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
from rgkit.stats.tuning import at_best, chosen
from rgkit.train.execute import run

# The recipe of the fast records (Jordan 2024, arXiv:2404.00498). It sums the loss over a batch of
# 1,024 and has a rate of 11.5 / 1,024 / (1 + 1 / (1 - 0.85)), and a decay of
# 0.0153 / (1 + 1 / (1 - 0.85)), rounded here; here the loss is a mean.
RECIPE: dict[str, Any] = {
    "base": {
        "images": 0, "model": "airbench", "epochs": 10, "batch": 1024, "lr": 1.5,
        "momentum": 0.85, "nesterov": True, "weight_decay": 0.002, "independent_decay": True,
        "bias_rate": 64.0, "schedule": "triangular", "augment": "crop+alternate",
        "reflect": 2, "label_smoothing": 0.2, "lookahead": 5,
    },
    "schedule": ["triangular"],
}  # fmt: skip


def is_whole(results: Results) -> bool:
    """Say whether no run is missing."""
    return len(results.records) == len(results.grid)


def beyond(tuning: Results) -> Grid:
    """Return one more candidate for every arm, beyond an edge at which one of them is best.

    Arms that share everything else, such as a schedule, share their candidates. The next one
    follows as the last two follow each other. Nothing is added while a run is missing.
    """
    best, cells = chosen(tuning, last=1), []
    shared = [name for name in best.index.names if name != "arm"]
    edges = best[best["edge"].astype(bool)].reset_index().drop_duplicates([*shared, "lr"])
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
        return results_of(self.search + more) if more else tuning

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
        here = plan.search.profile != "quick" or IMAGES.here
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
