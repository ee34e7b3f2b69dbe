"""How the book's figures look: one colour and marker per arm everywhere, fonts, sizes."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import matplotlib.pyplot as plt
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

# Okabe and Ito's colours, told apart by colour-blind readers; markers say the same again.
COLORS = {
    "plain": "#4c4c4c",
    "constant 1/2": "#0072b2",
    "RG": "#d55e00",
    "half rate, twice decay": "#009e73",
    "half rate, twice decay, batch 96": "#cc79a7",
}
MARKERS = {
    "plain": "o",
    "constant 1/2": "s",
    "RG": "D",
    "half rate, twice decay": "^",
    "half rate, twice decay, batch 96": "v",
}


# For arms that are a law of the loss weight, in the order in which a figure has them.
OTHERS = ("#e69f00", "#56b4e9", "#882255", "#44aa99", "#b5a900", "#7f3c8d", "#117733", "#a5aa99")
OTHER_MARKERS = "P^vX<>ph"


def looks(arms: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return colour and marker of each arm: fixed for the named ones, in turn for the others.

    >>> looks(["plain", "uniform(0, 2)"])["uniform(0, 2)"]["marker"]
    'P'
    """
    turns = itertools.cycle(zip(OTHERS, OTHER_MARKERS, strict=True))
    found: dict[str, dict[str, Any]] = {}
    for arm in arms:
        pair = (COLORS[arm], MARKERS[arm]) if arm in COLORS else next(turns)
        found[arm] = {"color": pair[0], "marker": pair[1]}
    return found


def use_style() -> None:
    """Set fonts, sizes and the sharp inline format; called by every figure."""
    sns.set_theme(style="whitegrid", context="notebook", font_scale=0.85)
    plt.rcParams.update({"axes.spines.top": False, "axes.spines.right": False})
    plt.rcParams.update({"figure.constrained_layout.use": True, "legend.frameon": False})
    try:
        from IPython.core.getipython import get_ipython
    except ImportError:
        return
    if get_ipython() is not None:
        # Not without a shell: the backend looks for it once, when it is imported.
        from matplotlib_inline.backend_inline import set_matplotlib_formats

        # The layout has left no margins to trim, and finding that out draws everything twice.
        set_matplotlib_formats("retina", bbox_inches=None)  # type: ignore[no-untyped-call]


def canvas(
    height: float, columns: int = 1, width: float = 7.6, **options: Any
) -> tuple[Figure, list[Axes]]:
    """Open a figure in the book's style: panels in a row; `options` are those of `plt.subplots`."""
    use_style()
    size = (width, height)
    figure, axes = plt.subplots(1, columns, figsize=size, squeeze=False, **options)
    return figure, list(axes[0])


def log_ticks(ax: Axes, places: Iterable[float]) -> None:
    """Make the x axis logarithmic, with a number at each of these places and at no other."""
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(FixedLocator(sorted(places)))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(lambda value, place: f"{value:g}")
