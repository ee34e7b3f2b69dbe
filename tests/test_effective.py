"""Prediction 6: the effective learning rate of scale-invariant weights, and its table."""

from __future__ import annotations

import numpy as np
import pytest

from rgkit.config import Classification
from rgkit.effective import effective_rates, expected
from rgkit.execute import run
from rgkit.grid import ARMS, Grid, cross
from rgkit.store import Store


def simulated(law: str, lr: float, decay: float, steps: int, w: np.ndarray) -> np.ndarray:
    """The squared norm of a scale-invariant vector: steps at right angles, their length 1/norm."""
    rng = np.random.default_rng(7)
    norms = np.empty(steps)
    for step in range(steps):
        u = rng.random() if law == "RG" else {"plain": 1.0, "constant 1/2": 0.5}[law]
        g = rng.standard_normal(w.size)
        g -= w * (g @ w) / (w @ w)
        g /= np.linalg.norm(g) * np.linalg.norm(w)
        w = w - lr * (u * g + decay * w)
        norms[step] = w @ w
    return norms


def test_the_norms_come_to_rest_where_the_prediction_says():
    """λ so large that rest is reached: the ratios of effective rates are m1/√m2."""
    start = np.full(50, 50**-0.5)
    lr, decay, steps = 0.05, 0.02, 12_000
    norms = {
        arm: simulated(arm, lr, decay, steps, start) for arm in ("plain", "RG", "constant 1/2")
    }
    means = {"plain": 1.0, "RG": 0.5, "constant 1/2": 0.5}
    for arm in ("RG", "constant 1/2"):
        relative = means[arm] * norms["plain"] / norms[arm]
        assert relative[:5].mean() == pytest.approx(expected(arm)["first"], rel=0.01)
        assert relative[-4000:].mean() == pytest.approx(expected(arm)["last"], rel=0.02)
        ratio = np.sqrt(norms[arm][-4000:] / norms["plain"][-4000:]).mean()
        assert ratio == pytest.approx(expected(arm)["norm"], rel=0.01)


def test_half_the_rate_with_twice_the_decay_is_expected_to_be_the_constant_half():
    """It is the same run, written with another rate and weight: so are its effective rates."""
    half, slow = expected("constant 1/2"), expected("half rate, twice decay")
    assert slow.to_dict() == pytest.approx(half.to_dict())
    noisy = expected("half rate, twice decay, batch 96")
    assert noisy.to_dict() == pytest.approx(expected("RG").to_dict())  # prediction 3


def test_the_table_is_rate_times_weight_over_squared_norm(tmp_path):
    base = Classification(data="digits", images=64, model="resnet8(2)", epochs=2, batch=32)
    axes = {"lr": [0.1, 0.2], "arm": ["plain", "RG", "half rate, twice decay"], "seed": [0, 1]}
    grid = Grid(cross(base, axes), "quick", "", tuple(axes))
    results = run(grid, device="cpu", store=Store(tmp_path), show=False)
    table = effective_rates(results)
    assert len(table) == len(results.epochs) == 12 * 2
    for _, row in table.iterrows():
        assert row["lr_now"] <= row["lr"]
        m1 = 0.5 if row["arm"] == "RG" else 1.0
        assert row["effective"] == pytest.approx(row["lr_now"] * m1 / row["weight_norm"] ** 2)
    assert (table.loc[table["arm"] == "plain", "relative"] == 1).all()
    keys = ["lr", "seed", "epoch"]
    wide = table.pivot(index=keys, columns="arm", values="effective")
    told = table.pivot(index=keys, columns="arm", values="relative")["RG"]
    np.testing.assert_allclose(told, wide["RG"] / wide["plain"])
    assert ARMS.keys() >= set(wide.columns)
