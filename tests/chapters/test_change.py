"""Bends of learning curves, gradients by depth, and a loss weight's curve on the learning rate."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rgkit.chapters.change import bend, bends, gains
from rgkit.chapters.depth import gradient_norms
from rgkit.runs.config import Classification, ConfigError
from rgkit.runs.grid import Grid, cross
from rgkit.runs.records import Record, Store, fingerprint_of
from rgkit.runs.results import collect
from rgkit.train.loop import train


@pytest.mark.parametrize("at", [13, 15, 17])
def test_a_bend_is_found_where_it_is_made(at):
    x = np.arange(1, 21)
    curve = 60 + 0.2 * x + 1.5 * np.maximum(x - at, 0)
    assert bend(curve) == (at, pytest.approx(1.5))


def test_a_bend_under_noise_is_found_within_an_epoch_or_two():
    rng, x = np.random.default_rng(0), np.arange(1, 101)
    found = [
        bend(60 + 0.05 * x + 1.0 * np.maximum(x - 90, 0) + rng.normal(0, 0.3, 100))[0]
        for _ in range(50)
    ]
    assert np.abs(np.array(found) - 90).max() <= 2


@pytest.mark.parametrize("epochs", [12, 20, 100])
def test_noise_bends_in_one_case_of_twenty(epochs):
    noise = np.random.default_rng(1).normal(70, 1, size=(1000, epochs))
    found = sum(not math.isnan(bend(curve)[0]) for curve in noise)
    assert 25 < found < 80  # binomial, 50 expected


def test_curves_that_flatten_or_do_nothing_do_not_bend_upwards():
    x = np.arange(1, 101)
    for curve in (np.full(100, 10.0), 90 - 80 / x, 60 + 0.1 * x, 60 - 0.5 * np.maximum(x - 80, 0)):
        assert math.isnan(bend(curve)[0])


def test_the_first_half_is_not_looked_at_and_what_cannot_be_is_refused():
    x = np.arange(1, 21)
    curve = np.minimum(10.0 * x, 50) + 1.0 * np.maximum(x - 16, 0)
    assert bend(curve)[0] == 16
    with pytest.raises(ValueError, match="8 epochs given, 4 after"):
        bend(range(8))
    with pytest.raises(ValueError, match="1 values of the curve are not finite"):
        bend([*range(20), math.nan])
    with pytest.raises(ValueError, match=r"start=1\.5 given"):
        bend(range(20), 1.5)


@pytest.fixture
def results(tmp_path):
    """Runs of twenty epochs that bend at 13, 14, 15 and 16; the last one diverged half-way."""
    store, axes = Store(tmp_path), {"arm": ["plain", "linear(2, 0)"], "seed": [0, 1]}
    grid = Grid(cross(Classification(data="digits", epochs=20), axes), "quick", "", tuple(axes))
    source = {"commit": "c", "device": "d", "versions": {}, "seconds": 1.0, "date": "2026-01-01"}
    x = np.arange(1, 21)
    for n, cell in enumerate(grid):
        mark, over = fingerprint_of(cell.config), n == 3
        curve = (50 + 2.0 * np.maximum(x - 13 - n, 0)).tolist()[: 9 if over else 20]
        store.put(
            Record(
                cell.config.key(mark), cell.config, mark, "diverged" if over else "finished",
                {"test_accuracy": curve}, source, 1000 if over else None,
            )
        )  # fmt: skip
    return collect(grid, store)


def test_bends_of_a_grid_say_how_many_epochs_are_left(results):
    table = bends(results)
    assert table["at"].tolist() == [13, 14, 15]
    assert table["left"].tolist() == [7, 6, 5]
    assert table["found"].all()
    assert table["arm"].tolist() == ["plain", "plain", "linear(2, 0)"]


def test_a_gain_is_the_last_tenth_against_the_tenth_before_it(results):
    """Two epochs each: 50 + 2 max(x - 13, 0) has 58, 60 | 62, 64 at its end, so it gains 4."""
    table = gains(results)
    assert table["gain"].tolist() == [4.0, 4.0, 4.0]
    assert table["before"].tolist() == [4.0, 4.0, 4.0]
    longer = gains(results, part=0.15).iloc[2]  # of three epochs: 50 | 50, 52, 54 | 56, 58, 60
    assert longer[["gain", "before", "faster"]].tolist() == [6.0, 2.0, 4.0]
    with pytest.raises(ValueError, match="20 epochs given"):
        gains(results, part=0.5)


def test_an_arm_with_a_curve_of_its_own_takes_no_schedule():
    axes = {"arm": ["plain", "lr linear(2, 0)"], "schedule": ["poly"]}
    with pytest.raises(ConfigError, match=r"arm='lr linear\(2, 0\)' and schedule='poly' given"):
        cross(Classification(), axes)
    cells = cross(Classification(), axes | {"schedule": ["constant"]})
    assert [c.config.schedule for c in cells] == ["constant", "like('linear(2, 0)')"]


def test_the_weight_scales_every_layer_alike_and_changes_no_ratio():
    table = gradient_norms(["plain_net(12, 2, 'none')"], [1.0, 2.0], batch=16, seeds=[0, 1])
    norms = table.pivot_table(index=["seed", "layer"], columns="weight", values="norm")
    np.testing.assert_allclose(norms[2.0], 2 * norms[1.0], rtol=1e-5)
    assert norms.groupby("seed").size().tolist() == [12, 12]


@pytest.mark.parametrize(("momentum", "same"), [(0.0, True), (0.9, False)])
def test_without_momentum_and_decay_the_curve_does_the_same_on_the_learning_rate(momentum, same):
    """Prediction 9, by the arms of the book and its training loop, in float64."""
    tiny = Classification(
        data="digits", images=96, batch=32, model="resnet8(2)", epochs=4, lr=0.05,
        momentum=momentum, weight_decay=0.0, schedule="discarded", precision="float64",
    )  # fmt: skip
    arms = [cross(tiny, {"arm": [arm]})[0].config for arm in ("linear(2, 0)", "lr linear(2, 0)")]
    losses = [np.array(train(config, "cpu").epochs["train_loss"]) for config in arms]
    assert np.allclose(*losses, rtol=1e-9, atol=0) == same
