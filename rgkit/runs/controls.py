"""The controls of a trick: what has its mean and nothing else, what has its mean and variance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from rgkit.method import laws, schedules
from rgkit.runs.config import ConfigError, Trained

T = TypeVar("T", bound=Trained)
DIGITS = 3  # of the numbers in a control: a rate half a percent off is the same rate


def _check(plain: Trained, trick: Trained) -> None:
    """Refuse what is no trick of the kind that has a mean."""
    if trick == plain or trick != plain.replace(weight=trick.weight, schedule=trick.schedule):
        raise ConfigError(
            f"a control of {trick.brief()!r} asked for; a trick is a law of the loss weight, or "
            "'lr ' and one, such as \"lr formula('u')\""
        )


def _moments(plain: Trained, trick: Trained) -> tuple[bool, float, float]:
    """Return whether the trick is on the learning rate, and its two moments over the run."""
    _check(plain, trick)
    per_epoch = trick.steps // trick.epochs
    if trick.weight == plain.weight:
        curve = schedules.schedule(trick.schedule)
        return True, *curve.moments(steps_per_epoch=per_epoch, epochs=trick.epochs)
    law = laws.law(trick.weight)
    if isinstance(law, laws.Formula):
        return False, *law.moments(trick.epochs, per_epoch)
    return False, *law.moments(trick.epochs)


def mean_of(plain: T, trick: T) -> T:
    """Return the run that has the mean of a trick over the run, at every step.

    Parameters
    ----------
    plain : the run without the trick
    trick : the same with another law of the loss weight or another schedule

    Returns
    -------
    One with a constant weight; or, where the trick is on the learning rate, with a constant rate,
    the mean times the one given. The mean has three digits.

    Examples
    --------
    >>> from rgkit.runs.kinds import Classification
    >>> plain = Classification(lr=0.1, schedule="constant")
    >>> mean_of(plain, plain.replace(weight="uniform(0, 1)")).weight
    'constant(0.5)'
    >>> mean_of(plain, plain.replace(schedule="formula('u')")).lr
    0.05
    """
    on_rate, exact, _ = _moments(plain, trick)
    mean = float(f"{exact:.{DIGITS}g}")
    if on_rate:
        # Rounded, so that 0.05 is the same run wherever it comes from.
        return plain.replace(lr=float(f"{plain.lr * mean:.6g}"), schedule="constant")
    return plain.replace(weight=f"constant({mean})")


def coin_of(plain: T, trick: T) -> T:
    """Return the run that tosses a coin at each step: one number, or nothing at all.

    Number and chance are such that mean and second moment are those of the trick over the run. If
    they are all that matters, this does what the trick does. For the parameters see `mean_of`.

    Examples
    --------
    >>> from rgkit.runs.kinds import Classification
    >>> plain = Classification()
    >>> coin_of(plain, plain.replace(weight="uniform(0, 1)")).weight
    "formula('0.667 * (u < 0.75)')"
    """
    on_rate, mean, second = _moments(plain, trick)
    if not second > 0:
        raise ConfigError(f"a coin of {trick.brief()!r} asked for; it is 0 at every step")
    text = f"formula('{second / mean:.{DIGITS}g} * (u < {mean**2 / second:.{DIGITS}g})')"
    return plain.replace(**{"schedule" if on_rate else "weight": text})


def arms_for(trick: str, also: Sequence[str] = ()) -> dict[str, str]:
    """Return the arms that put a trick to the test, each with a short name.

    Parameters
    ----------
    trick : an arm, see `rgkit.runs.grid.arm_of`
    also : further arms, which keep their names

    Returns
    -------
    Plain training, the trick, the constant of its mean and, if there is chance in it, the coin

    Raises ConfigError for a trick that is no law of the loss weight and no "lr " and one.

    Examples
    --------
    >>> arms_for("formula('t')")
    {'plain': 'plain', "formula('t')": 'the trick', "mean of formula('t')": 'its mean'}
    >>> list(arms_for("lr formula('u')", ["RG"]).values())
    ['plain', 'the trick', 'its mean', 'its coin', 'RG']
    """
    from rgkit.runs.grid import arm_of  # late: it needs the controls themselves
    from rgkit.runs.kinds import Classification

    plain = Classification()
    made = arm_of(trick, plain)
    _check(plain, made)
    found = {"plain": "plain", trick: "the trick", f"mean of {trick}": "its mean"}
    if laws.law(made.weight).chance or schedules.schedule(made.schedule).chance:
        found[f"coin of {trick}"] = "its coin"
    return found | {arm: arm for arm in also if arm not in found}
