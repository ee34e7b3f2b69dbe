"""Grids: arms and axes crossed over a base config, as plain data."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from rgkit.method import laws, schedules
from rgkit.method.spec import nearest, registry
from rgkit.models.names import NETWORK_ARMS, changed
from rgkit.runs.config import Classification, Config, ConfigError, Trained

T = TypeVar("T", bound=Trained)


def _halved(c: Trained) -> dict[str, Any]:
    """Half the rate with twice the coefficient of the weight decay, as under a weight of 1/2."""
    fixed = isinstance(c, Classification) and c.independent_decay  # by itself, then
    return {"lr": c.lr / 2} | ({} if fixed else {"weight_decay": 2 * c.weight_decay})


# Arms: what is compared. Each maps a plain config to the changes that make the arm.
ARMS: dict[str, Callable[[Trained], dict[str, Any]]] = {
    "plain": lambda c: {},
    "RG": lambda c: {"weight": "uniform(0, 1)"},
    "constant 1/2": lambda c: {"weight": "constant(0.5)"},
    "half rate, twice decay": _halved,
    "half rate, twice decay, batch 96": lambda c: _halved(c) | {"batch": c.batch * 3 // 4},
}


# What the paper's text says of its runs, and what its code did, by task. Classification first had
# the scheduler that was thrown away, from 20 July 2018 on the one that was meant; segmentation
# never got the second. The code's coin is an arm, "coin(0.5)".
PROTOCOLS: dict[str, dict[str, dict[str, Any]]] = {
    "classification": {
        "code": {"schedule": "poly", "weight_decay": 1e-4},
        "early code": {"schedule": "discarded", "weight_decay": 1e-4},
        "paper": {"schedule": "step", "weight_decay": 5e-4},
    },
    "segmentation": {
        "paper": {"schedule": "poly(0.9, 'step')", "weight_decay": 5e-4},
        "code": {"schedule": "discarded", "weight_decay": 5e-4},
    },
}  # fmt: skip


def arm_of(arm: str, config: T) -> T:
    """Return the config of an arm: one of `ARMS` by name, or any law of the loss weight.

    With "lr " before it, the law's curve is put on the learning rate in the place of the schedule.
    ``gc(...)``, ``side_by_side(copies)`` and ``wider(times)`` change the network, see
    `rgkit.models.names.changed`.
    With "mean of " or "coin of " before an arm, it is its control, see `mean_of`, `coin_of`.
    With " on both" or another `acts_on` of `rgkit.runs.config.Translation` after it, u acts there.
    Raises ConfigError for what is none of these, with the nearest right name.

    >>> from rgkit.runs.config import Translation
    >>> arm_of("uniform(0, 2)", Classification()).weight
    'uniform(0, 2)'
    >>> arm_of("constant 1/2", Classification()).weight
    'constant(0.5)'
    >>> arm_of("RG on both", Translation()).acts_on
    'both'
    >>> arm_of("lr linear(2, 0)", Classification()).schedule
    "like('linear(2, 0)')"
    """
    for words, control in (("mean of ", mean_of), ("coin of ", coin_of)):
        if arm.startswith(words):
            return control(config, arm_of(arm.removeprefix(words), config))
    named, _, where = arm.partition(" on ")
    if where:
        return arm_of(named, config).replace(acts_on=where)
    if arm.startswith("lr "):
        curve = arm.removeprefix("lr ")
        own = curve.startswith("formula(")  # which is a schedule as it stands
        return config.replace(schedule=curve if own else f"like({curve!r})")
    if arm in ARMS:
        return config.replace(**ARMS[arm](config))
    if arm.partition("(")[0] in NETWORK_ARMS:
        return config.replace(model=str(changed(arm, config.model)))
    try:
        return config.replace(weight=arm)
    except ValueError:
        known = registry(laws.Law)
        if arm.partition("(")[0] in known:
            raise  # a law with arguments that do not fit: its own words say why
        hint = nearest(str(arm), [*ARMS, *known, *NETWORK_ARMS])
        raise ConfigError(f"arm={arm!r} given{hint}") from None


# --- controls: what has a trick's mean and nothing else, what has its mean and variance ----------

DIGITS = 3  # of the numbers in a control: a rate half a percent off is the same rate


def curve_of(plain: Trained, trick: Trained) -> tuple[str, laws.Curve]:
    """Return the setting that a trick changes, and its curve; ConfigError for no such trick."""
    if trick == plain or trick != plain.replace(weight=trick.weight, schedule=trick.schedule):
        raise ConfigError(
            f"a control of {trick.brief()!r} asked for; a trick is a law of the loss weight, or "
            "'lr ' and one, such as \"lr formula('u')\""
        )
    if trick.weight == plain.weight:
        return "schedule", schedules.schedule(trick.schedule)
    return "weight", laws.law(trick.weight)


def _moments(plain: Trained, trick: Trained) -> tuple[str, float, float]:
    """Return the setting that a trick changes, and its two moments over the run."""
    setting, curve = curve_of(plain, trick)
    return setting, *curve.moments(trick.epochs, trick.steps // trick.epochs)


def mean_of(plain: T, trick: T) -> T:
    """Return the run that has the mean of a trick over the run, at every step.

    Parameters
    ----------
    plain : the run without the trick
    trick : the same with another law of the loss weight or another schedule

    Returns
    -------
    One with a constant weight; or, where the trick is on the learning rate, with a constant rate,
    the mean times the one given. The mean has three digits.

    Examples
    --------
    >>> plain = Classification(lr=0.1, schedule="constant")
    >>> mean_of(plain, plain.replace(weight="uniform(0, 1)")).weight
    'constant(0.5)'
    >>> mean_of(plain, plain.replace(schedule="formula('u')")).lr
    0.05
    """
    setting, exact, _ = _moments(plain, trick)
    mean = float(f"{exact:.{DIGITS}g}")
    if setting == "schedule":
        # Rounded, so that 0.05 is the same run wherever it comes from.
        return plain.replace(lr=float(f"{plain.lr * mean:.6g}"), schedule="constant")
    return plain.replace(weight=f"constant({mean})")


def coin_of(plain: T, trick: T) -> T:
    """Return the run that tosses a coin at each step: one number, or nothing at all.

    Number and chance are such that mean and second moment are those of the trick over the run. If
    they are all that matters, this does what the trick does. For the parameters see `mean_of`.

    Examples
    --------
    >>> plain = Classification()
    >>> coin_of(plain, plain.replace(weight="uniform(0, 1)")).weight
    "formula('0.667 * (u < 0.75)')"
    """
    setting, mean, second = _moments(plain, trick)
    if not second > 0:
        raise ConfigError(f"a coin of {trick.brief()!r} asked for; it is 0 at every step")
    text = f"formula('{second / mean:.{DIGITS}g} * (u < {mean**2 / second:.{DIGITS}g})')"
    return plain.replace(**{setting: text})


# --- grids ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cell:
    """One run of a grid: the labels that tell it from the others, and its config.

    The plan takes cells of a lower `priority` first.
    """

    labels: Mapping[str, Any]
    config: Config
    priority: int = 50


@dataclass(frozen=True)
class Grid(Sequence[Cell]):
    """The runs of a notebook, as plain data.

    Attributes
    ----------
    train : bool
        Whether `rgkit.run` trains what is missing; a page that only shows what is recorded does
        not, and calls the rest missing.
    """

    cells: tuple[Cell, ...] = ()
    profile: str = "none"
    note: str = ""
    axes: tuple[str, ...] = ()
    train: bool = True

    def __len__(self) -> int:
        return len(self.cells)

    def __getitem__(self, at: Any) -> Any:
        return self.cells[at]

    def __add__(self, other: Grid) -> Grid:
        """Join two grids of one profile; a config that is in both is trained once."""
        return dataclasses.replace(self, cells=self.cells + other.cells)


def blocks(grids: Iterable[Grid]) -> list[list[Config]]:
    """Return the runs of several grids that are compared seed by seed, the arms of a cell together.

    Cells that differ in the learning rate count as one, as each arm may have a rate of its own.

    >>> axes = {"arm": ["plain", "RG"], "seed": [0, 1]}
    >>> [len(block) for block in blocks([Grid(cross(Classification(), axes))])]
    [2, 2]
    """
    found: dict[Any, list[Config]] = {}
    for number, grid in enumerate(grids):
        for cell in grid:
            found.setdefault((number, _others(cell, "arm", "lr")), []).append(cell.config)
    return list(found.values())


def _others(cell: Cell, *apart: str) -> tuple[tuple[str, str], ...]:
    """The labels of a cell but for some."""
    return tuple((name, str(value)) for name, value in cell.labels.items() if name not in apart)


FIRST_SEEDS = 3  # the fewest that make an interval worth showing


def in_order(grids: Iterable[Grid]) -> list[Config]:
    """Return the configs of several grids as the plan takes them.

    The first three seeds of every setting come before the further ones of any; a search with one
    seed of its own, such as 100, is among the first. Then by declared priority; then seed by seed,
    and within a seed block by block, where a block is all arms of a cell: whatever is finished
    when the time is up can be compared.

    >>> base, axes = Classification(), {"arm": ["plain", "RG"], "lr": [0.1, 0.2], "seed": [0, 1]}
    >>> found = in_order([Grid(cross(base, axes))])
    >>> [(c.seed, c.lr, c.weight) for c in found[:3]]
    [(0, 0.1, 'constant(1)'), (0, 0.1, 'uniform(0, 1)'), (0, 0.2, 'constant(1)')]
    """
    places = []
    for number, grid in enumerate(grids):
        numbers: dict[Any, int] = {}
        seeds: dict[Config, set[int]] = {}
        settings = [c.config.replace(seed=0) if "seed" in c.labels else c.config for c in grid]
        for cell, setting in zip(grid, settings, strict=True):
            seeds.setdefault(setting, set()).add(cell.labels.get("seed", 0))
        for cell, setting in zip(grid, settings, strict=True):
            seed = cell.labels.get("seed", 0)
            turn = sorted(seeds[setting]).index(seed) // FIRST_SEEDS
            block = numbers.setdefault(_others(cell, "arm"), len(numbers))
            places.append(((turn, cell.priority, seed, number, block), cell.config))
    return [config for _, config in sorted(places, key=lambda pair: pair[0])]


def _config(base: Config, labels: Mapping[str, Any]) -> Config:
    """Return the config of a cell; ConfigError for labels that contradict each other."""
    settings = {name: value for name, value in labels.items() if name not in ("arm", "protocol")}
    if "protocol" in labels:
        protocol, known = labels["protocol"], PROTOCOLS.get(base.task, {})
        if protocol not in known:
            none = f"; {base.task} has none: {', '.join(PROTOCOLS)} do"
            hint = nearest(str(protocol), list(known)) if known else none
            raise ConfigError(f"protocol={protocol!r} given{hint}")
        for name in known[protocol].keys() & settings.keys():
            both = f"the axes 'protocol' and {name!r} given"
            raise ConfigError(f"{both}; the first sets the second")
        settings |= known[protocol]
    config = base.replace(**settings)
    if "arm" not in labels:
        return config
    if not isinstance(config, Trained):
        raise ConfigError(f"the axis 'arm' is for training, not for {base.task}")
    arm, schedule = str(labels["arm"]), labels.get("schedule", "constant")
    still = schedules.schedule(schedule).effective() == schedules.Constant()
    if arm.startswith("lr ") and not still:
        raise ConfigError(f"arm={arm!r} and schedule={schedule!r} given; the arm brings its own")
    return arm_of(arm, config)


def cross(
    base: Config,
    axes: Mapping[str, Iterable[Any]],
    priority: int = 50,
    vary: Iterable[Mapping[str, Iterable[Any]]] = ({},),
) -> tuple[Cell, ...]:
    """Cross the axes over a base config; the last axis varies fastest.

    The axis ``arm`` takes names of `ARMS` or laws of the loss weight. It is applied last, so that
    "half rate" halves the learning rate of its cell. The axis ``protocol`` takes names of
    `PROTOCOLS`, whose settings replace those of the base; every other axis is a setting of the
    config, and none that a protocol sets. An arm "lr ..." brings a curve of its own, so no cell may
    have a `schedule` that falls.

    Parameters
    ----------
    vary : one crossing for each, in which these axes replace their namesakes or join them
        Every cell is labelled with every axis; one that it does not vary has the value of the base.

    Examples
    --------
    >>> cells = cross(Classification(), {"arm": ["plain", "RG"], "seed": range(3)})
    >>> len(cells), cells[3].labels, cells[3].config.weight
    (6, {'arm': 'RG', 'seed': 0}, 'uniform(0, 1)')
    >>> cells = cross(Classification(), {"arm": ["RG"]}, vary=[{"momentum": [0.9]}, {"lr": [0.2]}])
    >>> [tuple(cell.labels.values()) for cell in cells]
    [('RG', 0.9, 0.1), ('RG', 0.5, 0.2)]
    """
    turns = [{**axes, **turn} for turn in vary]
    names = dict.fromkeys(itertools.chain(axes, *turns))
    usual = {"arm": "plain", "protocol": "code", **base.as_dict()}
    cells = []
    for turn in turns:
        for values in itertools.product(*turn.values()):
            given = dict(zip(turn, values, strict=True))
            config = _config(base, given)
            labels = {name: given[name] if name in given else usual[name] for name in names}
            cells.append(Cell(labels, config, priority))
    return tuple(cells)
