"""The figures of the decay laboratory: one function each."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rgkit.chapters.decay import Array
from rgkit.figures.style import OTHERS, canvas

DASHES = ("-", "--", ":", "-.")


def _lines(curves: Mapping[str, Array], x: Array, width: float = 1.8) -> tuple[Figure, Axes]:
    figure, (ax,) = canvas(3.2)
    for place, (name, curve) in enumerate(curves.items()):
        color, dash = ("#4c4c4c", *OTHERS)[place], DASHES[place % len(DASHES)]
        ax.plot(x, curve, lw=width, color=color, ls=dash, label=name)
    ax.legend(fontsize=8)
    return figure, ax


def distances(curves: Mapping[str, Array]) -> Figure:
    """Draw how far two trajectories are apart after each step, a line a setting, on a log scale."""
    steps = np.arange(1, 1 + len(next(iter(curves.values()))), dtype=float)
    figure, ax = _lines({k: v.clip(1e-17) for k, v in curves.items()}, steps)
    label = "distance of the two runs\n/ distance from the start"
    ax.set(yscale="log", xlabel="step", ylabel=label)
    return figure


def by_depth(table: pd.DataFrame) -> Figure:
    """Draw the gradient of each layer over the depth, a colour a network, dashed where u is not 1.

    Parameters
    ----------
    table : from `rgkit.chapters.depth.gradient_norms`; the seeds are averaged
    """
    figure, (ax,) = canvas(4)
    for model, color in zip(table["model"].unique(), ("#4c4c4c", *OTHERS), strict=False):
        for weight, part in table[table["model"] == model].groupby("weight"):
            mean, dash = part.groupby("layer")["norm"].mean(), "-" if weight == 1 else "--"
            ax.plot(
                mean.index, mean, dash, color=color, lw=1.6, label=f"{model}, weight {weight:g}"
            )
    ax.set(yscale="log", xlabel="layer, from the input", ylabel="length of the gradient")
    # Below: eight lines leave no room beside them.
    figure.legend(loc="outside lower center", ncols=2, fontsize=8)
    return figure


def last_steps(curves: Mapping[str, Array], last: int) -> Figure:
    """Draw factors [steps] over the last steps of a run."""
    steps = len(next(iter(curves.values())))
    x = np.arange(steps - last, steps, dtype=float)
    figure, ax = _lines({name: curve[-last:] for name, curve in curves.items()}, x)
    ax.set(xlabel="step", ylabel="applied of a\nconstant gradient")
    return figure


def over_the_run(curves: Mapping[str, Array], label: str, log: bool = False) -> Figure:
    """Draw curves [steps] against the part of the run that is over."""
    steps = len(next(iter(curves.values())))
    every = max(1, steps // 2000)
    part = 100 * np.arange(0, steps, every) / steps
    figure, ax = _lines({name: curve[::every] for name, curve in curves.items()}, part)
    scale = "log" if log else "linear"
    ax.set(yscale=scale, xlabel="part of the run that is over, %", ylabel=label)
    return figure
