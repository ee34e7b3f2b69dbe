"""The effective learning rate of networks with batch norm, against prediction 6.

Behind batch norm the length of a weight vector changes nothing but how far a step turns it: by the
learning rate over the squared length. Weight decay and the steps themselves set that length.
"""

from __future__ import annotations

import pandas as pd

from rgkit import weights
from rgkit.config import Classification
from rgkit.execute import Results
from rgkit.grid import arm_of


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
    m1, m2 = weights.law(config.weight).moments()
    rate, decay = config.lr / plain.lr, config.weight_decay / plain.weight_decay
    m2 *= plain.batch / config.batch  # where noise is most of a gradient, as late in training
    norm = (rate * m2 / decay) ** 0.25
    return pd.Series({"first": rate * m1, "last": rate * m1 / norm**2, "norm": norm}, name=arm)


def effective_rates(results: Results) -> pd.DataFrame:
    """Return each epoch's effective learning rate and its ratio to that of plain training.

    Returns
    -------
    ``results.epochs`` with two more columns: ``effective``, the learning rate times the mean loss
    weight over the squared norm of the weights, and ``relative``, that over the same of the plain
    run with the same other labels, seed and epoch (missing where there is none)
    """
    epochs = results.epochs.copy()
    configs = {r.key: r.config for r in results.records if isinstance(r.config, Classification)}
    means = {k: weights.law(c.weight).moments(c.epochs)[0] for k, c in configs.items()}
    epochs["effective"] = epochs["lr_now"] * epochs["key"].map(means) / epochs["weight_norm"] ** 2
    same = [*(a for a in results.grid.axes if a != "arm"), "epoch"]
    plain = epochs[epochs["arm"] == "plain"].set_index(same)["effective"].rename("plain")
    epochs = epochs.join(plain, on=same)
    return epochs.assign(relative=epochs["effective"] / epochs["plain"]).drop(columns="plain")
