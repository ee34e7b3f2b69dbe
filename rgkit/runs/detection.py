"""The run that trains a detector, as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rgkit.models.names import GC, StagedResNet, model
from rgkit.runs.config import Trained, require


@dataclass(frozen=True)
class Detection(Trained):
    """One training run of Faster R-CNN, which finds objects and names them; see `Trained`.

    The defaults are the setting of Calibrated SGD's Table 4 where it is printed: VOC 2007, batch 4,
    a learning rate of 0.004 that falls by ten after 12,500 of 17,500 steps, weight decay 5e-4. Its
    backbones were trained on ImageNet first; here they begin with fresh weights. For `data` see
    `rgkit.data.boxes`. What a record calls ``train_accuracy`` is of the true boxes the percentage
    that some proposal overlaps by half.

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
    home: ClassVar[str] = "rgkit.data.boxes"
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
