"""The figures that tell a law's mean from its chance."""

from __future__ import annotations

import pytest

from rgkit.chapters import means
from rgkit.figures import plots
from rgkit.runs.config import Classification
from rgkit.runs.grid import Grid, cross
from rgkit.runs.records import Record, Store, fingerprint_of
from rgkit.runs.results import collect

NOISIER = "half rate, twice decay, batch 96"
LAWS = ["plain", "constant 1/2", "constant(2)", "RG", "uniform(0, 2)", NOISIER]


@pytest.fixture
def results(tmp_path):
    store, axes = (
        Store(tmp_path),
        {"momentum": [0.5], "lr": [0.1, 0.2], "arm": LAWS, "seed": [0, 1]},
    )
    grid = Grid(cross(Classification(data="digits"), axes), "quick", "", tuple(axes))
    source = {"commit": "c", "device": "d", "versions": {}, "seconds": 1.0, "date": "2026-01-01"}
    for n, cell in enumerate(grid):
        mark = fingerprint_of(cell.config)
        epochs = {"test_accuracy": [50.0, 60.0 + n]}
        record = Record(cell.config.key(mark), cell.config, mark, "finished", epochs, source)
        store.put(record)
    return collect(grid, store)


def test_every_law_stands_at_its_mean_and_the_line_joins_the_constants(results):
    part = Grid(tuple(c for c in results.grid if c.labels["lr"] == 0.1), "quick", "", ("arm",))
    runs = results.runs[results.runs["lr"] == 0.1]
    shown = type(results)(part, results.records, runs, results.epochs)
    (ax,) = means.by_mean_weight(shown).axes
    places = {str(line.get_label()): line.get_xdata()[0] for line in ax.lines if line.get_ms() == 9}
    assert places == dict(zip(LAWS, [1.0, 0.5, 2.0, 0.5, 1.0, 0.5], strict=True))
    (line,) = [line for line in ax.lines if line.get_color() == "#4c4c4c" and line.get_lw() == 1]
    constants = runs[runs["arm"].isin(LAWS[:3])].groupby("arm")["final"].mean()
    assert list(line.get_xdata()) == [0.5, 1.0, 2.0]
    assert list(line.get_ydata()) == [
        constants[a] for a in ("constant 1/2", "plain", "constant(2)")
    ]


def test_nothing_recorded_is_drawn_as_that(tmp_path):
    axes = {"momentum": [0.5], "arm": LAWS}
    grid = Grid(cross(Classification(data="digits"), axes), "quick", "", tuple(axes))
    figure = means.by_mean_weight(collect(grid, Store(tmp_path)))
    assert figure.axes[0].texts[0].get_text() == "not measured yet"


def test_a_panel_may_stand_for_several_axes(results):
    figure = plots.curves(results, panels=["lr", "arm"])
    titles = [ax.get_title() for ax in figure.axes]
    assert titles[:2] == ["lr 0.1, arm plain", "lr 0.1, arm constant 1/2"]
    assert len(titles) == 2 * len(LAWS)
