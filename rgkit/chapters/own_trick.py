"""What a trick does to the steps of a run: for the page on your own trick."""

from __future__ import annotations

import numpy as np

from rgkit.method import laws, schedules
from rgkit.runs.config import Trained


def step_sizes(config: Trained, rate: float) -> np.ndarray:
    """Return the loss weight times the learning rate at every step of a run, in units of `rate`.

    >>> from rgkit.runs.config import Classification
    >>> step_sizes(Classification(weight="constant(0.5)", lr=0.1, schedule="constant"), 0.1)[:2]
    array([0.5, 0.5])
    """
    per_epoch, steps = config.steps // config.epochs, np.arange(config.steps)
    length = {"per_epoch": per_epoch, "epochs": config.epochs, "seed": config.seed}
    curve = schedules.schedule(config.schedule).draw(steps, **length)
    u = laws.law(config.weight).draw(steps, **length)
    return u * curve * config.lr / rate
