"""A run as frozen plain data, validated on construction; the hash of it is the run's key.

`Config` and `Trained` are what all have to settle; `Classification`, `Segmentation` and
`Translation` what each kind settles beside it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import field
from importlib import import_module
from importlib.util import find_spec
from typing import Any, ClassVar, Self

from rgkit.data import images, pictures
from rgkit.data.source import Source
from rgkit.method import laws, schedules
from rgkit.method.spec import BELOW_1, POSITIVE, Checked, Spec, nearest, number, one_of
from rgkit.models.names import Discriminator, Generator, Segmenter, model, named

# Raised by the maintainer when training itself changes, so that old records are out of date. The
# golden test (tests/train/test_train.py) fails when the numbers move while this stays.
NUMERICS = 1

STEPS = ("auto", "plain", "captured", "compiled")  # how, not what: see `rgkit.tasks.classification`


class ConfigError(ValueError):
    """A setting that cannot be run; the message names it, repeats it, and says what would do."""


class Config(Checked):
    """Base of all kinds of runs.

    Attributes
    ----------
    task : the name of the kind
    code : the module that trains or measures it, with `TASK` or `measure`; it is imported when a
        run begins
    """

    task: ClassVar[str] = ""
    code: ClassVar[str] = ""

    def as_dict(self) -> dict[str, Any]:
        """Return the settings as plain data, the task first."""
        return {"task": self.task} | dataclasses.asdict(self)

    def brief(self) -> str:
        """Return the settings that are not the defaults, for a line of a log.

        >>> from rgkit.runs.config import Classification
        >>> Classification(seed=3, weight="uniform").brief()
        'weight=uniform(0, 1), seed=3'
        """
        plain = type(self)()
        names = [f.name for f in dataclasses.fields(self)]
        own = [f"{n}={getattr(self, n)}" for n in names if getattr(self, n) != getattr(plain, n)]
        return ", ".join(own) or "the defaults"

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some settings changed; ConfigError names an unknown one."""
        names = [f.name for f in dataclasses.fields(self)]
        for name in changes:
            if name not in names:
                raise ConfigError(f"unknown setting {name!r}{nearest(name, names)}")
        return dataclasses.replace(self, **changes)

    def wrong(self, what: str) -> ConfigError:
        """Return the error that says what is wrong."""
        return ConfigError(what)

    def key(self, fingerprint: str) -> str:
        """Return the run's key: 16 hex digits of what decides its numbers and nothing else.

        A setting that came after records existed is declared as ``added``: while it has its default
        it stays out of the hash, so that old records keep their keys.
        """
        settings = self.as_dict()
        for f in dataclasses.fields(self):
            if f.metadata.get("added") and settings[f.name] == f.default:
                del settings[f.name]
        text = json.dumps([settings, fingerprint, NUMERICS], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


class Trained(Config):
    """Base of the runs that train a network: what they all have to settle.

    Attributes
    ----------
    measure : what a run of this task is judged by, of the metrics of an epoch: a percentage, and
        more is better, as the choice of a rate and the verdicts take it; of an error, 100 minus it
    sources : the data sets that the task knows, by name
    scales : what a profile means for runs like these, in words, where it is not the usual

    Parameters
    ----------
    data : str
        Name of a data set.
    images : int
        Training images used: the first so many in the data set's canonical order; 0 is all.
    model : str
        A network by name.
    epochs, batch : int
    optimizer : "sgd" or "adam"
        SGD with coupled weight decay as in `torch.optim.SGD`; Adam takes `momentum` as beta1.
    lr, momentum, weight_decay : float
    beta2 : float
        Adam's second; its step divides by a mean over about 1/(1 - beta2) steps.
    nesterov : bool
    weight : str
        Law of the loss weight, see `rgkit.method.laws`.
    schedule : str
        Learning-rate schedule, see `rgkit.method.schedules`.
    precision : "float32", "bfloat16" or "float64"
        bfloat16 means the fastest arithmetic of at least that precision: autocast to bfloat16 where
        the device is fast in it, float32 elsewhere, see `rgkit.train.device.arithmetic`.
    augment : "none", "flip", "crop" or "crop+flip"
    seed : int
        Seed of initial weights, batch order, augmentation and loss weight, a stream each.
    validation : int
        Training images held out, the last so many in canonical order, and measured each epoch: what
        a learning rate may be chosen on. 0 is none. Other numbers of a run do not depend on it,
        unless it takes images from `images` = 0, which means all that are not held out.
    """

    measure: ClassVar[str] = "test_accuracy"
    sources: ClassVar[Mapping[str, Source]] = images.SOURCES
    scales: ClassVar[Mapping[str, str]] = {}

    data: str = "cifar10"
    images: int = number(0)
    model: str = "resnet34"
    epochs: int = number(100, 1)
    batch: int = number(128, 2)  # batch norm takes a mean over it
    optimizer: str = one_of("sgd", "adam")
    lr: float = number(0.1, POSITIVE)
    momentum: float = number(0.5, 0, BELOW_1)
    nesterov: bool = False
    weight_decay: float = number(1e-4)
    weight: str = "constant(1)"
    schedule: str = "poly"
    precision: str = one_of("bfloat16", "float32", "float64")
    augment: str = one_of("crop+flip", "none", "flip", "crop")
    seed: int = number(0)
    validation: int = number(0, added=True)
    beta2: float = number(0.999, 0, BELOW_1, added=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.choose("data", self.sources)
        if self.nesterov:
            self.require(self.optimizer == "sgd", "only sgd has Nesterov momentum", "nesterov")
            self.require(self.momentum > 0, "Nesterov needs a momentum above 0", "nesterov")
        if self.beta2 != Trained.beta2:
            self.require(self.optimizer == "adam", "only adam has a second beta", "beta2")
        object.__setattr__(self, "weight", str(laws.law(self.weight)))
        object.__setattr__(self, "schedule", str(schedules.schedule(self.schedule).effective()))
        object.__setattr__(self, "model", str(self.network()))

    @property
    def source(self) -> Source:
        """What is known of the data: sizes, classes, whether they are at hand."""
        return self.sources[self.data]

    def fingerprint(self) -> str:
        """Return the fingerprint of the data, without loading them."""
        return self.source.fingerprint()

    def network(self) -> Spec:
        """Return the network; ValueError names an unknown one and the nearest right one."""
        return model(self.model)

    def about(self) -> str:
        """Return what else a page says of its runs, to follow the name of the data."""
        return ""

    @property
    def chance(self) -> float:
        """What a run that diverged counts as, in percent: the accuracy of a guess, or 0.

        >>> from rgkit.runs.config import Classification, Segmentation
        >>> Classification().chance, Classification(data="cifar100").chance, Segmentation().chance
        (10.0, 1.0, 0.0)
        """
        return 100 / len(self.source.classes) if self.measure == "test_accuracy" else 0.0

    @property
    def coefficient(self) -> float:
        """The optimizer's coefficient of weight decay."""
        return self.weight_decay

    @property
    def trained_on(self) -> int:
        """How many images the run trains on.

        >>> from rgkit.runs.config import Classification
        >>> Classification().trained_on, Classification(images=100).trained_on
        (50000, 100)
        """
        return self.images or self.source.sizes[0] - self.validation

    @property
    def steps(self) -> int:
        """How many steps the optimizer takes in the whole run.

        >>> from rgkit.runs.config import Classification
        >>> Classification(epochs=100, batch=128).steps
        39100
        """
        return self.epochs * -(-self.trained_on // self.batch)


class Classification(Trained):
    """One training run of an image classifier; for its settings see `Trained`.

    The defaults are RG's published setting as its code has it (CIFAR ResNet-34, batch 128,
    learning rate 0.1, weight decay 1e-4, 100 epochs). For `data` see `rgkit.data.images`, for
    `model` `rgkit.models.classification`. The settings below are those of tuned recipes, such as
    `rgkit.chapters.tuned_recipe` has; with their defaults they change nothing.

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
    >>> Classification(momentun=0.9)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    TypeError: Classification.__init__() got an unexpected keyword argument 'momentun'...
    """

    task: ClassVar[str] = "classification"
    code: ClassVar[str] = "rgkit.tasks.classification"

    augment: str = one_of("crop+flip", "none", "flip", "crop", "crop+alternate")
    reflect: int = number(0, added=True)
    label_smoothing: float = number(0.0, 0, BELOW_1, added=True)
    bias_rate: float = number(1.0, POSITIVE, added=True)
    independent_decay: bool = field(default=False, metadata={"added": True})
    lookahead: int = number(0, added=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(self.reflect < 8, "fewer pixels than a picture has", "reflect")
        for name in ("bias_rate", "lookahead", "independent_decay"):
            good = self.optimizer == "sgd" or getattr(self, name) == getattr(Classification, name)
            self.require(good, f"only sgd has it, not {self.optimizer}", name)
        small = self.data == "digits" and self.network().name == "airbench"
        self.require(not small, f"its 8 pixels are too few for {self.model}", "data")

    @property
    def coefficient(self) -> float:
        """The optimizer's coefficient of weight decay.

        >>> Classification(lr=0.5, weight_decay=0.002, independent_decay=True).coefficient
        0.004
        """
        return self.weight_decay / self.lr if self.independent_decay else self.weight_decay


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
        "paper": "Profile paper: the paper's network and data, as far as not changed below.",
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
    size: int = number(224, 8)
    weights: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(self.size % 8 == 0, "a multiple of 8", "size")
        named = not self.weights or re.fullmatch(r"\w+-[0-9a-f]{8,64}\.pth", self.weights)
        wanted = "a file as torchvision names them, such as 'resnet101-63fe2227.pth'"
        self.require(bool(named), wanted, "weights")

    def network(self) -> Spec:
        """Return the network, see `rgkit.models.names`."""
        return named(Segmenter, self.model)

    def about(self) -> str:
        """Return size and weights in words."""
        return f" at a height of {self.size}, {self.weights or 'fresh weights'}"


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
    scales: ClassVar[Mapping[str, str]] = {
        "quick": "Profile quick: small pictures, narrow networks, few epochs.",
        "short": "Profile short: the paper's networks on a copy of its maps, fewer epochs.",
        "paper": "Profile paper: the paper's networks and data, as far as not changed below.",
    }
    data: str = "maps"
    model: str = "unet"
    epochs: int = 200
    batch: int = number(1, 1)
    optimizer: str = "adam"
    lr: float = 2e-4
    weight_decay: float = 0.0
    schedule: str = "constant"
    precision: str = "float32"
    size: int = number(256, 16)
    direction: str = one_of("b_to_a", "a_to_b")
    judge: str = "halving"
    acts_on: str = one_of("generator", "discriminator", "both", "both, two draws")
    adversarial: str = one_of("least squares", "cross-entropy")
    lambda_l1: float = number(100.0)
    features: str = field(default="", metadata={"added": True})

    def __post_init__(self) -> None:
        super().__post_init__()
        levels = self.network().levels
        wanted = f"16 or more and a multiple of {2**levels}, for {levels} levels"
        self.require(self.size % 2**levels == 0, wanted, "size")
        judge = named(Discriminator, self.judge)
        # The instance norms of a discriminator want more than one number in each channel.
        seen = self.size // 2**judge.layers
        self.require(seen >= 4, f"fewer layers, at a size of {self.size}", "judge")
        self.require(self.features == "", "'' is our own classifier, the one", "features")
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
    found: type[Config] | None = getattr(import_module(name) if known else None, "KIND", None)
    if found is None:
        hint = f", but {name} has no KIND, the class of its configs"
        raise ConfigError(f"task={task!r} given{hint if known else nearest(task, list(KINDS))}")
    return found


def from_dict(settings: Mapping[str, Any]) -> Config:
    """Build a config from plain data, as `Config.as_dict` made it."""
    rest = dict(settings)
    return kind(str(rest.pop("task", None)))(**rest)
