"""Two figures of several chapters: expected lines with measured marks, and marks in groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rgkit.figures.style import canvas, finish, looks
from rgkit.runs.results import Results
from rgkit.stats.differences import difference

Curves = Mapping[str, Sequence[Any]]


def draw(
    panels: Mapping[str, tuple[Curves, Curves]], x: str, y: str, *, height: float = 3.6,
    words: Mapping[str, str] | None = None, level: float | None = None,
    results: Results | None = None, ring: str = "", **axes: Any,
) -> Figure:  # fmt: skip
    """Draw lines and marks, a panel for each title, in the look that belongs to each name.

    Parameters
    ----------
    panels : title -> lines and marks, each name -> (x, y) or (y,); marks may have half the width
        of an interval as a third
    x, y : words at the axes
    words : what the legend calls a name, where that is not the name itself
    level : of a thin horizontal line
    results : what is drawn, so that a smoke test is marked as such
    ring : the name whose marks are rings around others
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
            how |= {"ms": 13, "marker": "o", "color": "black"} if name == ring else {}
            ax.errorbar(*points, **how, label="" if name in lines else labels[name])
        ax.set(title=title, xlabel=x, **axes)
    places[0].set_ylabel(y)
    return finish(figure, results)


def grouped(ax: Axes, table: pd.DataFrame, x: str, y: str) -> None:
    """Draw the values of each arm beside each other, and their mean with its 95 % interval.

    Parameters
    ----------
    table : with the column ``arm``, a row a small mark
    x, y : the columns of the groups along the axis, and of the values

    Examples
    --------
    >>> figure, (ax,) = canvas(3)
    >>> rows = {"arm": ["RG", "plain"] * 2, "model": ["a", "a", "b", "b"], "final": [1, 2, 3, 4]}
    >>> grouped(ax, pd.DataFrame(rows), "model", "final")
    >>> ax.get_legend_handles_labels()[1], [name.get_text() for name in ax.get_xticklabels()]
    (['plain', 'RG'], ['a', 'b'])
    """
    styles = looks(table["arm"])
    colors = [look.color for look in styles.values()]
    how: dict[str, Any] = {"x": x, "y": y, "hue": "arm", "hue_order": [*styles], "palette": colors}
    sns.swarmplot(table, **how, dodge=True, size=3, alpha=0.6, warn_thresh=1, legend=False, ax=ax)
    sns.pointplot(
        table, **how, dodge=0.8 - 0.8 / len(styles), linestyle="none", ax=ax,
        markers=[look.marker for look in styles.values()],
        errorbar=lambda values: difference(values).interval(),
    )  # fmt: skip
    ax.legend().remove()  # the figure has one
    ax.set_xlabel("")
