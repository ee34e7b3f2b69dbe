"""Deep networks without skip connections: how the gradient shrinks with depth, and what u does."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import torch
from torch import nn
from torch.nn import functional as F

from rgkit.data import images as labelled
from rgkit.data.augment import Augmenter
from rgkit.models.classification import build
from rgkit.train.step import backward


def gradient_norms(
    models: Sequence[str],
    weights: Sequence[float] = (1.0, 2.0),
    *,
    data: str = "digits",
    batch: int = 128,
    seeds: Sequence[int] = (0, 1, 2),
) -> pd.DataFrame:
    """Return the gradient of each layer of fresh networks on one batch (LD section I, Fig. 1).

    Parameters
    ----------
    models : names, see `rgkit.models.names`
    weights : constants that multiply the loss
    data : the images, the first `batch` in canonical order, without augmentation
    seeds : of the initial weights

    Returns
    -------
    DataFrame, a row a layer: model, weight, seed, ``layer`` from 1 at the input, and ``norm``, the
    length of the gradient of its weights

    Examples
    --------
    >>> table = gradient_norms(["plain_net(5, 2)"], batch=4, seeds=[0])
    >>> table.query("layer == 1")["norm"].pct_change().dropna().round(4).tolist()
    [1.0]

    Both layers' gradients double with the weight: it changes none of their ratios.
    """
    found = labelled.load(data)
    source, pixels = found.source, torch.from_numpy(found.train.images[:batch])
    look = Augmenter(pixels, source.mean, source.std, source.padding, torch.float32)
    images = look.plain(torch.arange(len(pixels)))
    labels = torch.from_numpy(found.train.targets[:batch])
    rows = []
    for name in models:
        for seed in seeds:
            net = build(name, len(source.classes), seed=seed)
            layers = [m for m in net.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
            for u in weights:
                net.zero_grad()
                backward(F.cross_entropy(net(images), labels), u)
                for number, layer in enumerate(layers, 1):
                    gradient = layer.weight.grad
                    assert gradient is not None
                    row = {"model": name, "weight": u, "seed": seed, "layer": number}
                    rows.append(row | {"norm": float(gradient.norm())})
    return pd.DataFrame(rows)
