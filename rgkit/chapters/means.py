"""What runs end with over a number of their arm, such as the mean of its loss weight."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rgkit.figures.plots import measured
from rgkit.figures.style import Look, finish, log_ticks, looks, nothing_yet, small_multiples
from rgkit.method import laws
from rgkit.runs.config import Classification, Trained
from rgkit.runs.grid import arm_of
from rgkit.runs.results import Results


def at_places(
    ax: Axes, places: Mapping[str, float], values: pd.DataFrame, column: str,
    joined: Iterable[str], styles: Mapping[str, Look],
) -> None:  # fmt: skip
    """Draw what each arm reaches over a number: dots are seeds, marks their mean.

    Parameters
    ----------
    places : number of each arm, x
    values : table with ``arm`` and `column`, y
    joined : arms whose means a thin line joins
    """
    means = values.groupby("arm")[column].mean()
    for arm, x in places.items():
        own = values.loc[values["arm"] == arm, column]
        ax.plot([x] * len(own), own, ".", color=styles[arm].color, ms=5, alpha=0.6)
        ax.plot(x, means[arm], **styles[arm].mark, ms=9, label=arm)
    line = pd.Series({places[arm]: means[arm] for arm in joined}, dtype=float).sort_index()
    ax.plot(line.index, line, color="#4c4c4c", lw=1, zorder=0)


def by_mean_weight(results: Results, panels: str = "momentum") -> Figure:
    """Draw what each arm ends with over its mean weight: dots are seeds, marks their mean.

    A line joins the laws without chance. How far a random law lies from it is what its chance does
    where there is a constant of the same mean; between two constants the line is a chord. An arm
    with another learning rate stands where a constant weight would give it that rate.
    """
    runs, plain = results.runs.dropna(subset=["final"]), Classification()
    if runs.empty:
        return nothing_yet(results)
    epochs = max(r.config.epochs for r in results.records if isinstance(r.config, Trained))
    styles, places, fixed = looks(runs["arm"]), {}, []
    for arm in styles:
        config = arm_of(arm, plain)
        law = laws.law(config.weight)
        places[arm] = law.moments(epochs)[0] * config.lr / plain.lr
        if isinstance(law, laws.Constant) and config.batch == plain.batch:
            fixed.append(arm)
    words = {"x": "mean of the loss weight", "y": measured(results)[1]}
    figure, parts = small_multiples(runs, panels, height=3.4, **words)
    for ax, frame in parts:
        here = {arm: x for arm, x in places.items() if (frame["arm"] == arm).any()}
        at_places(ax, here, frame, "final", [arm for arm in fixed if arm in here], styles)
        log_ticks(ax, set(places.values()))
    return finish(figure, results)
