"""What the random loss weight costs a step (rg-cost): runs as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rgkit.method.spec import Spec
from rgkit.models.names import model
from rgkit.runs.config import PRECISIONS, Config
from rgkit.runs.grid import Cell, Grid
from rgkit.runs.profiles import pick
from rgkit.runs.records import Store


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
        self.whole(size=1, batch=2, pairs=2, steps=1, seed=0)
        self.choose(precision=PRECISIONS)
        object.__setattr__(self, "model", str(self.network()))

    def network(self) -> Spec:
        """Return the network, see `rgkit.models.names`."""
        return model(self.model)


KIND = StepTiming


def grid(profile: str) -> Grid:
    """Return the grid of the step-timing notebook: a few networks, one run each.

    >>> grid("smoke")[0].config.pairs
    4
    """
    paper = StepTiming(model="resnet34", pairs=30, steps=20)
    bases = {
        "smoke": [StepTiming(model="resnet8(4)", batch=16, size=8, pairs=4, steps=3)],
        "quick": [StepTiming(), StepTiming(model="resnet18", pairs=16, steps=1)],
        "short": [paper],
        "paper": [paper, paper.replace(precision="float32")],
    }
    cells = {name: tuple(Cell({"model": c.model}, c) for c in own) for name, own in bases.items()}
    name, note, chosen = pick(cells, profile, Store())
    return Grid(chosen, name, note, ("model",))
