"""The kinds of runs: what each settles beside what all that train have to."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from typing import Any, ClassVar

from rgkit.data import pictures
from rgkit.data.source import Source
from rgkit.method.spec import Spec, nearest
from rgkit.models.names import Discriminator, Generator, Segmenter, named
from rgkit.runs.config import AUGMENTS, BELOW_1, LEAST_0, POSITIVE, require
from rgkit.runs.config import Config as Config
from rgkit.runs.config import ConfigError as ConfigError
from rgkit.runs.config import Trained as Trained

STEPS = ("auto", "plain", "captured", "compiled")  # how, not what: see `rgkit.tasks.classification`
ACTS_ON = ("generator", "discriminator", "both", "both, two draws")
ADVERSARIAL = ("least squares", "cross-entropy")


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
        Steps after which slow weights follow, see `rgkit.train.step.Lookahead`; 0 is without.

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
        self.real(label_smoothing=BELOW_1, bias_rate=POSITIVE)
        fixed = self.independent_decay
        require(isinstance(fixed, bool), "independent_decay", fixed, "True or False")
        for name in ("bias_rate", "lookahead", "independent_decay"):
            good = self.optimizer == "sgd" or getattr(self, name) == getattr(Classification, name)
            require(good, name, getattr(self, name), f"only sgd has it, not {self.optimizer}")
        small = self.data == "digits" and self.network().name == "airbench"
        require(not small, "data", self.data, f"its 8 pixels are too few for {self.model}")

    @property
    def coefficient(self) -> float:
        """The optimizer's coefficient of weight decay.

        >>> Classification(lr=0.5, weight_decay=0.002, independent_decay=True).coefficient
        0.004
        """
        return self.weight_decay / self.lr if self.independent_decay else self.weight_decay


@dataclass(frozen=True)
class Segmentation(Trained):
    """One training run of a network that labels pixels; for its settings see `Trained`.

    The defaults are RG's published setting as its code has it (PSPNet-101 with frozen batch norm,
    VOC 2012, batch 4, 200 epochs, weight decay 5e-4), with the poly schedule that was meant. For
    `data` see `rgkit.data.pictures`, for `model` `rgkit.models.segmentation`.

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
    sources: ClassVar[Mapping[str, Source]] = pictures.MASKS
    scales: ClassVar[Mapping[str, str]] = {
        "short": "Profile short: a smaller network than the paper's, on CamVid.",
        "paper": "Profile paper: the paper's network and data, as far as they are not changed "
        "below.",
    }
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
        return named(Segmenter, self.model)

    def about(self) -> str:
        """Return size and weights in words."""
        return f" at a height of {self.size}, {self.weights or 'fresh weights'}"


@dataclass(frozen=True)
class Translation(Trained):
    """One training run of pix2pix, which turns pictures into pictures; see `Trained`.

    The defaults are RG's published setting where its code says one (16x16 judgements of a picture,
    least squares + 100 x L1, batch 1, Adam at 2e-4 with beta1 0.5, 200 epochs, the loss weight on
    the generator alone); the U-Net, its dropout and the random crops are pix2pix's. For `data` see
    `rgkit.data.pictures`, for `model` and `judge` `rgkit.models.translation`. What a record calls
    ``train_accuracy`` is that of the discriminator: of the patches, the percentage it tells right.

    Parameters
    ----------
    size : int
        Height and width in pixels of what the networks see; a multiple of 2 ** levels.
    direction : "a_to_b" or "b_to_a"
        Which picture of a pair is the input; b_to_a makes aerials of maps and photos of labels, as
        the code does.
    judge : str
        The discriminator by name.
    acts_on : "generator", "discriminator", "both" or "both, two draws"
        Which losses are multiplied by the loss weight: the paper says "the loss".
    adversarial : "least squares" or "cross-entropy"
    lambda_l1 : float
        What the mean absolute difference counts in the generator's loss.
    features : str
        The network by whose features ``test_kid`` compares pictures: "", our own classifier of
        CIFAR-10, see `rgkit.models.classification.own_features`.

    Examples
    --------
    >>> Translation(data="facades", model="unet(8, 32)").model
    "unet(8, 32, 'instance', 0.5)"
    """

    task: ClassVar[str] = "translation"
    code: ClassVar[str] = "rgkit.tasks.translation"
    measure: ClassVar[str] = "test_ssim"
    sources: ClassVar[Mapping[str, Source]] = pictures.PAIRS
    smallest: ClassVar[int] = 1
    added: ClassVar[tuple[str, ...]] = ("test_kid",)
    scales: ClassVar[Mapping[str, str]] = {
        "quick": "Profile quick: small pictures, narrow networks, few epochs.",
        "short": "Profile short: the paper's networks on a copy of its maps, fewer epochs.",
        "paper": "Profile paper: the paper's networks and data, as far as they are not changed "
        "below.",
    }
    data: str = "maps"
    model: str = "unet"
    epochs: int = 200
    batch: int = 1
    optimizer: str = "adam"
    lr: float = 2e-4
    weight_decay: float = 0.0
    schedule: str = "constant"
    precision: str = "float32"
    size: int = 256
    direction: str = "b_to_a"
    judge: str = "halving"
    acts_on: str = "generator"
    adversarial: str = "least squares"
    lambda_l1: float = 100.0
    features: str = field(default="", metadata={"added": True})

    def __post_init__(self) -> None:
        super().__post_init__()
        self.choose(direction=pictures.DIRECTIONS, acts_on=ACTS_ON, adversarial=ADVERSARIAL)
        levels = self.network().levels
        whole = isinstance(self.size, int) and self.size >= 16 and self.size % 2**levels == 0
        wanted = f"16 or more and a multiple of {2**levels}, for {levels} levels"
        require(whole, "size", self.size, wanted)
        judge = named(Discriminator, self.judge)
        # The instance norms of a discriminator want more than one number in each channel.
        seen = self.size // 2**judge.layers
        require(seen >= 4, "judge", self.judge, f"fewer layers, at a size of {self.size}")
        self.real(lambda_l1=LEAST_0)
        require(self.features == "", "features", self.features, "'' is our own classifier, the one")
        object.__setattr__(self, "judge", str(judge))

    def network(self) -> Generator:
        """Return the generator, see `rgkit.models.names`."""
        return named(Generator, self.model)

    def about(self) -> str:
        """Return direction, size, losses and augmentation in words."""
        said = f", {pictures.words(self.data, self.direction)} at {self.size} pixels"
        said += f", judged by {self.judge} with {self.adversarial} + {self.lambda_l1:g} L1"
        return f"{said}, {self.augment}"


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
