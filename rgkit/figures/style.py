"""How the book's figures look: colour, marker and line of every arm, panels, legends, fonts."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from IPython.core.getipython import get_ipython
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from rgkit.runs.results import Results


class Look(NamedTuple):
    """How an arm is drawn. Lines of the form ":" are left to references, such as a theory's."""

    color: str
    marker: str
    dash: Any = "-"

    @property
    def line(self) -> dict[str, Any]:
        """What `Axes.plot` is told for a line without marks."""
        return {"color": self.color, "ls": self.dash}

    @property
    def marked_line(self) -> dict[str, Any]:
        """What `Axes.plot` is told for a line with marks."""
        return self.line | {"marker": self.marker}

    @property
    def mark(self) -> dict[str, Any]:
        """What `Axes.plot` is told for marks without a line."""
        return {"color": self.color, "marker": self.marker, "ls": "none"}


# Okabe and Ito's colours, told apart by colour-blind readers; markers and lines say the same again.
LOOKS = {
    "plain": Look("#4c4c4c", "o"),
    "constant 1/2": Look("#0072b2", "s", "--"),
    "RG": Look("#d55e00", "D"),
    "RG, almost every path": Look("#7a3600", "v", "--"),  # where its mean is another thing
    "half rate": Look("#56b4e9", "<", (0, (4, 1, 1, 1, 1, 1))),
    "half rate, twice decay": Look("#009e73", "^", "-."),
    "half rate, twice decay, batch 96": Look("#cc79a7", "v", (0, (6, 1))),
}
# For other arms, in turn.
TURNS = (
    Look("#e69f00", "P"),
    Look("#56b4e9", "^", "--"),
    Look("#882255", "v", "-."),
    Look("#44aa99", "X", (0, (6, 1))),
    Look("#b5a900", "<"),
    Look("#7f3c8d", ">", "--"),
    Look("#117733", "p", "-."),
    Look("#a5aa99", "h", (0, (6, 1))),
)
OTHER = Look("#7f3c8d", "P")  # where a figure cannot tell several apart

WORDS = {"discarded": "never decayed", "triangular": "up once and down again"}


def looks(arms: Iterable[str]) -> dict[str, Look]:
    """Return the look of each arm: those with one of their own first, then the others in turn.

    >>> looks(["uniform(0, 2)", "RG", "RG"])["uniform(0, 2)"].marker, list(looks(["gc(2)", "RG"]))
    ('P', ['RG', 'gc(2)'])
    """
    given = dict.fromkeys(arms)
    others = zip((arm for arm in given if arm not in LOOKS), itertools.cycle(TURNS), strict=False)
    return {arm: look for arm, look in LOOKS.items() if arm in given} | dict(others)


def title(axis: str, value: object) -> str:
    """Return the words for a value of an axis of a grid.

    >>> title("schedule", "discarded"), title("lr", 0.1)
    ('never decayed', 'lr 0.1')
    """
    if axis in ("panel", "protocol", "model", "schedule"):
        return WORDS.get(str(value), str(value))
    return f"{axis} {value:.3g}" if isinstance(value, float) else f"{axis} {value}"


def log_ticks(ax: Axes, places: Iterable[float]) -> None:
    """Make the x axis logarithmic, with a number at each of these places and at no other."""
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(FixedLocator(sorted(places)))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(lambda value, place: f"{value:g}")


def use_style() -> None:
    """Set fonts, sizes and the sharp inline format; called by every figure."""
    sns.set_theme(style="whitegrid", context="notebook", font_scale=0.85)
    plt.rcParams.update({"axes.spines.top": False, "axes.spines.right": False})
    plt.rcParams.update({"figure.constrained_layout.use": True, "axes.titlesize": 10})
    plt.rcParams.update({"legend.frameon": False, "legend.fontsize": 8})
    if get_ipython() is not None:
        # Not without a shell: the backend looks for it once, when it is imported.
        from matplotlib_inline.backend_inline import set_matplotlib_formats

        # The layout has left no margins to trim, and finding that out draws everything twice.
        set_matplotlib_formats("retina", bbox_inches=None)  # type: ignore[no-untyped-call]


def canvas(
    height: float, columns: int = 1, width: float = 7.6, rows: int = 1, **options: Any
) -> tuple[Figure, list[Axes]]:
    """Open a figure in the book's style, with its panels row by row.

    Parameters
    ----------
    height : of a row, in inches
    width : of the figure
    options : of `plt.subplots`
    """
    use_style()
    size = (width, height * rows)
    figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, **options)
    return figure, list(axes.flat)


def small_multiples(
    frame: pd.DataFrame, panels: str | list[str], rows: str | None = None, *, height: float,
    x: str, y: str,
) -> tuple[Figure, list[tuple[Axes, pd.DataFrame]]]:  # fmt: skip
    """Lay out a panel for each value of an axis (or of several), and a row for each of another.

    Parameters
    ----------
    frame : table with the axes as columns; every panel comes with its own part
    x, y : words at the outer axes
    """
    if not isinstance(panels, str):
        values = frame[panels].itertuples(index=False)
        frame = frame.assign(panel=[", ".join(map(title, panels, row)) for row in values])
        panels = "panel"
    across, down = frame[panels].unique(), frame[rows].unique() if rows else [None]
    shape: dict[str, Any] = {"columns": len(across), "rows": len(down)}
    width = max(2.6 * len(across), 7.6)
    figure, axes = canvas(height, width=width, sharex=True, sharey="row", **shape)
    found = []
    for ax, (upper, value) in zip(axes, itertools.product(down, across), strict=True):
        part, words = frame[frame[panels] == value], title(panels, value)
        if rows:
            part, words = part[part[rows] == upper], f"{words}, {title(rows, upper)}"
        ax.set(title=words, xlabel=x, ylabel=y)
        ax.label_outer()
        found.append((ax, part))
    return figure, found


def finish(figure: Figure, results: Results | None = None) -> Figure:
    """Put one legend of all panels below them, and mark a figure that is no result as such."""
    found: dict[str, Any] = {}
    for ax in figure.axes:
        handles, labels = ax.get_legend_handles_labels()
        found = dict(zip(labels, handles, strict=True)) | found
    if found:
        widest = 0.5 + 0.065 * max(map(len, found))  # inches
        columns = min(len(found), max(1, int(figure.get_figwidth() / widest)))
        rows = -(-len(found) // columns)
        figure.set_figheight(figure.get_figheight() + 0.08 + 0.17 * rows)
        figure.legend(found.values(), found, loc="outside lower center", ncols=columns)
    if results is not None and results.grid.profile == "smoke":
        figure.text(0.5, 0.5, "smoke test: no result", rotation=25, fontsize=26, alpha=0.35,
                    ha="center", va="center", color="#b00000")  # fmt: skip
    return figure


def nothing_yet(results: Results) -> Figure:
    """Return the figure that stands where nothing is measured."""
    figure, (ax,) = canvas(1, width=7)
    ax.text(0.5, 0.5, "not measured yet", ha="center", va="center")
    ax.set_axis_off()
    return finish(figure, results)
