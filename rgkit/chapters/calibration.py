"""What the pages on Calibrated SGD show of the layer itself: paths of R, equal branches, costs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np
import pandas as pd
import torch
from torch import nn

from rgkit.chapters.detection import Detection
from rgkit.chapters.detection.network import cost_of_backbone
from rgkit.chapters.image_folder import ImageFolder
from rgkit.models.calibrated import Calibrated, gc_layers
from rgkit.models.classification import build
from rgkit.models.cost import cost
from rgkit.models.names import GC
from rgkit.runs.grid import Cell, Grid
from rgkit.runs.kinds import Classification, Trained
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


def paths_of_r(config: Trained, layer: int = 1) -> pd.DataFrame:
    """Return R at the centre of the kernel of one GC layer (from 0), a row a step and branch.

    >>> tiny = Classification(data="digits", images=64, model="gc(2, base='resnet8(2)')", epochs=1,
    ...                       batch=32)
    >>> paths_of_r(tiny).groupby("step")["R"].sum().round(6).tolist()
    [1.0, 1.0, 1.0]
    """

    def see(net: nn.Module) -> np.ndarray:
        r = gc_layers(net)[layer].R.detach()
        return r[:, r.shape[1] // 2, r.shape[2] // 2].numpy().copy()

    rows = np.array(watch(config, see))
    table = pd.DataFrame(rows, columns=pd.RangeIndex(1, rows.shape[1] + 1, name="branch"))
    table.index.name = "step"
    return table.reset_index().melt("step", value_name="R")


def largest_steps(config: Trained) -> np.ndarray:
    """Return how far the weight that moves most moves, at each step of a run, [steps].

    >>> tiny = Classification(data="digits", images=64, model="resnet8(2)", epochs=1, batch=32)
    >>> largest_steps(tiny).shape
    (2,)
    """

    def see(net: nn.Module) -> torch.Tensor:
        return torch.cat([p.detach().flatten() for p in net.parameters()])

    weights = torch.stack(watch(config, see))
    found: np.ndarray = weights.diff(dim=0).abs().amax(1).numpy()
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


def costs_of_networks(grid: Grid) -> pd.DataFrame:
    """Return the `costs` of the arms of several networks, under (model, arm).

    ``times`` is by the first arm of the network.

    >>> from rgkit.runs.grid import cross
    >>> axes = {"model": ["wrn(10, 0.5)", "resnet8(4)"], "arm": ["plain", "gc(3)"]}
    >>> costs_of_networks(Grid(cross(Classification(), axes)))["times"].tolist()
    [1.0, 3.0, 1.0, 3.0]
    """
    parts: dict[str, list[Cell]] = {}
    for cell in grid:
        parts.setdefault(str(cell.labels["model"]), []).append(cell)
    tables = {model: costs(Grid(tuple(cells))) for model, cells in parts.items()}
    return pd.concat(tables, names=["model", "arm"])


def costs(grid: Grid) -> pd.DataFrame:
    """Return what each arm of a grid costs: parameters without R, R, and arithmetic an image.

    Of a detector its backbone is counted; the rest is the same in every arm.

    >>> from rgkit.runs.grid import cross
    >>> plain, arms = Classification(model="resnet8(4)"), ["plain", "gc(2)", "wider(2)"]
    >>> costs(Grid(cross(plain, {"arm": arms})))["times"].round(2).tolist()
    [1.0, 2.0, 2.15]
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
        rows[cell.labels["arm"]] = (found.parameters, found.in_r, found.macs)
    table = pd.DataFrame.from_dict(rows, orient="index", columns=["parameters", "in R", "macs"])
    table.index.name = "arm"
    return table.assign(times=table["macs"] / table["macs"].iloc[0])
