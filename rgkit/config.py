"""A run as frozen plain data, validated on construction; the hash of it is the run's key."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from rgkit import schedules, weights
from rgkit.spec import nearest

# Raised by the maintainer when training itself changes, so that old records are out of date. The
# golden test (tests/test_train.py) fails when the numbers move while this stays.
NUMERICS = 1

OPTIMIZERS = ("sgd", "adam")
PRECISIONS = ("float32", "bfloat16", "float64")
STEPS = ("auto", "plain", "captured", "compiled")  # how, not what: see `rgkit.step.make_step`
AUGMENTS = ("none", "crop", "crop+flip")


class ConfigError(ValueError):
    """A setting that cannot be run; the message names it, repeats it, and says what would do."""


def _require(good: bool, name: str, given: object, wanted: str) -> None:
    if not good:
        raise ConfigError(f"{name}={given!r} given; {wanted}")


@dataclass(frozen=True)
class Config:
    """Base of all kinds of runs."""

    task: ClassVar[str] = ""

    def as_dict(self) -> dict[str, Any]:
        """Return the settings as plain data, the task first."""
        return {"task": self.task} | dataclasses.asdict(self)

    def brief(self) -> str:
        """Return the settings that are not the defaults, for a line of a log.

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
class Classification(Config):
    """One training run of an image classifier.

    The defaults are RG's published setting as its code has it (CIFAR ResNet-34, batch 128,
    learning rate 0.1, weight decay 1e-4, 100 epochs).

    Parameters
    ----------
    data : str
        Name of a data set, see `rgkit.data.NAMES`.
    images : int
        Training images used: the first so many in the data set's canonical order; 0 is all.
    model : str
        A network, such as ``resnet34`` or ``resnet8(16)``, see `rgkit.models.classification`.
    epochs, batch : int
    optimizer : "sgd" or "adam"
        SGD with coupled weight decay as in `torch.optim.SGD`; Adam takes `momentum` as beta1.
    lr, momentum, weight_decay : float
    beta2 : float
        Adam's second; its step divides by a mean over about 1/(1 - beta2) steps.
    nesterov : bool
    weight : str
        Law of the loss weight, see `rgkit.weights`.
    schedule : str
        Learning-rate schedule, see `rgkit.schedules`.
    precision : "float32", "bfloat16" (autocast) or "float64"
    augment : "none", "crop" or "crop+flip"
    seed : int
        Seed of initial weights, batch order, augmentation and loss weight, a stream each.
    validation : int
        Training images held out, the last so many in canonical order, and measured each epoch: what
        a learning rate may be chosen on. 0 is none. Other numbers of a run do not depend on it,
        unless it takes images from `images` = 0, which means all that are not held out.

    Examples
    --------
    >>> Classification(weight="uniform").weight
    'uniform(0, 1)'
    >>> Classification(momentun=0.9)
    Traceback (most recent call last):
    TypeError: Classification.__init__() got an unexpected keyword argument 'momentun'
    """

    task: ClassVar[str] = "classification"
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
        from rgkit.data import NAMES  # late: the data modules are not needed to hash a config
        from rgkit.models.names import model

        for name, least in (
            ("epochs", 1),
            ("batch", 2),
            ("images", 0),
            ("seed", 0),
            ("validation", 0),
        ):
            value = getattr(self, name)
            whole = isinstance(value, int) and not isinstance(value, bool)
            _require(whole and value >= least, name, value, f"a whole number of {least} or more")
        for name, choices in (
            ("optimizer", OPTIMIZERS),
            ("precision", PRECISIONS),
            ("augment", AUGMENTS),
            ("data", NAMES),
        ):
            value = getattr(self, name)
            if value not in choices:
                hint = nearest(str(value), list(choices)).removeprefix("; ")
                _require(False, name, value, hint)
        _require(self.lr > 0, "lr", self.lr, "a positive number")
        _require(0 <= self.momentum < 1, "momentum", self.momentum, "from 0 up to below 1")
        _require(self.weight_decay >= 0, "weight_decay", self.weight_decay, "0 or more")
        if self.nesterov:
            _require(self.optimizer == "sgd", "nesterov", True, "only sgd has Nesterov momentum")
            _require(self.momentum > 0, "nesterov", True, "Nesterov needs a momentum above 0")
        _require(0 <= self.beta2 < 1, "beta2", self.beta2, "from 0 up to below 1")
        if self.beta2 != Classification.beta2:
            _require(self.optimizer == "adam", "beta2", self.beta2, "only adam has a second beta")
        for name in ("lr", "momentum", "weight_decay", "beta2"):
            object.__setattr__(self, name, float(getattr(self, name)))
        canonical = {
            "weight": str(weights.law(self.weight)),
            "schedule": str(schedules.schedule(self.schedule).effective()),
            "model": str(model(self.model)),
        }
        for name, text in canonical.items():
            object.__setattr__(self, name, text)

    @property
    def trained_on(self) -> int:
        """How many images the run trains on.

        >>> Classification().trained_on, Classification(images=100).trained_on
        (50000, 100)
        """
        from rgkit.data import SIZES

        return self.images or SIZES[self.data][0] - self.validation

    @property
    def steps(self) -> int:
        """How many steps the optimizer takes in the whole run.

        >>> Classification(epochs=100, batch=128).steps
        39100
        """
        return self.epochs * -(-self.trained_on // self.batch)


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
    model: str = "resnet8(16)"
    size: int = 32
    batch: int = 128
    precision: str = "bfloat16"
    pairs: int = 40
    steps: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        from rgkit.models.names import model

        for name in ("size", "batch", "pairs", "steps"):
            value = getattr(self, name)
            least = 2 if name in ("batch", "pairs") else 1
            _require(isinstance(value, int) and value >= least, name, value, f"{least} or more")
        _require(self.precision in PRECISIONS, "precision", self.precision, f"one of {PRECISIONS}")
        object.__setattr__(self, "model", str(model(self.model)))


KINDS: dict[str, type[Config]] = {k.task: k for k in (Classification, StepTiming)}


def from_dict(settings: Mapping[str, Any]) -> Config:
    """Build a config from plain data, as `Config.as_dict` made it."""
    rest = dict(settings)
    task = rest.pop("task", None)
    if task not in KINDS:
        raise ConfigError(f"task={task!r} given{nearest(str(task), list(KINDS))}")
    return KINDS[task](**rest)
