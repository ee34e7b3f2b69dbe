"""What a trick does to the steps of a run: the figure of the page on your own trick."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from rgkit.figures.style import canvas, finish, looks
from rgkit.method import laws, schedules
from rgkit.runs.config import Trained
from rgkit.runs.results import Results


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


def over_the_run(results: Results, names: Mapping[str, str]) -> Figure:
    """Draw what each arm multiplies the step by over its first run, a panel an arm; dashed: mean.

    Parameters
    ----------
    names : the arms that are drawn, each with its title
    """
    figure, axes = canvas(2.6, len(names), max(2.3 * len(names), 7.6), sharey=True)
    styles = looks(names.values())
    for ax, (arm, name) in zip(axes, names.items(), strict=True):
        cell = next(cell for cell in results.grid if cell.labels["arm"] == arm)
        assert isinstance(cell.config, Trained)
        sizes = step_sizes(cell.config, cell.labels.get("lr", cell.config.lr))
        color = styles[name].color
        ax.plot(np.arange(len(sizes)) / len(sizes), sizes, ".", ms=2.5, color=color)
        ax.axhline(sizes.mean(), color=color, lw=1, ls="--")
        ax.set(title=name, xlabel="part of the run")
    axes[0].set_ylim(bottom=-0.05 * axes[0].get_ylim()[1])
    axes[0].set_ylabel("loss weight × learning rate\nin units of the rate asked for")
    return finish(figure, results)
