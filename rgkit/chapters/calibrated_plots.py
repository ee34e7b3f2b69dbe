"""The figures of the chapters on Calibrated SGD."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rgkit.figures.plots import _arms, _stamp, draw_curves, nothing_yet
from rgkit.figures.style import OTHERS, canvas, log_ticks, looks, use_style
from rgkit.models.calibrated import GCConv2d
from rgkit.train.execute import Results


def layer_diagram(layer: GCConv2d, picture: np.ndarray) -> Figure:
    """Draw what a GC layer of one channel does to a picture [height, width], branch by branch.

    Every tile is a tensor of the layer as it is, none is drawn for the purpose: the kernel w, R_k,
    their product H_k, the picture, and what the layer's forward pass returns for branch k.
    """
    import torch

    use_style()
    branches = layer.spec.branches
    with torch.no_grad():
        dtype = layer.weight.dtype
        features = torch.from_numpy(picture).to(dtype).expand(1, branches, *picture.shape)
        out, kernels = layer(features)[0].numpy(), layer.kernels()[:, 0].numpy()
        w, r = layer.weight[0, 0].numpy(), layer.R.numpy()
    figure, axes = plt.subplots(branches, 5, figsize=(7.6, 1.45 * branches), squeeze=False)
    largest = float(np.abs(w).max())
    for k, row in enumerate(axes):
        tiles = (w, r[k], kernels[k], picture, out[k])
        names = ("$w$", f"$R_{k + 1}$", f"$H_{k + 1}$", f"$F_{k + 1}$", f"$F'_{k + 1}$")
        for place, (ax, tile, name) in enumerate(zip(row, tiles, names, strict=True)):
            if place in (0, 2):
                ax.imshow(tile, cmap="RdBu_r", vmin=-largest, vmax=largest)
            elif place == 1:
                ax.imshow(tile, cmap="Greens", vmin=0, vmax=1)
                for (y, x), value in np.ndenumerate(tile):
                    shade = "white" if value > 0.6 else "black"
                    ax.text(x, y, f"{value:.2f}", ha="center", va="center", fontsize=6, color=shade)
            else:
                ax.imshow(tile, cmap="gray")
            ax.set_xticks([], [])
            ax.set_yticks([], [])
            shape = "×".join(map(str, tile.shape))
            ax.set_xlabel(f"{name}, {shape}", fontsize=8)
        for ax, sign in zip(row, ("∗", "=", "⊗", "="), strict=False):
            ax.text(1.12, 0.5, sign, transform=ax.transAxes, fontsize=13, va="center", ha="center")
    return figure


def paths_of_r(tables: dict[str, pd.DataFrame]) -> Figure:
    """Draw R over the steps, a line a branch, a panel a way to train.

    Parameters
    ----------
    tables : from `rgkit.chapters.calibration.paths_of_r`, by the title of the panel
    """
    figure, axes = canvas(2.8, len(tables), sharey=True)
    for ax, (title, table) in zip(axes, tables.items(), strict=True):
        for branch, part in table.groupby("branch"):
            color = OTHERS[(int(str(branch)) - 1) % len(OTHERS)]
            ax.plot(part["step"], part["R"], color=color, lw=1.4, label=f"branch {branch}")
        ax.set_title(title, fontsize=10)
        ax.set_xlabel("step")
    axes[0].set_ylabel("R at the centre\nof the kernel")
    axes[0].legend(fontsize=8, ncols=2)
    return figure


def error_by_cost(own: pd.DataFrame, costs: pd.DataFrame, results: Results) -> Figure:
    """Draw the test error of each arm over its arithmetic: dots are seeds, marks their mean.

    Parameters
    ----------
    own : from `rgkit.crossfit`: arm, seed, final
    costs : from `rgkit.chapters.calibration.costs`

    The line joins the plain networks, the narrow one and the wider ones.
    """
    if own.empty:
        return _stamp(nothing_yet(), results)
    figure, (ax,) = canvas(3.4)
    _errors(ax, own, costs)
    return _stamp(figure, results)


def errors_by_cost(own: pd.DataFrame, costs: pd.DataFrame, results: Results) -> Figure:
    """Draw `error_by_cost` for every network and data set, a panel each.

    Parameters
    ----------
    own : from `rgkit.crossfit`: model, data, arm, seed, final
    costs : from `rgkit.chapters.calibration.costs_of_networks`
    """
    if own.empty:
        return _stamp(nothing_yet(), results)
    use_style()
    parts: list[tuple[Any, pd.DataFrame]] = list(own.groupby(["data", "model"], sort=False))
    figure, axes = plt.subplots(len(parts), figsize=(7.6, 3.2 * len(parts)), squeeze=False)
    for ax, ((data, model), part) in zip(axes[:, 0], parts, strict=True):
        _errors(ax, part, costs.loc[model])
        ax.set_title(f"made from {model}, {data}", fontsize=10)
    return _stamp(figure, results)


def _errors(ax: Axes, own: pd.DataFrame, costs: pd.DataFrame) -> None:
    line: dict[float, float] = {}
    for arm, look in looks(_arms(own)).items():
        error = 100 - own.loc[own["arm"] == arm, "final"]
        x = float(costs["macs"][arm]) / 1e6
        ax.plot([x] * len(error), error, ".", color=look["color"], ms=5, alpha=0.6)
        ax.plot(x, error.mean(), ls="none", ms=9, **look, label=arm)
        if arm == "plain" or "wider" in arm:
            line[x] = float(error.mean())
    ax.plot(sorted(line), [line[x] for x in sorted(line)], color="#4c4c4c", lw=1, zorder=0)
    ticks: list[float] = []
    for million in sorted({round(m / 1e6, 1) for m in costs["macs"]}):
        if not ticks or million > 1.1 * ticks[-1]:  # numbers that stand closer cover each other
            ticks.append(million)
    log_ticks(ax, ticks)
    ax.set(xlabel="million multiply-accumulates an image", ylabel="test error, %")
    ax.legend(fontsize=8)


def error_curves(results: Results) -> Figure:
    """Draw training error (left) and test error (right) over the epochs, as CSGD Fig. 2 does."""
    figure, axes = canvas(3.2, 2, sharey=True)
    for ax, split in zip(axes, ("train", "test"), strict=True):
        error = 100 - results.epochs[f"{split}_accuracy"]
        draw_curves(ax, results.epochs.assign(error=error), "error")
        ax.set_title(f"{split}ing error, %" if split == "train" else "test error, %", fontsize=10)
        ax.set_xlabel("epoch")
    axes[1].legend(fontsize=8)
    return _stamp(figure, results)


def tails(table: pd.DataFrame) -> Figure:
    """Draw how often the mean of a walk is that far off, and what the paper allows.

    Parameters
    ----------
    table : from `rgkit.chapters.concentration.tails`
    """
    parts = list(table.groupby("process", sort=False))
    figure, axes = canvas(2.9, len(parts), sharey=True)
    for ax, (process, part) in zip(axes, parts, strict=True):
        x = part["distance"]
        ax.plot(x, part["theorem"], color="#0072b2", lw=1.8, label="theorem allows")
        ax.plot(x, part["lemma"], color="#0072b2", lw=1.4, ls=":", label="Lemma 3 allows")
        seen = part[part["frequency"] > 0]
        ax.plot(seen["distance"], seen["frequency"], color="#d55e00", lw=2.2, label="happens")
        ax.set(yscale="log", xscale="log", ylim=(3e-5, 2), xlabel="distance")
        ax.set_title(str(process), fontsize=10)
    axes[0].set_ylabel("probability")
    axes[0].legend(fontsize=7, loc="lower left")
    return figure
