"""What the random loss weight costs a step (rg-cost): runs as plain data, and their ratios."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pandas as pd

from rgkit.method.spec import Spec
from rgkit.models.names import model
from rgkit.runs.config import PRECISIONS, Config, require
from rgkit.runs.grid import Cell, Grid
from rgkit.runs.profiles import pick
from rgkit.runs.records import Store
from rgkit.runs.results import Results


@dataclass(frozen=True)
class StepTiming(Config):
    """Paired timing of a training step with and without the random loss weight (rg-cost).

    Parameters
    ----------
    model : str
    size, batch : int
        Images are [batch, 3, size, size] of random numbers.
    precision : str
    pairs : int
        How many pairs of blocks are timed, the order within a pair alternating.
    steps : int
        Training steps in a block.
    seed : int
    """

    task: ClassVar[str] = "step-timing"
    code: ClassVar[str] = "rgkit.chapters.step_timing.task"
    model: str = "resnet8(16)"
    size: int = 32
    batch: int = 128
    precision: str = "bfloat16"
    pairs: int = 40
    steps: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("size", "batch", "pairs", "steps"):
            value = getattr(self, name)
            least = 2 if name in ("batch", "pairs") else 1
            require(isinstance(value, int) and value >= least, name, value, f"{least} or more")
        require(self.precision in PRECISIONS, "precision", self.precision, f"one of {PRECISIONS}")
        object.__setattr__(self, "model", str(self.network()))

    def network(self) -> Spec:
        """Return the network, see `rgkit.models.names`."""
        return model(self.model)


KIND = StepTiming


def grid(profile: str, store: Store | None = None) -> Grid:
    """Return the grid of the step-timing notebook: a few networks, one run each.

    >>> grid("smoke")[0].config.pairs
    4
    """
    store = store or Store()
    small, paper = StepTiming(), StepTiming(model="resnet34", pairs=30, steps=20)
    bases: dict[str, list[Config]] = {
        "smoke": [StepTiming(model="resnet8(4)", batch=16, size=8, pairs=4, steps=3)],
        "quick": [small, StepTiming(model="resnet18", pairs=16, steps=1)],
        "short": [paper],
        "paper": [paper, paper.replace(precision="float32")],
    }
    options = {
        name: tuple(Cell({"model": c.as_dict()["model"]}, c) for c in configs)
        for name, configs in bases.items()
    }
    name, note, chosen = pick(options, profile, store)
    return Grid(chosen, name, note, ("model",))


def ratios(results: Results) -> pd.DataFrame:
    """Return the ratios of step times pair by pair, a row a pair: model, what, ratio.

    ``what`` is "RG / plain" or, as a check of the clock, "plain again / plain". The denominator is
    the geometric mean of both plain blocks of the pair for RG, the first block for the check.
    """
    parts = []
    for name, frame in results.epochs.groupby("model", sort=False):
        middle = (frame["plain"] * frame["plain_again"]) ** 0.5
        each = {
            "RG / plain": frame["rg"] / middle,
            "plain again / plain": frame["plain_again"] / frame["plain"],
        }
        for what, ratio in each.items():
            parts.append(pd.DataFrame({"model": name, "what": what, "ratio": ratio}))
    return pd.concat(parts, ignore_index=True)
