"""What the random loss weight costs a step (rg-cost): runs as plain data."""

from __future__ import annotations

from typing import ClassVar

from rgkit.method.spec import Spec, number, one_of
from rgkit.models.names import model
from rgkit.runs.config import Config
from rgkit.runs.grid import Cell, Grid
from rgkit.runs.profiles import pick
from rgkit.runs.records import Store


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
    size: int = number(32, 1)
    batch: int = number(128, 2)
    precision: str = one_of("bfloat16", "float32", "float64")
    pairs: int = number(40, 2)
    steps: int = number(10, 1)
    seed: int = number(0)

    def __post_init__(self) -> None:
        super().__post_init__()
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
