"""Learning-rate schedules against the formulas of the papers and of their code."""

from __future__ import annotations

import numpy as np
import pytest

from rgkit.method import laws
from rgkit.method.schedules import schedule

PER_EPOCH, EPOCHS = 391, 100
STEPS = np.arange(PER_EPOCH * EPOCHS)


def factor(text: str) -> np.ndarray:
    return schedule(text).draw(STEPS, per_epoch=PER_EPOCH, epochs=EPOCHS)


def test_poly_per_epoch_is_the_codes_formula():
    by_epoch = factor("poly").reshape(EPOCHS, PER_EPOCH)
    assert (by_epoch == by_epoch[:, :1]).all()
    # The code sets 0.1 * (1 - (epoch + 1) / 100) ** 0.9 at the end of an epoch, for the next one.
    after = [(1 - (epoch + 1) / 100) ** 0.9 for epoch in range(EPOCHS - 1)]
    np.testing.assert_allclose(by_epoch[1:, 0], after)
    assert by_epoch[0, 0] == 1


def test_poly_per_step_is_the_papers_formula():
    np.testing.assert_allclose(factor("poly(0.9, 'step')"), (1 - STEPS / len(STEPS)) ** 0.9)


def test_step_falls_at_half_and_three_quarters():
    by_epoch = factor("step")[::PER_EPOCH]
    assert np.allclose(by_epoch[:50], 1)
    assert np.allclose(by_epoch[50:75], 0.1)
    assert np.allclose(by_epoch[75:], 0.01)
    ten = schedule("step(0.1, (0.7,))").draw(np.arange(10), per_epoch=1, epochs=10)
    assert ten.tolist() == pytest.approx([1] * 7 + [0.1] * 3)


def test_discarded_never_decays_and_is_constant_for_the_optimizer():
    assert (factor("discarded") == 1).all()
    assert str(schedule("discarded").effective()) == "constant"
    with pytest.raises(ValueError, match="did you mean 'poly'"):
        schedule("discarded('polly')")


def test_cosine_is_half_a_period():
    curve = factor("cosine")
    assert curve[0] == 1
    np.testing.assert_allclose(curve, (1 + np.cos(np.pi * STEPS / len(STEPS))) / 2)


@pytest.mark.parametrize("law", ["linear(2, 0)", "late_drop", "long_tail", "triangle(10)"])
def test_like_is_the_curve_of_the_loss_weight(law):
    u = laws.law(law).draw(STEPS, STEPS // PER_EPOCH, epochs=EPOCHS)
    assert np.array_equal(factor(f"like({law!r})"), u)


def test_like_takes_no_chance():
    with pytest.raises(ValueError, match=r"one without chance, as 'linear\(2, 0\)'"):
        schedule("like('uniform')")
    with pytest.raises(ValueError, match="without chance"):
        schedule("like('late(\"uniform\", 0.5)')")


def test_linear_falls_alike_at_each_step():
    line = factor("linear")
    assert line[0] == 1
    assert np.allclose(np.diff(line), -1 / len(STEPS))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pol", "did you mean 'poly'"),
        ("poly(0.9, 'week')", "per='week' given; there are: epoch, step"),
        ("step(0.1, (0.5, 2))", "between 0 and 1"),
        ("triangular(0.2, 1)", "between 0 and 1"),
        ("triangular(-1)", "start=-1 given; 0 or more"),
    ],
)
def test_errors(text, message):
    with pytest.raises(ValueError, match=message):
        schedule(text)
