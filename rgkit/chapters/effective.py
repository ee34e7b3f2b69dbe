"""The effective learning rate of networks with batch norm, against predictions 6 and 14.

Behind batch norm the length of a weight vector changes nothing but how far a step turns it: by the
learning rate over the squared length. Weight decay and the steps themselves set that length.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from rgkit.figures.plots import draw_curves
from rgkit.figures.style import finish, looks, small_multiples
from rgkit.method import laws
from rgkit.models.classification import build
from rgkit.runs.config import Classification, Trained
from rgkit.runs.grid import arm_of
from rgkit.runs.results import Results
from rgkit.train.loop import weight_norm


def expected(arm: str) -> pd.Series:
    """Return what prediction 6 expects of an arm relative to plain training.

    Steps of random sign make the squared weights grow by η²·m2 a step and decay takes ηλ of them,
    so they come to rest where the fourth power of the norm goes with η·m2/λ. The effective rate is
    η·m1 over the squared norm: m1 while the norms are still equal, m1/√m2 at rest.

    Returns
    -------
    Series with ``first`` and ``last``, the ratio of effective rates at the start and at rest, and
    ``norm``, the ratio of the norms at rest

    Examples
    --------
    >>> expected("RG").round(3).to_dict()
    {'first': 0.5, 'last': 0.866, 'norm': 0.76}
    >>> expected("constant 1/2").round(3).to_dict()
    {'first': 0.5, 'last': 1.0, 'norm': 0.707}
    """
    plain = Classification()
    config = arm_of(arm, plain)
    m1, m2 = laws.law(config.weight).moments()
    rate, decay = config.lr / plain.lr, config.coefficient / plain.coefficient
    m2 *= plain.batch / config.batch  # where noise is most of a gradient, as late in training
    norm = (rate * m2 / decay) ** 0.25
    return pd.Series({"first": rate * m1, "last": rate * m1 / norm**2, "norm": norm}, name=arm)


def _configs(results: Results) -> dict[str, Trained]:
    return {r.key: r.config for r in results.records if isinstance(r.config, Trained)}


def effective_rates(results: Results) -> pd.DataFrame:
    """Return each epoch's effective learning rate and its ratio to that of plain training.

    Returns
    -------
    ``results.epochs`` with more columns: ``effective``, the learning rate times the mean loss
    weight over the squared norm of the weights; four of the plain run with the same other labels,
    seed and epoch, such as ``plain key`` (missing where there is none); and ``relative``, the
    effective rate over that of the plain run
    """
    epochs = results.epochs.copy()
    means = {k: laws.law(c.weight).moments(c.epochs)[0] for k, c in _configs(results).items()}
    epochs["effective"] = epochs["lr_now"] * epochs["key"].map(means) / epochs["weight_norm"] ** 2
    same = [*(a for a in results.grid.axes if a != "arm"), "epoch"]
    plain = epochs[epochs["arm"] == "plain"].set_index(same)
    plain = plain[["key", "lr_now", "weight_norm", "effective"]].add_prefix("plain ")
    epochs = epochs.join(plain, on=same)
    return epochs.assign(relative=epochs["effective"] / epochs["plain effective"])


def grown(
    plain: ArrayLike, start: float, decayed: ArrayLike, gain: float = 1.0
) -> NDArray[np.float64]:
    """Return the norms that weights would have if their steps were those of plain training, scaled.

    Behind batch norm steps stand at right angles to the weights and go with 1/norm, so the fourth
    power x of the norm obeys dx/dt = 2η²·m2·G² - 4ηλx. What an epoch of plain training added to x,
    beyond what decay left, is read off its norms; another arm adds `gain` times that, starts from
    the same weights and forgets as fast (prediction 14).

    Parameters
    ----------
    plain : norm after each epoch of plain training, [epochs]
    start : norm of the fresh weights
    decayed : 4·η·λ·steps/(1 - α) of each epoch, [epochs] or one number for all
    gain : the arm's η²·m2 in units of plain training's

    Returns
    -------
    float64 [epochs], the norm after each epoch

    Examples
    --------
    >>> grown([2.0, 3.0], start=1.0, decayed=0.1).round(3).tolist()
    [2.0, 3.0]
    >>> grown([2.0, 3.0], start=1.0, decayed=0.0, gain=0.25).round(3).tolist()
    [1.476, 2.141]
    """
    norms = np.asarray(plain, float)
    kept = np.broadcast_to(np.exp(-np.asarray(decayed, float)), norms.shape)
    before = np.concatenate([[start], norms[:-1]]) ** 4
    x, own = float(start) ** 4, []
    for added, left in zip(norms**4 - kept * before, kept, strict=True):
        x = left * x + gain * added
        own.append(x**0.25)
    return np.array(own)


def foretold(results: Results) -> pd.DataFrame:
    """Return `effective_rates` with what the norms of plain training foretell of the others.

    Returns
    -------
    The table with one more column, ``foretold``: what ``relative`` is by `grown`. It is missing
    where there is no plain run with the same other labels and seed that is at least as long, and
    for an arm that forgets at another pace than plain training or whose law changes with time.
    """
    table, configs = effective_rates(results).assign(foretold=float("nan")), _configs(results)
    for key, own in table.groupby("key", sort=False):
        if own["plain key"].isna().any():
            continue
        config, first = configs[str(key)], configs[own["plain key"].iloc[0]]
        pace, forgets = own["lr_now"] * config.coefficient, own["plain lr_now"] * first.coefficient
        law = laws.law(config.weight)
        steady = law.name == "constant" or (law.chance and law.name not in ("late", "formula"))
        if not (steady and np.allclose(pace, forgets)):
            continue
        (m1, m2), rate = law.moments(config.epochs), config.lr / first.lr
        norms = own["plain weight_norm"]
        decayed = 4 * pace * config.steps / config.epochs / (1 - config.momentum)
        # Of a smaller batch the noise of a step is larger, and an epoch has more of them.
        gain = rate**2 * m2 * (first.batch / config.batch) * config.steps / first.steps
        start = float(weight_norm(build(first.model, seed=first.seed)))
        foreseen = grown(norms, start, decayed, gain)
        table.loc[own.index, "foretold"] = rate * m1 * (norms / foreseen) ** 2
    return table


def relative_rates(rates: pd.DataFrame, results: Results, panels: str) -> Figure:
    """Draw the effective learning rate relative to plain training, with what theory expects.

    Parameters
    ----------
    rates : DataFrame from `effective_rates`, or of `foretold`, which is drawn too
    """
    words = {"x": "epoch", "y": "effective rate / plain"}
    figure, parts = small_multiples(rates, panels, height=2.6, **words)
    for ax, frame in parts:
        draw_curves(ax, frame[frame["arm"] != "plain"], "relative", looks(rates["arm"]))
        for arm, look in looks(frame.loc[frame["arm"] != "plain", "arm"]).items():
            ax.axhline(expected(arm)["last"], color=look.color, lw=1, ls="--")
            ax.axhline(expected(arm)["first"], color="#777777", lw=1, ls=":")
            if "foretold" in frame:
                path = frame[frame["arm"] == arm].groupby("epoch")["foretold"].mean()
                dark = look.line | {"color": "#222222"}
                ax.plot(path.index, path, **dark, lw=1, label=f"{arm}, foretold")
        ax.set_ylim(0.4, max(1.1, rates["relative"].max() + 0.03))
    return finish(figure, results)
