"""Loss decay against learning-rate decay: torch's own optimizers are the reference."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rgkit.chapters import decay
from rgkit.method import laws, schedules

POLY = schedules.schedule("poly").draw(
    np.arange(39_100), per_epoch=391, epochs=100
)  # fmt: skip


def test_without_momentum_and_weight_decay_the_two_are_one_trajectory():
    """Prediction 9, exactly: what is left is rounding, in whatever way the factor falls."""
    for factor in (np.linspace(1, 0, 60), np.random.default_rng(0).random(60)):
        apart = decay.apart(decay.walk("rate", factor), decay.walk("loss", factor))
        assert apart.max() < 1e-12


@pytest.mark.parametrize(
    "setting",
    [{"momentum": 0.9}, {"weight_decay": 0.01}, {"weight_decay": 0.01, "decoupled": True}],
)
def test_with_either_of_them_they_part(setting):
    factor = np.linspace(1, 0, 60)
    apart = decay.apart(
        decay.walk("rate", factor, **setting), decay.walk("loss", factor, **setting)
    )
    # Decoupled weight decay at its own rate is the same for both: nothing is left to differ.
    assert (apart.max() < 1e-12) == ("decoupled" in setting)
    assert (apart.max() > 1e-4) == ("decoupled" not in setting)


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.95])
def test_what_sgd_applies_is_what_torch_applies(momentum):
    w = np.random.default_rng(1).random(200)
    p = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    sgd = torch.optim.SGD([p], 1.0, momentum=momentum)
    moved = []
    for u in w:
        sgd.zero_grad()
        before = p.item()
        (-float(u) * p).sum().backward()
        sgd.step()
        moved.append(p.item() - before)
    np.testing.assert_allclose(decay.applied(w, momentum), (1 - momentum) * np.array(moved))


def test_a_decayed_loss_is_a_decayed_rate_that_comes_late():
    """To first order in the slope, by the mean age of the velocity."""
    steps = np.arange(39_100)
    smooth = (1 - steps / 39_100) ** 0.9
    for momentum in (0.5, 0.9, 0.95):
        late = np.interp(steps - decay.delay(momentum), steps, smooth)
        seen = decay.applied(smooth, momentum)
        middle = slice(1_000, 38_000)
        np.testing.assert_allclose(seen[middle], late[middle], rtol=2e-5)


def test_the_shrinking_of_the_published_run():
    """The numbers of ../papers/predictions.md: exp(-0.391) and exp(-0.208)."""
    assert decay.shrink(np.full(39_100, 0.1), 1e-4) == pytest.approx(0.676, abs=5e-4)
    assert decay.shrink(0.1 * POLY, 1e-4) == pytest.approx(0.812, abs=5e-4)
    torched = torch.ones(1, dtype=torch.float64, requires_grad=True)
    sgd = torch.optim.SGD([torched], 0.1, momentum=0.9, weight_decay=0.01)
    for _ in range(50):
        torched.grad = torch.zeros_like(torched)
        sgd.step()
    assert decay.shrink([0.1] * 50, 0.01, 0.9) == pytest.approx(torched.item(), rel=1e-12)


def test_adams_steps_are_torchs():
    w = np.random.default_rng(2).random(300)
    p = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    adam = torch.optim.Adam([p], 1.0, eps=1e-30)
    steps = []
    for u in w:
        before = p.item()
        p.grad = -torch.full_like(p, float(u))
        adam.step()
        steps.append(p.item() - before)
    np.testing.assert_allclose(decay.adam_steps(w), steps, rtol=1e-9)


def test_adam_hardly_notices_that_the_loss_decays():
    """The numbers of ../papers/predictions.md, at half time, 90 % and 99 % of the run."""
    smooth = (1 - np.arange(39_100) / 39_100) ** 0.9
    steps = decay.adam_steps(smooth)
    seen = [steps[int(part * 39_100)] for part in (0.5, 0.9, 0.99)]
    assert seen == pytest.approx([0.956, 0.805, 0.28], abs=0.006)


def test_a_constant_weight_leaves_adam_alone_and_rg_scales_it():
    """Prediction 7: 1 for any constant, m1/√m2 for RG, whatever the noise of the gradient."""
    steps, paths = 4_000, 200
    u = laws.law("uniform").draw(np.arange(steps * paths), seed=3).reshape(steps, paths)
    for noise in (0.0, 3.0):
        plain = decay.adam_steps(np.ones(steps), noise=noise, paths=paths)
        half = decay.adam_steps(np.full(steps, 0.5), noise=noise, paths=paths)
        np.testing.assert_allclose(half, plain, rtol=1e-9)
        rg = decay.adam_steps(u, noise=noise, paths=paths)
        ratio = rg[1_000:].mean() / plain[1_000:].mean()
        assert ratio == pytest.approx(0.5 * 3**0.5, abs=0.01)


def test_wrong_use_is_named():
    with pytest.raises(ValueError, match="momentum=1 given; it is from 0 up to below 1"):
        decay.applied([1.0], 1)
    with pytest.raises(ValueError, match="acts='lr' given; it is 'rate' or 'loss'"):
        decay.walk("lr", [1.0])  # type: ignore[arg-type]
