"""Laws of the loss weight: moments against a million draws, purity, and the papers' own numbers."""

from __future__ import annotations

import numpy as np
import pytest

from rgkit.method.laws import Beta, Coin, Linear, LongTail, Triangle, TwoPoint, Uniform, law

MILLION = 1_000_000
RANDOM = ["uniform(0, 1)", "uniform(0.5, 1)", "uniform(0, 2)", "coin", "coin(0.2)", "two_point"]
RANDOM += ["beta", "beta(1, 3, 2)"]
FIXED = ["constant(1)", "constant(0.5)", "linear", "linear(3, 0)", "long_tail", "late_drop"]
FIXED += [f"triangle({p})" for p in (100, 50, 20, 10, 5)]
FIXED += ["late('constant(0.5)', 0.8)", "late('linear(2, 0)', 0.5)"]


@pytest.mark.parametrize("text", RANDOM)
def test_moments_against_a_million_draws(text):
    u = law(text).draw(np.arange(MILLION), seed=11)
    m1, m2 = law(text).moments()
    # Five standard errors of each mean: a wrong moment is hundreds away.
    assert abs(u.mean() - m1) < 5 * u.std() / 1000
    assert abs((u**2).mean() - m2) < 5 * (u**2).std() / 1000
    assert u.min() >= 0


@pytest.mark.parametrize("text", FIXED)
def test_moments_of_laws_without_chance_are_averages_over_the_run(text):
    epochs = 100
    u = law(text).draw(np.arange(MILLION), np.arange(MILLION) * epochs // MILLION, epochs=epochs)
    m1, m2 = law(text).moments(epochs)
    np.testing.assert_allclose([u.mean(), (u**2).mean()], [m1, m2], rtol=1e-12)
    assert np.array_equal(u, law(text).draw(0, np.arange(MILLION) * epochs // MILLION, seed=5))


def test_late_is_plain_until_then_and_the_same_draws_after():
    steps = np.arange(1000)
    one = law("late('uniform(0, 1)', 0.8)")
    u = one.draw(steps, steps // 100, epochs=10, seed=3)
    assert np.array_equal(u[:800], np.ones(800))
    assert np.array_equal(u[800:], law("uniform").draw(steps, seed=3)[800:])
    assert one.moments(10) == pytest.approx((0.8 + 0.2 / 2, 0.8 + 0.2 / 3))
    assert str(law("late('uniform')")) == str(one)
    for wrong in ("late('unifrom')", "late('uniform', 1.5)", "late(3)", "late('late')"):
        with pytest.raises(ValueError, match=r"given|mean|form"):
            law(wrong)


def test_closed_forms():
    assert Uniform(0, 1).moments() == (1 / 2, 1 / 3)
    assert Coin().moments() == pytest.approx((3 / 4, 2 / 3))  # forensics: the segmentation code
    m1, m2 = Coin().moments()
    assert m2 / m1**2 == pytest.approx(1.185, abs=5e-4)
    assert 128 * m1**2 / m2 == pytest.approx(108)  # as a batch of 108 of 128
    for twin in (TwoPoint(), Beta()):
        assert twin.moments() == pytest.approx((1 / 2, 1 / 3), abs=1e-15)
    assert Linear(2, 0).moments(100) == pytest.approx((1.01, 4 * (100 * 101 * 201 / 6) / 100**3))


@pytest.mark.parametrize("text", RANDOM + FIXED)
def test_pure_in_step_and_epoch(text):
    one = law(text)
    steps = np.arange(1000)
    whole = one.draw(steps, steps // 10, seed=3)
    assert float(one.draw(700, 70, seed=3)) == whole[700]
    shuffled = np.random.default_rng(0).permutation(1000)
    assert np.array_equal(one.draw(shuffled, shuffled // 10, seed=3), whole[shuffled])
    assert str(law(str(one))) == str(one)


@pytest.mark.parametrize("text", RANDOM)
def test_seeds_differ(text):
    steps = np.arange(50)
    assert not np.array_equal(law(text).draw(steps, seed=0), law(text).draw(steps, seed=1))


def test_draws_are_independent_from_step_to_step():
    u = law("uniform(0, 1)").draw(np.arange(100_000), seed=1) - 0.5
    for lag in (1, 2, 3, 4, 7):
        assert abs((u[:-lag] * u[lag:]).mean() * 12) < 0.02


def test_two_point_takes_two_values_and_coin_leaves_half_at_one():
    u = law("two_point").draw(np.arange(10_000))
    assert len(np.unique(u)) == 2
    share = (law("coin").draw(np.arange(10_000)) == 1).mean()
    assert share == pytest.approx(0.5, abs=0.02)


def test_the_papers_own_numbers():
    at = np.array([0, 50, 90, 99])
    np.testing.assert_allclose(law("linear(2, 0)").draw(0, at), [2, 1, 0.2, 0.02])
    late = law("late_drop").draw(0, np.array([0, 69, 70, 99]))
    np.testing.assert_allclose(late, [1, 1, 0.2, 2 / 3 - 99 / 150])
    assert round(float(late[-1]), 4) == 0.0067
    # Scaled to a run of another length: the same at the same part of the run.
    assert law("late_drop").draw(0, 35, epochs=50) == pytest.approx(0.2)
    np.testing.assert_allclose(
        Triangle(10).draw(0, np.arange(10)), [0.4, 0.8, 1.2, 1.6, 2, 2, 1.6, 1.2, 0.8, 0.4]
    )
    assert Triangle(5).draw(0, np.arange(6)).tolist() == [0.5, 1, 2, 1, 0.5, 0.5]
    for period in (100, 50, 20):
        cycle = Triangle(period).draw(0, np.arange(100))
        assert cycle.max() == 2
        assert np.array_equal(cycle[:period], cycle[:period][::-1])
        assert np.argmax(cycle) == period // 2 - 1
    tail = LongTail().draw(0, np.arange(100))
    assert tail[0] == 2
    assert (np.diff(tail) < 0).all()
    assert 0 < tail[-1] < 0.02


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("unifrom(0, 1)", "unknown loss weight 'unifrom'; did you mean 'uniform'"),
        ("uniform(1, 0)", "low <= high"),
        ("uniform(-1, 1)", "0 <= low"),
        ("uniform(0, 1, 2)", r"does not fit uniform\(low=0, high=1\)"),
        ("coin(1.5)", "p=1.5 given; from 0 to 1"),
        ("triangle(7)", "5 or even"),
        ("constant(-1)", "value=-1 given; 0 or more"),
        ("constant(1e999)", "value=inf given; a finite number"),
        ("beta(0, 1)", "a=0 given; a positive number"),
        ("uniform(", "is not of the form"),
        ("__import__('os')", "is not of the form|unknown loss weight"),
    ],
)
def test_errors_say_what_was_given_and_what_is_right(text, message):
    with pytest.raises(ValueError, match=message):
        law(text)


def test_a_run_of_no_epochs_is_refused():
    with pytest.raises(ValueError, match="epochs=0 given"):
        law("linear").draw(0, 0, epochs=0)
