"""A run as frozen plain data, validated on construction; the hash of it is the run's key."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from rgkit import schedules, weights
from rgkit.spec import nearest

# Raised by the maintainer when training itself changes, so that old records are out of date. The
# golden test (tests/test_train.py) fails when the numbers move while this stays.
NUMERICS = 1

OPTIMIZERS = ("sgd", "adam")
PRECISIONS = ("float32", "bfloat16", "float64")
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
    nesterov : bool
    weight : str
        Law of the loss weight, see `rgkit.weights`.
    schedule : str
        Learning-rate schedule, see `rgkit.schedules`.
    precision : "float32", "bfloat16" (autocast) or "float64"
    augment : "none", "crop" or "crop+flip"
    seed : int
        Seed of initial weights, batch order, augmentation and loss weight, a stream each.

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

    def __post_init__(self) -> None:
        from rgkit.data import NAMES  # late: the data modules are not needed to hash a config
        from rgkit.models.names import model

        for name, least in (("epochs", 1), ("batch", 2), ("images", 0), ("seed", 0)):
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
            hint = nearest(str(value), list(choices)).removeprefix("; ")
            _require(value in choices, name, value, hint)
        _require(self.lr > 0, "lr", self.lr, "a positive number")
        _require(0 <= self.momentum < 1, "momentum", self.momentum, "from 0 up to below 1")
        _require(self.weight_decay >= 0, "weight_decay", self.weight_decay, "0 or more")
        if self.nesterov:
            _require(self.optimizer == "sgd", "nesterov", True, "only sgd has Nesterov momentum")
            _require(self.momentum > 0, "nesterov", True, "Nesterov needs a momentum above 0")
        for name in ("lr", "momentum", "weight_decay"):
            object.__setattr__(self, name, float(getattr(self, name)))
        canonical = {
            "weight": str(weights.law(self.weight)),
            "schedule": str(schedules.schedule(self.schedule).effective()),
            "model": str(model(self.model)),
        }
        for name, text in canonical.items():
            object.__setattr__(self, name, text)


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


# Arms: what is compared. Each maps a plain config to the changes that make the arm.
ARMS: dict[str, Callable[[Classification], dict[str, Any]]] = {
    "plain": lambda c: {},
    "RG": lambda c: {"weight": "uniform(0, 1)"},
    "constant 1/2": lambda c: {"weight": "constant(0.5)"},
    "half rate, twice decay": lambda c: {"lr": c.lr / 2, "weight_decay": 2 * c.weight_decay},
    "half rate, twice decay, batch 96": lambda c: {
        "lr": c.lr / 2,
        "weight_decay": 2 * c.weight_decay,
        "batch": c.batch * 3 // 4,
    },
}


@dataclass(frozen=True)
class Cell:
    """One run of a grid: the labels that tell it from the others, and its config."""

    labels: Mapping[str, Any]
    config: Config


@dataclass(frozen=True)
class Grid(Sequence[Cell]):
    """The runs of a notebook, as plain data."""

    cells: tuple[Cell, ...] = ()
    profile: str = "none"
    note: str = ""
    axes: tuple[str, ...] = field(default=())

    def __len__(self) -> int:
        return len(self.cells)

    def __getitem__(self, at: Any) -> Any:
        return self.cells[at]

    def __iter__(self) -> Iterator[Cell]:
        return iter(self.cells)

    def __add__(self, other: Grid) -> Grid:
        """Join two grids of one profile; a config that is in both is trained once."""
        return dataclasses.replace(self, cells=self.cells + other.cells)


def cross(base: Config, axes: Mapping[str, Iterable[Any]]) -> tuple[Cell, ...]:
    """Cross the axes over a base config; the last axis varies fastest.

    The axis ``arm`` takes names of `ARMS`, applied last, so that "half rate" halves the learning
    rate of its cell; every other axis is a setting of the config.

    >>> cells = cross(Classification(), {"arm": ["plain", "RG"], "seed": range(3)})
    >>> len(cells), cells[3].labels, cells[3].config.weight
    (6, {'arm': 'RG', 'seed': 0}, 'uniform(0, 1)')
    """
    lists = {name: list(values) for name, values in axes.items()}
    for arm in lists.get("arm", []):
        if arm not in ARMS:
            raise ConfigError(f"arm={arm!r} given{nearest(str(arm), list(ARMS))}")
    cells = []
    for values in itertools.product(*lists.values()):
        labels = dict(zip(lists, values, strict=True))
        config = base.replace(**{k: v for k, v in labels.items() if k != "arm"})
        if "arm" in labels:
            if not isinstance(config, Classification):
                raise ConfigError(f"the axis 'arm' is for classification, not for {base.task}")
            config = config.replace(**ARMS[labels["arm"]](config))
        cells.append(Cell(labels, config))
    return tuple(cells)
