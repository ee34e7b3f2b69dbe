"""The same config run twice: the later runs are found, told apart, and make a page stale."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from rgkit.book import build
from rgkit.chapters import discarded
from rgkit.runs.config import Classification
from rgkit.runs.grid import Grid, cross
from rgkit.runs.records import Record, Store, fingerprint_of, source
from rgkit.runs.results import collect

BASE = Classification(data="digits", images=64, model="resnet8(2)", epochs=4)
AXES = {"schedule": ["discarded", "poly"], "arm": ["plain", "RG"], "seed": [0]}
GRID = Grid(cross(BASE, AXES), "quick", axes=tuple(AXES))


def record(config: Classification, accuracy: float, status: str = "finished") -> Record:
    fingerprint = fingerprint_of(config)
    epochs = {"test_accuracy": [10.0] * (config.epochs - 1) + [accuracy]}
    where = source("test", 1.0)
    return Record(config.key(fingerprint), config, fingerprint, status, epochs, where)


@pytest.fixture
def store(tmp_path) -> Store:
    """Every run once; of the first two cells, plain training and RG never decayed, one more."""
    made = Store(tmp_path)
    for cell in GRID:
        made.put(record(cell.config, 50.0))
    for cell, again in zip(GRID[:2], (53.0, 46.0), strict=True):
        made.put(record(cell.config, again))
    return made


def test_a_run_that_was_made_twice_has_a_row_with_both_ends(store):
    table = discarded.repeated(collect(GRID, store), store)
    assert list(table.columns) == discarded.COLUMNS
    found = table.set_index("arm")[["first", "again", "apart"]].T.to_dict("list")
    assert found == {"plain": [50.0, 53.0, 3.0], "RG": [50.0, 46.0, -4.0]}
    assert set(table["rate"]) == {"never decayed"}


def test_the_first_record_counts_and_equal_numbers_are_no_second_run(store):
    first = GRID[0].config
    assert store.get(first).epochs["test_accuracy"][-1] == 50.0
    store.put(record(first, 50.0))
    assert len(store.repeats(first)) == 1
    assert store.repeats(GRID[2].config) == []


def test_merging_a_folder_again_adds_no_second_repeat(store, tmp_path):
    other = Store(tmp_path / "other")
    other.put(record(GRID[2].config, 51.0))
    first, second = (store.merge(other.root) for _ in range(2))
    assert (first.repeats, first.known) == (1, 0)
    assert (second.repeats, second.known) == (0, 1)
    assert len(store.repeats(GRID[2].config)) == 1
    other = Store(tmp_path / "third")
    other.put(record(GRID[2].config, 52.0))
    assert store.merge(other.root).repeats == 1  # a third run with numbers of its own is one


def test_a_run_that_diverged_once_is_not_compared(store):
    last = GRID[3].config
    store.put(record(last, 20.0, "diverged"))
    assert len(store.repeats(last)) == 1
    assert len(discarded.repeated(collect(GRID, store), store)) == 2


def test_the_spread_of_one_run_comes_from_the_distances_of_two():
    values = pd.Series([1.0, -1.0, 2.0])
    assert discarded.spread(values) == pytest.approx(math.sqrt(6 / 3 / 2))
    assert math.isnan(discarded.spread(pd.Series([], dtype=float)))


def test_a_page_is_out_of_date_when_a_second_run_arrives(store, monkeypatch):
    monkeypatch.setattr(build, "Store", lambda: store)
    monkeypatch.setattr(build, "grid", lambda path, parameters: GRID)
    before = build.records(build.PACKAGE, {})
    store.put(record(GRID[2].config, 60.0))
    after = build.records(build.PACKAGE, {})
    assert len(before) == len(GRID) + 2
    assert set(after) - set(before) == set(store.repeats(GRID[2].config))
