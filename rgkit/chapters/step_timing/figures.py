"""What a step of Random Gradient costs: the times of each pair, and the figure of that page."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from rgkit.figures.plots import row_of_marks
from rgkit.figures.style import canvas, finish, looks, place_names
from rgkit.runs.results import Results

ARMS = {"plain again / plain": "plain", "RG / plain": "RG"}


def ratios(results: Results) -> pd.DataFrame:
    """Return the ratios of step times pair by pair, a row a pair: model, what, ratio.

    ``what`` is "RG / plain" or, as a check of the clock, "plain again / plain". The denominator is
    the geometric mean of both plain blocks of the pair for RG, the first block for the check.
    """
    frame = results.epochs
    middle = (frame["plain"] * frame["plain_again"]) ** 0.5
    table = frame[["model"]].assign(
        **{"RG / plain": frame["rg"] / middle},
        **{"plain again / plain": frame["plain_again"] / frame["plain"]},
    )
    table = table.melt("model", var_name="what", value_name="ratio", ignore_index=False)
    return table.sort_index(kind="stable", ignore_index=True)


def extra_time(table: pd.DataFrame, results: Results) -> Figure:
    """Draw the time of RG against plain, pair by pair, beside plain against plain.

    Parameters
    ----------
    table : from `ratios`
    """
    models = table["model"].unique()
    figure, axes = canvas(3, len(models), max(3.4 * len(models), 5))
    ratios = {what: looks([arm])[arm] for what, arm in ARMS.items()}
    for ax, model in zip(axes, models, strict=True):
        own = table[table["model"] == model]
        for place, (what, look) in enumerate(ratios.items()):
            extra = 100 * (own.loc[own["what"] == what, "ratio"] - 1)
            row_of_marks(ax, place, extra, look, ms=3, alpha=0.6)
        ax.axhspan(-1, 1, color="#999999", alpha=0.25, lw=0)
        place_names(ax, ratios)
        ax.set_title(str(model))
    axes[0].set_ylabel("extra time of a step, %")
    return finish(figure, results)
