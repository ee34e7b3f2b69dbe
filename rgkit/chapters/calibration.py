"""What the pages on Calibrated SGD show of the layer: paths of R, equal branches, costs, errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import seaborn as sns
import torch
from matplotlib.figure import Figure
from torch import nn

from rgkit.chapters.detection import Detection
from rgkit.chapters.detection.network import cost_of_backbone
from rgkit.chapters.image_folder import ImageFolder
from rgkit.chapters.means import at_places
from rgkit.figures.style import canvas, finish, log_ticks, looks, nothing_yet, small_multiples
from rgkit.models.calibrated import Calibrated, GCConv2d, gc_layers
from rgkit.models.classification import build, cost
from rgkit.models.names import GC
from rgkit.runs.config import Classification, Trained
from rgkit.runs.grid import Grid
from rgkit.runs.results import Results
from rgkit.train.loop import Training
from rgkit.train.step import PlainStep

T = TypeVar("T")


def watch(config: Trained, see: Callable[[nn.Module], T]) -> list[T]:
    """Train a run on the CPU and return what `see` makes of the network before and after each step.

    Nothing is recorded: this is for looking, at the scale of a page.

    >>> tiny = Classification(data="digits", images=64, model="resnet8(2)", epochs=1, batch=32)
    >>> len(watch(tiny, lambda net: None))
    3
    """
    training = Training(config, "cpu", "plain")
    assert isinstance(training.step, PlainStep)
    net = training.step.net
    seen = [see(net)]
    training.step.optimizer.register_step_post_hook(lambda *_: seen.append(see(net)))
    while not training.over:
        training.advance()
    return seen


def paths_of_r(config: Trained) -> pd.DataFrame:
    """Return R at the centre of the kernel of the second GC layer, a row a step, a column a branch.

    >>> tiny = Classification(data="digits", images=64, model="gc(2, base='resnet8(2)')", epochs=1,
    ...                       batch=32)
    >>> paths_of_r(tiny).sum(axis=1).round(6).tolist()
    [1.0, 1.0, 1.0]
    """

    def see(net: nn.Module) -> np.ndarray:
        r = gc_layers(net)[1].R.detach()
        return r[:, r.shape[1] // 2, r.shape[2] // 2].numpy().copy()

    table = pd.DataFrame(watch(config, see)).rename(columns=lambda k: f"branch {k + 1}")
    return table.rename_axis("step")


def largest_steps(config: Trained) -> np.ndarray:
    """Return how far the weight that moves most moves, at each step of a run, [steps].

    >>> tiny = Classification(data="digits", images=64, model="resnet8(2)", epochs=1, batch=32)
    >>> largest_steps(tiny).shape
    (2,)
    """

    def see(net: nn.Module) -> torch.Tensor:
        return torch.cat([p.detach().flatten() for p in net.parameters()])

    found: np.ndarray = torch.stack(watch(config, see)).diff(dim=0).abs().amax(1).numpy()
    return found


def equal_branches(model: str = "resnet8(8)", branches: int = 4) -> dict[str, float]:
    """Hold a network of equal branches against the plain one that they were made from.

    All R are 1/K, and the classifier takes the mean of the branches. Every branch then computes the
    plain network's features, its kernels being 1/K of the plain ones, which batch norm divides out.

    Returns
    -------
    ``distance``, the largest difference between the logits of the two on random images, in float64
    and relative to the largest logit, and ``times``, the ratio of multiply-accumulates
    """
    plain = build(model).double()
    net = Calibrated(plain, GC(branches=branches, join="mean")).double()
    for gc in gc_layers(net):
        nn.init.constant_(gc.R, 1 / branches)
    for norm in (m for m in net.modules() if isinstance(m, nn.BatchNorm2d)):
        norm.eps /= branches**2  # it is added to a variance that is 1/K**2 of the plain one
    images = torch.from_numpy(np.random.default_rng(0).normal(size=(8, 3, 32, 32)))
    with torch.no_grad():
        logits, same = plain(images), net(images)
    distance = float((logits - same).abs().max() / logits.abs().max())
    one, many = cost(model), cost(f"gc({branches}, base={model!r})")
    return {"distance": distance, "times": many.macs / one.macs}


def costs(grid: Grid) -> pd.DataFrame:
    """Return what each arm of a grid costs: parameters without R, R, and arithmetic an image.

    ``times`` is by the first arm. Of a detector its backbone is counted; the rest is the same in
    every arm. A grid with the axis ``model`` has rows under (model, arm), any other under arm.

    >>> from rgkit.runs.grid import cross
    >>> plain, arms = Classification(model="resnet8(4)"), ["plain", "gc(2)", "wider(2)"]
    >>> costs(Grid(cross(plain, {"arm": arms})))["times"].round(2).tolist()
    [1.0, 2.0, 2.15]
    >>> axes = {"model": ["wrn(10, 0.5)", "resnet8(4)"], "arm": ["plain", "gc(3)"]}
    >>> costs(Grid(cross(plain, axes))).loc["resnet8(4)"]["times"].tolist()
    [1.0, 3.0]
    """
    rows = {}
    for cell in grid:
        config = cell.config
        if isinstance(config, Detection):
            found = cost_of_backbone(config.model, config.size)
        else:
            assert isinstance(config, Classification | ImageFolder)
            size = config.size if isinstance(config, ImageFolder) else 32
            found = cost(config.model, size, 1_000 if config.data == "imagenet" else 10)
        place = cell.labels.get("model", ""), cell.labels["arm"]
        rows[place] = found.parameters, found.in_r, found.macs
    index = pd.MultiIndex.from_tuples(rows, names=["model", "arm"])
    table = pd.DataFrame([*rows.values()], index, ["parameters", "in R", "macs"])
    table["times"] = table["macs"] / table.groupby("model")["macs"].transform("first")
    return table if index.unique("model").any() else table.droplevel("model")


def layer_diagram(layer: GCConv2d, picture: np.ndarray) -> Figure:
    """Draw what a GC layer of one channel does to a picture [height, width], branch by branch.

    Every tile is a tensor of the layer as it is, none is drawn for the purpose: the kernel w, R_k,
    their product H_k, the picture, and what the layer's forward pass returns for branch k.
    """
    branches = layer.spec.branches
    with torch.no_grad():
        features = torch.from_numpy(picture).to(layer.weight.dtype)
        out = layer(features.expand(1, branches, *picture.shape))[0].numpy()
        w, r, kernels = layer.weight[0, 0].numpy(), layer.R.numpy(), layer.kernels()[:, 0].numpy()
    figure, axes = canvas(1.45, 5, rows=branches)
    largest = float(np.abs(w).max())
    bare: dict[str, Any] = {"square": True, "cbar": False, "fmt": ".2f"}
    bare |= {"xticklabels": False, "yticklabels": False}
    kernel: dict[str, Any] = {"cmap": "RdBu_r", "vmin": -largest, "vmax": largest}
    share = {"cmap": "Greens", "vmin": 0, "vmax": 1, "annot": True, "annot_kws": {"size": 6}}
    colors: list[dict[str, Any]] = [kernel, share, kernel, {"cmap": "gray"}, {"cmap": "gray"}]
    for k in range(branches):
        row = axes[5 * k : 5 * k + 5]
        tiles = (w, r[k], kernels[k], picture, out[k])
        names = ("$w$", f"$R_{k + 1}$", f"$H_{k + 1}$", f"$F_{k + 1}$", f"$F'_{k + 1}$")
        for ax, tile, name, color in zip(row, tiles, names, colors, strict=True):
            sns.heatmap(tile, ax=ax, **bare, **color)
            ax.set_xlabel(f"{name}, {'×'.join(map(str, tile.shape))}", fontsize=8)
        for ax, sign in zip(row, "∗=⊗=", strict=False):
            ax.text(1.12, 0.5, sign, transform=ax.transAxes, fontsize=13, ha="center", va="center")
    return figure


def error_by_cost(own: pd.DataFrame, costs: pd.DataFrame, results: Results, panels: Any) -> Figure:
    """Draw the test error of each arm over its arithmetic: dots are seeds, marks their mean.

    The line joins the plain networks, the narrow one and the wider ones.

    Parameters
    ----------
    own : from `rgkit.crossfit`, with the columns arm and final and those that name the rows of
        `costs`
    costs : see the function of this name
    panels : column of `own`, or several
    """
    if own.empty:
        return nothing_yet(results)
    table = own.join(costs["macs"] / 1e6, on=list(map(str, costs.index.names))).assign(
        error=100 - own["final"]
    )
    words = {"x": "million multiply-accumulates an image", "y": "test error, %"}
    figure, parts = small_multiples(table, panels, height=3, **words)
    plain = table["arm"].eq("plain") | table["arm"].str.contains("wider")
    for ax, part in parts:
        places = dict(zip(part["arm"], part["macs"], strict=True))
        joined = part.loc[plain, "arm"].unique()
        at_places(ax, places, part, "error", joined, looks(own["arm"]))
        log_ticks(ax, table.loc[plain, "macs"].round(1).unique())
    return finish(figure, results)
