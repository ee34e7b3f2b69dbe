"""Bends of learning curves, gradients by depth, and a loss weight's curve on the learning rate."""

from __future__ import annotations

import numpy as np
import pytest

from rgkit import decay_plots
from rgkit.change import bend, bends
from rgkit.config import Classification
from rgkit.depth import gradient_norms
from rgkit.execute import collect
from rgkit.grid import Grid, cross
from rgkit.store import Record, Store, fingerprint_of
from rgkit.train import train


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


def test_the_first_half_is_not_looked_at_and_a_short_curve_is_refused():
    x = np.arange(1, 21)
    curve = np.minimum(10.0 * x, 50) + 1.0 * np.maximum(x - 16, 0)
    assert bend(curve)[0] == 16
    with pytest.raises(ValueError, match="8 epochs given, 4 after"):
        bend(range(8))


def test_bends_of_a_grid_say_how_many_epochs_are_left(tmp_path):
    store, axes = Store(tmp_path), {"arm": ["plain", "linear(2, 0)"], "seed": [0, 1]}
    grid = Grid(cross(Classification(data="digits", epochs=20), axes), "quick", "", tuple(axes))
    source = {"commit": "c", "device": "d", "versions": {}, "seconds": 1.0, "date": "2026-01-01"}
    x = np.arange(1, 21)
    for n, cell in enumerate(grid):
        mark = fingerprint_of(cell.config)
        curve = (50 + 2.0 * np.maximum(x - 13 - n, 0)).tolist()
        record = Record(
            cell.config.key(mark), cell.config, mark, "finished", {"test_accuracy": curve}, source
        )
        store.put(record)
    table = bends(collect(grid, store))
    assert table["at"].tolist() == [13, 14, 15, 16]
    assert table["left"].tolist() == [7, 6, 5, 4]
    assert table["arm"].tolist() == ["plain", "plain", "linear(2, 0)", "linear(2, 0)"]


def test_the_weight_scales_every_layer_alike_and_changes_no_ratio():
    table = gradient_norms(["plain_net(12, 2, 'none')"], [1.0, 2.0], batch=16, seeds=[0, 1])
    norms = table.pivot_table(index=["seed", "layer"], columns="weight", values="norm")
    np.testing.assert_allclose(norms[2.0], 2 * norms[1.0], rtol=1e-5)
    assert norms.groupby("seed").size().tolist() == [12, 12]
    (ax,) = decay_plots.by_depth(table).axes
    assert len(ax.lines) == 2
    assert ax.get_yscale() == "log"


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
