"""Detection (CSGD Table 4): the run that trains a detector, as plain data, and its profiles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from rgkit.chapters.detection import boxes
from rgkit.data.source import Source
from rgkit.models.names import GC, StagedResNet, model
from rgkit.runs.config import Trained, require
from rgkit.runs.grid import Grid
from rgkit.runs.profiles import Sizes, trained


@dataclass(frozen=True)
class Detection(Trained):
    """One training run of Faster R-CNN, which finds objects and names them; see `Trained`.

    The defaults are the setting of Calibrated SGD's Table 4 where it is printed: VOC 2007, batch 4,
    a learning rate of 0.004 that falls by ten after 12,500 of 17,500 steps, weight decay 5e-4. Its
    backbones were trained on ImageNet first; here they begin with fresh weights. For `data` see
    `rgkit.chapters.detection.boxes`. What a record calls ``train_accuracy`` is of the true boxes
    the percentage that some proposal overlaps by half.

    Parameters
    ----------
    model : str
        The backbone: ``staged_resnet(widths, blocks)``, or ``gc(...)`` of one.
    size : int
        Height and width in pixels of what the network sees.
    head : int
        Channels that the two heads see, whatever the backbone gives.
    proposals : int
        How many regions of a picture are looked at twice.

    Examples
    --------
    >>> Detection(data="scenes", size=64, head=32).measure
    'test_map_11'
    >>> Detection(model="resnet18")
    Traceback (most recent call last):
    rgkit.runs.config.ConfigError: model='resnet18' given; staged_resnet(...) or gc(...) of one
    """

    task: ClassVar[str] = "detection"
    measure: ClassVar[str] = "test_map_11"
    code: ClassVar[str] = "rgkit.chapters.detection.task"
    sources: ClassVar[Mapping[str, Source]] = boxes.SOURCES
    scales: ClassVar[Mapping[str, str]] = {
        "quick": "Profile quick: embedded scenes in the place of VOC 2007, a small network, few "
        "epochs. A direction at best.",
        "short": "Profile short: VOC 2007, smaller pictures and fresh weights.",
        "paper": "Profile paper: VOC 2007 at the paper's rates, but from fresh weights: the "
        "paper's backbones were trained on ImageNet first.",
    }
    data: str = "voc2007"
    model: str = "staged_resnet((16, 32, 64, 128, 256), (1, 2, 2, 2, 2))"
    epochs: int = 14
    batch: int = 4
    lr: float = 0.004
    momentum: float = 0.9
    weight_decay: float = 5e-4
    schedule: str = "step(0.1, (0.7143,))"
    augment: str = "flip"
    size: int = 512
    head: int = 256
    proposals: int = 256

    def __post_init__(self) -> None:
        super().__post_init__()
        self.whole(size=32, head=1, proposals=8)
        require(self.size % 16 == 0, "size", self.size, "a multiple of 16")
        require("crop" not in self.augment, "augment", self.augment, "'flip' or 'none'")
        backbone = self.network()
        if isinstance(backbone, GC):
            backbone = model(backbone.base)
        wanted = "staged_resnet(...) or gc(...) of one"
        require(isinstance(backbone, StagedResNet), "model", self.model, wanted)

    def about(self) -> str:
        """Return the size in words."""
        return f" at {self.size} pixels"


KIND = Detection

# At `quick` the embedded scenes stand in for VOC 2007 wherever it is run. Adam, because SGD at 0.1
# found half as much in as many steps (a pilot of the plain network, one run each).
BOXES = Sizes(
    Detection(),
    {
        "smoke": {
            "data": "scenes", "images": 12, "size": 32, "model": "staged_resnet((4, 8), (1, 1))",
            "head": 8, "proposals": 8, "epochs": 2, "optimizer": "adam", "lr": 0.002,
            "precision": "float32",
        },
        "quick": {
            "data": "scenes", "size": 64, "model": "staged_resnet((8, 16, 32, 64), (1, 1, 1, 1))",
            "head": 32, "proposals": 32, "epochs": 6, "optimizer": "adam", "lr": 0.002,
            "weight_decay": 0.0, "schedule": "step", "precision": "float32",
        },
        "short": {"size": 256, "images": 1_000},
    },
    {},
    {"smoke": 20, "quick": 100, "short": 500, "paper": 500, "embedded": 100},
    "",
)  # fmt: skip


def grid(profile: str, **options: Any) -> Grid:
    """Return the grid of a notebook whose networks find objects; for the options see `trained`.

    >>> found = grid("smoke", arm=["plain", "gc(2)"])
    >>> len(found), found[0].config.data, found[0].config.task
    (4, 'scenes', 'detection')
    """
    return trained(BOXES, profile, **options)
