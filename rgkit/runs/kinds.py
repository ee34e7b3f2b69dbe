"""The kinds of runs: what each settles beside what all that train have to."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from typing import Any, ClassVar

from rgkit.data import masks
from rgkit.data.source import Source
from rgkit.method.spec import Spec, nearest
from rgkit.runs.config import AUGMENTS, NUMERICS, Config, ConfigError, Trained, require
from rgkit.runs.translation import Translation

__all__ = [
    "KINDS",
    "NUMERICS",
    "STEPS",
    "Classification",
    "Config",
    "ConfigError",
    "Segmentation",
    "Trained",
    "Translation",
    "from_dict",
]

STEPS = ("auto", "plain", "captured", "compiled")  # how, not what: see `rgkit.tasks.classification`


@dataclass(frozen=True)
class Classification(Trained):
    """One training run of an image classifier; for its settings see `Trained`.

    The defaults are RG's published setting as its code has it (CIFAR ResNet-34, batch 128,
    learning rate 0.1, weight decay 1e-4, 100 epochs). For `data` see `rgkit.data.images`, for
    `model` `rgkit.models.classification`. The settings below are those of tuned recipes, such as
    `rgkit.runs.grid.PROTOCOLS` has; with their defaults they change nothing.

    Parameters
    ----------
    augment : also "crop+alternate": a random half of the images is mirrored in even epochs and the
        other half in odd ones
    reflect : int
        Pixels by which a crop moves, filled by reflection; 0 is the data set's own number, filled
        with zeros.
    label_smoothing : float
        Of the loss that is trained on, so of ``train_loss``; what is tested has none.
    bias_rate : float
        Times the learning rate, for the biases of batch norms; their weight decay is divided by it.
    independent_decay : bool
        `weight_decay` is the learning rate times the optimizer's coefficient, so that another
        rate leaves the product as it is.
    lookahead : int
        Steps after which slow weights follow, see `rgkit.train.recipe.Lookahead`; 0 is without.

    Examples
    --------
    >>> Classification(weight="uniform").weight
    'uniform(0, 1)'
    >>> Classification(momentun=0.9)
    Traceback (most recent call last):
    TypeError: Classification.__init__() got an unexpected keyword argument 'momentun'
    """

    task: ClassVar[str] = "classification"
    code: ClassVar[str] = "rgkit.tasks.classification"
    augments: ClassVar[tuple[str, ...]] = (*AUGMENTS, "crop+alternate")

    reflect: int = field(default=0, metadata={"added": True})
    label_smoothing: float = field(default=0.0, metadata={"added": True})
    bias_rate: float = field(default=1.0, metadata={"added": True})
    independent_decay: bool = field(default=False, metadata={"added": True})
    lookahead: int = field(default=0, metadata={"added": True})

    def __post_init__(self) -> None:
        super().__post_init__()
        self.whole(reflect=0, lookahead=0)
        require(self.reflect < 8, "reflect", self.reflect, "fewer pixels than a picture has")
        smooth, fixed = self.label_smoothing, self.independent_decay
        require(isinstance(fixed, bool), "independent_decay", fixed, "True or False")
        require(0 <= smooth < 1, "label_smoothing", smooth, "from 0 up to below 1")
        require(self.bias_rate > 0, "bias_rate", self.bias_rate, "a positive number")
        for name, plain in (("bias_rate", 1.0), ("lookahead", 0), ("independent_decay", False)):
            good = self.optimizer == "sgd" or getattr(self, name) == plain
            require(good, name, getattr(self, name), f"only sgd has it, not {self.optimizer}")
        small = self.data == "digits" and self.network().name == "airbench"
        require(not small, "data", self.data, f"its 8 pixels are too few for {self.model}")
        for name in ("label_smoothing", "bias_rate"):
            object.__setattr__(self, name, float(getattr(self, name)))

    def scales(self) -> Mapping[str, str]:
        """Return what a profile means where the recipe is a tuned one."""
        if self.network().name != "airbench":
            return {}
        return {
            "quick": "Profile quick: a tuned recipe on a network narrower than its own.",
            "short": "Profile short: a tuned recipe as its author has it.",
            "paper": "Profile paper: a tuned recipe as its author has it, not the setting of the "
            "paper.",
        }

    @property
    def coefficient(self) -> float:
        """The optimizer's coefficient of weight decay.

        >>> Classification(lr=0.5, weight_decay=0.002, independent_decay=True).coefficient
        0.004
        """
        return self.weight_decay / self.lr if self.independent_decay else self.weight_decay

    @property
    def chance(self) -> float:
        """The accuracy of a guess, in percent: every class is as large as any other.

        >>> Classification().chance, Classification(data="cifar100").chance
        (10.0, 1.0)
        """
        return 100 / len(self.source.classes)


@dataclass(frozen=True)
class Segmentation(Trained):
    """One training run of a network that labels pixels; for its settings see `Trained`.

    The defaults are RG's published setting as its code has it (PSPNet-101 with frozen batch norm,
    VOC 2012, batch 4, 200 epochs, weight decay 5e-4), with the poly schedule that was meant. For
    `data` see `rgkit.data.masks`, for `model` `rgkit.models.segmentation`.

    Parameters
    ----------
    size : int
        Height in pixels of what the network sees; the width follows from the data.
    weights : str
        A file of torchvision's weights for the backbone, such as ``resnet101-63fe2227.pth``, or ""
        for fresh ones. The digits begin the SHA-256 of its content, so the name says what it is;
        `rgkit.models.segmentation.find_weights` says where it is looked for.

    Examples
    --------
    >>> Segmentation(data="camvid", model="duc_hdc('resnet18')").model
    "duc_hdc('resnet18', 64, 'trained')"
    """

    task: ClassVar[str] = "segmentation"
    code: ClassVar[str] = "rgkit.tasks.segmentation"
    measure: ClassVar[str] = "test_miou"
    sources: ClassVar[Mapping[str, Source]] = masks.SOURCES
    data: str = "voc2012"
    model: str = "pspnet('resnet101', 64, 'frozen')"
    epochs: int = 200
    batch: int = 4
    lr: float = 1e-4
    momentum: float = 0.9
    weight_decay: float = 5e-4
    schedule: str = "poly(0.9, 'step')"
    augment: str = "flip"
    size: int = 224
    weights: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        whole = isinstance(self.size, int) and self.size >= 8 and self.size % 8 == 0
        require(whole, "size", self.size, "a multiple of 8")
        named = not self.weights or re.fullmatch(r"\w+-[0-9a-f]{8,64}\.pth", self.weights)
        wanted = "a file as torchvision names them, such as 'resnet101-63fe2227.pth'"
        require(bool(named), "weights", self.weights, wanted)

    def network(self) -> Spec:
        """Return the network, see `rgkit.models.names`."""
        from rgkit.models.names import Segmenter, named

        return named(Segmenter, self.model)

    def scales(self) -> Mapping[str, str]:
        """Return what the larger profiles mean for pictures."""
        return {
            "short": "Profile short: a smaller network than the paper's, on CamVid.",
            "paper": "Profile paper: the paper's network and data, as far as they are not changed "
            "below.",
        }

    def about(self) -> str:
        """Return size and weights in words."""
        return f" at a height of {self.size}, {self.weights or 'fresh weights'}"


KINDS: dict[str, type[Config]] = {k.task: k for k in (Classification, Segmentation, Translation)}


def kind(task: str) -> type[Config]:
    """Return the class of a task's runs; ConfigError names an unknown one and the nearest right.

    A task that one chapter alone has is a module of `rgkit.chapters` with the task's name, and in
    it `KIND`.

    >>> kind("step-timing").__name__
    'StepTiming'
    """
    if task in KINDS:
        return KINDS[task]
    name = f"rgkit.chapters.{task.replace('-', '_')}"
    known = find_spec(name) if task.replace("-", "").isidentifier() else None
    found = getattr(import_module(name), "KIND", None) if known else None
    if found is None:
        raise ConfigError(f"task={task!r} given{nearest(task, list(KINDS))}")
    return found  # type: ignore[no-any-return]


def from_dict(settings: Mapping[str, Any]) -> Config:
    """Build a config from plain data, as `Config.as_dict` made it."""
    rest = dict(settings)
    return kind(str(rest.pop("task", None)))(**rest)
