"""A search for each arm's best rate, and the runs that follow from it: made-up records."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from rgkit.book.plan import first_search
from rgkit.chapters.tuned_recipe import best_rates
from rgkit.data.source import Source
from rgkit.runs.config import Classification
from rgkit.runs.grid import Grid, cross, in_order
from rgkit.runs.records import Record, Store, fingerprint_of

BASE = Classification(data="digits", images=64, model="resnet8(2)", epochs=3, validation=20)
SEARCH = {"arm": ["plain", "RG"], "times": [0.5, 1, 2], "tuning_seeds": [100, 101]}
SEARCH |= {"per_profile": {"quick": {"data": "digits", "images": 64, "model": "resnet8(2)"}}}
SEARCH |= {"seeds": {"quick": 3}}


def fill(store: Store, grid, best) -> None:
    """Record runs whose accuracy falls with the distance from the best rate of their arm."""
    for cell in grid:
        value = 60 - abs(np.log2(cell.labels["lr"] / best[cell.labels["arm"]]))
        mark, values = fingerprint_of(cell.config), [0.0] * 9 + [value]
        epochs = {"test_accuracy": values, "validation_accuracy": values}
        source = {"commit": "c", "device": "d", "versions": {}, "seconds": 1.0}
        source |= {"date": "2026-01-01"}
        key = cell.config.key(mark)
        store.put(Record(key, cell.config, mark, "finished", epochs, source))


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty store of which everybody knows, on a machine that has the data."""
    monkeypatch.setenv("RGKIT_RESULTS", str(tmp_path))
    monkeypatch.setattr(Source, "available", lambda self: True)
    return Store()


def test_nothing_follows_before_the_search_is_whole(here):
    plan = best_rates("quick", **SEARCH)
    assert len(plan.grid) == len(plan.search) == 12
    fill(here, plan.search.cells[:-1], {"plain": 0.1, "RG": 0.1})
    assert len(plan.grid) == 12
    fill(here, plan.search.cells[-1:], {"plain": 0.1, "RG": 0.1})
    assert len(plan.grid) == 12 + 2 * 3
    first, last = plan.grid[0], plan.grid[-1]
    assert (first.config.validation, last.config.validation) == (5000, 0)
    assert first.priority < last.priority


def test_one_candidate_more_is_tried_by_all_arms_where_one_is_best_at_an_edge(here):
    plan = best_rates("quick", **SEARCH)
    best = {"plain": 0.1, "RG": 0.4}
    fill(here, plan.search, best)
    more = plan.grid[12:]
    assert [c.labels["lr"] for c in more] == [0.4] * 4
    assert {c.labels["arm"] for c in more} == {"plain", "RG"}
    fill(here, more, best)
    assert len(plan.grid) == 16 + 2 * 3  # once: 0.4 is an edge again, and nothing is added
    assert {c.labels["lr"] for c in plan.grid[16:] if c.labels["arm"] == "RG"} == {0.4}


def test_best_shows_whole_seeds_of_the_profile_that_has_more_and_says_how_many_are_to_come(here):
    best = {"plain": 0.1, "RG": 0.1}
    assert best_rates("best", **SEARCH).search.profile == "smoke"
    quick, short = (best_rates(name, **SEARCH) for name in ("quick", "short"))
    fill(here, short.search, best)
    assert best_rates("best", **SEARCH).search.profile == "short"  # a whole search, no seed
    fill(here, quick.search, best)
    finals = quick.grid[12:]
    fill(here, [c for c in finals if c.labels["seed"] == 1], best)
    fill(here, [c for c in finals if c.labels["seed"] == 0 and c.labels["arm"] == "RG"], best)
    shown = best_rates("best", **SEARCH)
    assert (shown.search.profile, shown.seeds) == ("quick", (1,))
    assert "1 of 3 seeds are recorded" in shown.search.note
    assert not shown.search.train
    tuning, final = shown.run()
    assert len(tuning.records) == 12
    assert final.runs["seed"].tolist() == [1, 1]


def test_what_is_missing_and_cannot_be_trained_here_is_replaced_by_embedded_data(here, monkeypatch):
    """A search that is recorded is not enough where CIFAR-10 is not at hand."""
    best, own = {"plain": 0.1, "RG": 0.1}, SEARCH | {"per_profile": {}}
    plan = best_rates("quick", **own)
    fill(here, plan.search, best)
    monkeypatch.setattr(Source, "available", lambda self: False)
    assert best_rates("quick", **own).search.profile == "embedded"
    fill(here, plan.grid[12:], best)
    assert best_rates("quick", **own).search.profile == "quick"


def test_the_plan_takes_the_first_search_alone_and_is_then_asked_again(here):
    other = Grid(cross(BASE.replace(validation=0), {"arm": ["plain"], "seed": [0]}, priority=9))
    late = Grid(cross(BASE.replace(lr=3.0), {"arm": ["plain"], "seed": [100]}, priority=5))
    plan = best_rates("quick", **SEARCH, priority=1)
    shared = Grid(tuple(dataclasses.replace(cell, priority=5) for cell in plan.search))
    grids = [plan.grid, shared + late, other]
    configs = list(dict.fromkeys(in_order(grids)))
    assert first_search(configs, grids, here) == 12
    assert all(config.validation for config in configs[:12])
    fill(here, plan.search, {"plain": 0.1, "RG": 0.1})
    grids = [plan.grid, late, other]
    left = [config for config in in_order(grids) if not here.path(config).is_file()]
    assert first_search(left, grids, here) == 7  # six at the best rates, and the late search
    assert first_search(left[7:], grids, here) is None


@pytest.mark.parametrize(
    ("seeds", "words"),
    [({"quick": -1}, "from 1 to"), ({"quick": 1.5}, "from 1 to"), ({"quik": 7}, "quick")],
)
def test_seeds_that_cannot_be_are_refused(seeds, words):
    with pytest.raises(ValueError, match=words):
        best_rates("quick", **SEARCH | {"seeds": seeds})
