"""What is expected as lines and what is measured as marks: a figure of several chapters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from rgkit.figures.style import canvas, finish, looks

Curves = Mapping[str, Sequence[Any]]


def draw(
    panels: Mapping[str, tuple[Curves, Curves]], x: str, y: str, *, height: float = 3.6,
    words: Mapping[str, str] | None = None, level: float | None = None, **axes: Any,
) -> Figure:  # fmt: skip
    """Draw lines and marks, a panel for each title, in the look that belongs to each name.

    Parameters
    ----------
    panels : title -> lines and marks, each name -> (x, y) or (y,); marks may have half the width
        of an interval as a third
    x, y : words at the axes
    words : what the legend calls a name, where that is not the name itself
    level : of a thin horizontal line
    axes : what every panel is set to, such as ``yscale="log"``

    Examples
    --------
    >>> figure = draw({"": ({"RG": ([0, 1], [1, 2])}, {"plain": ([0], [1], [0.5])})}, "step", "y")
    >>> figure.axes[0].get_legend_handles_labels()[1]
    ['RG', 'plain']
    """
    styles = looks(name for both in panels.values() for part in both for name in part)
    labels = {name: name for name in styles} | dict(words or {})
    figure, places = canvas(height, len(panels))
    for ax, (title, (lines, marks)) in zip(places, panels.items(), strict=True):
        if level is not None:
            ax.axhline(level, color="black", lw=0.8)
        for name, curve in lines.items():
            ax.plot(*curve, **styles[name].line, lw=1.8, label=labels[name])
        for name, points in marks.items():
            how = styles[name].mark | {"ms": 5, "fillstyle": "none", "capsize": 3}
            ax.errorbar(*points, **how, label="" if name in lines else labels[name])
        ax.set(title=title, xlabel=x, **axes)
    places[0].set_ylabel(y)
    return finish(figure)
