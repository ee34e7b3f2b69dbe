"""The arms that put a trick to the test, and what they do to the steps of a run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rgkit.method import laws, schedules
from rgkit.runs.config import Classification, Trained
from rgkit.runs.grid import arm_of, curve_of


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
    plain = Classification()
    _, curve = curve_of(plain, arm_of(trick, plain))
    found = {"plain": "plain", trick: "the trick", f"mean of {trick}": "its mean"}
    if curve.chance:
        found[f"coin of {trick}"] = "its coin"
    return found | {arm: arm for arm in also if arm not in found}


def step_sizes(config: Trained, rate: float) -> np.ndarray:
    """Return the loss weight times the learning rate at every step of a run, in units of `rate`.

    >>> step_sizes(Classification(weight="constant(0.5)", lr=0.1, schedule="constant"), 0.1)[:2]
    array([0.5, 0.5])
    """
    per_epoch, steps = config.steps // config.epochs, np.arange(config.steps)
    length = {"per_epoch": per_epoch, "epochs": config.epochs, "seed": config.seed}
    curve = schedules.schedule(config.schedule).draw(steps, **length)
    u = laws.law(config.weight).draw(steps, **length)
    return u * curve * config.lr / rate
