"""Prediction 6: the effective learning rate of scale-invariant weights, and its table."""

from __future__ import annotations

import numpy as np
import pytest

from rgkit.chapters.effective import effective_rates, expected, foretold, grown
from rgkit.models.classification import build
from rgkit.runs.config import Classification
from rgkit.runs.grid import ARMS, Grid, cross
from rgkit.runs.records import Store
from rgkit.train.execute import run
from rgkit.train.loop import weight_norm


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


@pytest.mark.parametrize("decay", [0.0, 0.004, 0.04])
@pytest.mark.parametrize(("arm", "gain"), [("RG", 1 / 3), ("constant 1/2", 1 / 4)])
def test_the_norms_of_plain_training_foretell_the_others(arm, gain, decay):
    """Before rest, at rest, and without any decay, from an epoch's norms of a simulation."""
    start, lr, steps, epoch = np.full(200, 200**-0.5), 0.05, 3_000, 100
    at = np.arange(epoch - 1, steps, epoch)
    plain, own = (simulated(a, lr, decay, steps, start)[at] ** 0.5 for a in ("plain", arm))
    norms = grown(plain, 1.0, 4 * lr * decay * epoch, gain)
    np.testing.assert_allclose(norms, own, rtol=0.04)  # a path of random weights scatters
    assert norms[5:].mean() == pytest.approx(own[5:].mean(), rel=0.01)
    assert own[-1] < 0.85 * plain[-1]  # which a foretelling that changes nothing would miss


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
    results = run(grid, device="cpu", jobs=1, store=Store(tmp_path), show=False)
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


def test_the_foretold_rate_of_a_run_is_that_of_its_own_settings(tmp_path):
    """Worked out by hand from the records; twice the decay at half the rate is the constant 1/2."""
    base = Classification(data="digits", images=64, model="resnet8(2)", epochs=2, batch=32)
    base = base.replace(schedule="constant", weight_decay=0.1, momentum=0.5)
    arms = ["plain", "RG", "constant 1/2", "half rate, twice decay"]
    axes = {"momentum": [0.5], "arm": arms, "seed": [0]}
    grid = Grid(cross(base, axes), "quick", "", tuple(axes))
    results = run(grid, device="cpu", jobs=1, store=Store(tmp_path), show=False)
    table = foretold(results).pivot(index="epoch", columns="arm", values="foretold")
    assert table["plain"].tolist() == pytest.approx([1, 1])
    norms = [np.array(r.epochs["weight_norm"]) for r in results.records]
    start = float(weight_norm(build(base.model, seed=0)))
    kept = np.exp(-4 * 0.1 * 0.1 * 2 / 0.5)  # two steps an epoch
    first = norms[0][0] ** 4 / 3 + kept * start**4 * (1 - 1 / 3)
    assert table.loc[1, "RG"] == pytest.approx(0.5 * norms[0][0] ** 2 / first**0.5, rel=1e-6)
    halves = table["constant 1/2"], table["half rate, twice decay"]
    assert halves[0].tolist() == pytest.approx(halves[1].tolist(), rel=1e-6)
    other = ["late('uniform(0, 1)', 0.5)", "linear(2, 0)", "lr linear(2, 0)", "formula('u * t')"]
    odd = axes | {"arm": ["plain", *other]}
    changing = Grid(cross(base, odd), "quick", "", tuple(odd))
    others = foretold(run(changing, device="cpu", jobs=1, store=Store(tmp_path), show=False))
    counted = others.groupby("arm")["foretold"].count().to_dict()
    assert counted == {"plain": 2} | dict.fromkeys(other, 0)
    none = Grid(grid.cells[1:], "quick", "", tuple(axes))
    alone = run(none, device="cpu", jobs=1, store=Store(tmp_path), show=False)
    assert foretold(alone)["foretold"].isna().all()
