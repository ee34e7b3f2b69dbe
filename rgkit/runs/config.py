"""A run as frozen plain data, validated on construction; the hash of it is the run's key."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from rgkit.data import images
from rgkit.data.source import Source
from rgkit.method import laws, schedules
from rgkit.method.spec import Spec, nearest

# Raised by the maintainer when training itself changes, so that old records are out of date. The
# golden test (tests/train/test_train.py) fails when the numbers move while this stays.
NUMERICS = 1

OPTIMIZERS = ("sgd", "adam")
PRECISIONS = ("float32", "bfloat16", "float64")
AUGMENTS = ("none", "flip", "crop", "crop+flip")
# What a number may be, in the words of the error.
POSITIVE, LEAST_0, BELOW_1 = "a positive number", "0 or more", "from 0 up to below 1"
RANGES: dict[str, Callable[[float], bool]] = {
    POSITIVE: lambda x: x > 0,
    LEAST_0: lambda x: x >= 0,
    BELOW_1: lambda x: 0 <= x < 1,
}


class ConfigError(ValueError):
    """A setting that cannot be run; the message names it, repeats it, and says what would do."""


def require(good: bool, name: str, given: object, wanted: str) -> None:
    """Raise ConfigError, which names a setting, repeats what was given and says what would do."""
    if not good:
        raise ConfigError(f"{name}={given!r} given; {wanted}")


@dataclass(frozen=True)
class Config:
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

        >>> from rgkit.runs.kinds import Classification
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

    def whole(self, **least: int) -> None:
        """Require that settings are whole numbers, each of so many or more."""
        for name, low in least.items():
            value = getattr(self, name)
            good = isinstance(value, int) and not isinstance(value, bool)
            require(good and value >= low, name, value, f"a whole number of {low} or more")

    def real(self, **wanted: str) -> None:
        """Require that settings are numbers of one of `RANGES` each, and make them floats."""
        for name, words in wanted.items():
            value = getattr(self, name)
            require(RANGES[words](value), name, value, words)
            object.__setattr__(self, name, float(value))

    def choose(self, **choices: Iterable[str]) -> None:
        """Require that settings are among their choices; ConfigError names the nearest right."""
        for name, known in choices.items():
            value, names = getattr(self, name), list(known)
            if value not in names:
                raise ConfigError(f"{name}={value!r} given{nearest(str(value), names)}")

    def key(self, fingerprint: str) -> str:
        """Return the run's key: 16 hex digits of what decides its numbers and nothing else.

        A setting that is added after records exist is declared with ``metadata={"added": True}``;
        while it has its default it stays out of the hash, so that old records keep their keys.
        """
        settings = self.as_dict()
        for f in dataclasses.fields(self):
            if f.metadata.get("added") and settings[f.name] == f.default:
                del settings[f.name]
        text = json.dumps([settings, fingerprint, NUMERICS], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Trained(Config):
    """Base of the runs that train a network: what they all have to settle.

    Attributes
    ----------
    measure : what a run of this task is judged by, of the metrics of an epoch
    smallest : the fewest images that a batch may have
    augments : the augmentations that the task knows
    sources : the data sets that the task knows, by name
    added : metrics of an epoch that records may lack, because they are older; tables have NaN there
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
    smallest: ClassVar[int] = 2  # batch norm takes a mean over it
    added: ClassVar[tuple[str, ...]] = ()
    scales: ClassVar[Mapping[str, str]] = {}
    augments: ClassVar[tuple[str, ...]] = AUGMENTS

    data: str = "cifar10"
    images: int = 0
    model: str = "resnet34"
    epochs: int = 100
    batch: int = 128
    optimizer: str = "sgd"
    lr: float = 0.1
    momentum: float = 0.5
    nesterov: bool = False
    weight_decay: float = 1e-4
    weight: str = "constant(1)"
    schedule: str = "poly"
    precision: str = "bfloat16"
    augment: str = "crop+flip"
    seed: int = 0
    validation: int = field(default=0, metadata={"added": True})
    beta2: float = field(default=0.999, metadata={"added": True})

    def __post_init__(self) -> None:
        self.whole(epochs=1, batch=self.smallest, images=0, seed=0, validation=0)
        self.choose(optimizer=OPTIMIZERS, precision=PRECISIONS, augment=self.augments)
        self.choose(data=self.sources)
        self.real(lr=POSITIVE, momentum=BELOW_1, weight_decay=LEAST_0, beta2=BELOW_1)
        if self.nesterov:
            require(self.optimizer == "sgd", "nesterov", True, "only sgd has Nesterov momentum")
            require(self.momentum > 0, "nesterov", True, "Nesterov needs a momentum above 0")
        if self.beta2 != Trained.beta2:
            require(self.optimizer == "adam", "beta2", self.beta2, "only adam has a second beta")
        object.__setattr__(self, "weight", str(laws.law(self.weight)))
        schedule = schedules.schedule(self.schedule).effective()
        object.__setattr__(self, "schedule", str(schedule))
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
        from rgkit.models.names import model

        return model(self.model)

    def about(self) -> str:
        """Return what else a page says of its runs, to follow the name of the data."""
        return ""

    @property
    def chance(self) -> float:
        """What a run that diverged counts as, in percent: the accuracy of a guess, or 0.

        >>> from rgkit.runs.kinds import Classification, Segmentation
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

        >>> from rgkit.runs.kinds import Classification
        >>> Classification().trained_on, Classification(images=100).trained_on
        (50000, 100)
        """
        return self.images or self.source.sizes[0] - self.validation

    @property
    def steps(self) -> int:
        """How many steps the optimizer takes in the whole run.

        >>> from rgkit.runs.kinds import Classification
        >>> Classification(epochs=100, batch=128).steps
        39100
        """
        return self.epochs * -(-self.trained_on // self.batch)
