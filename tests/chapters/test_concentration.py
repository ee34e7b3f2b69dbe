"""The walks of the theorem's page: their steps, their means, and the bounds by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rgkit.chapters import concentration as c


@pytest.mark.parametrize("process", c.PROCESSES)
def test_no_step_is_longer_than_one_and_the_walks_are_fair(process):
    """With n steps the mean is (sum of positions) / n, so differences give the positions back."""
    positions = [n * c.walks(process, steps=n, paths=400) for n in (1, 2, 3, 4)]
    steps = np.diff(
        [p - q for p, q in zip(positions, [0 * positions[0], *positions], strict=False)], axis=0
    )
    assert np.abs(positions[0]).max() <= 1
    if process != "two valleys":  # whose valleys lie farther off in a longer walk
        assert np.abs(steps).max() <= 1 + 1e-12
    means = c.walks(process, steps=50, paths=4000)
    assert abs(np.sign(means).mean()) < 4 / math.sqrt(4000)


def test_a_flat_landscape_is_a_random_walk():
    n, paths = 200, 20_000
    wanted = (n + 1) * (2 * n + 1) / (6 * n)  # of the mean of the first n positions
    assert c.walks("flat", n, paths).var() == pytest.approx(wanted, rel=0.04)


def test_a_walk_from_the_ridge_ends_in_one_of_two_valleys():
    means = c.walks("two valleys", 1000, 500)
    assert np.abs(means).min() > 150
    assert {-1.0, 1.0} == set(np.sign(means))


def test_the_bounds_by_hand():
    x = np.array([0.0, 1.0, 5.0, 40.0])
    found = c.bounds(x, 100)
    for d, theorem, lemma in zip(x, found["theorem"], found["lemma"], strict=True):
        assert theorem == pytest.approx(min(1, 2 * math.exp(-(d**2) / (2 * 100))))
        assert lemma == pytest.approx(min(1, 2 * math.exp(-((100 * d) ** 2) / 100)))


def test_tails_count_and_their_lower_limits_are_below_them():
    table = c.tails(steps=50, paths=500, points=12)
    assert len(table) == 12 * len(c.PROCESSES)
    assert (table["low"] <= table["frequency"]).all()
    one = table[(table["process"] == "flat")].iloc[6]
    means = c.walks("flat", 50, 500)
    assert one["frequency"] == (np.abs(means) >= one["distance"]).mean()


def test_an_unknown_walk_is_refused():
    with pytest.raises(ValueError, match="did you mean 'two valleys'"):
        c.walks("two valeys")
