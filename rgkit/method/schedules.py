"""Learning-rate schedules: the factor on the base learning rate at each step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rgkit.method import formula, laws
from rgkit.method.spec import Spec, parse, registry

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
PER = "it is 'epoch' or 'step'"


@dataclass(frozen=True)
class Schedule(Spec):
    """Base of all schedules; pure in the step."""

    def factor(
        self, step: ArrayLike, *, steps_per_epoch: int, epochs: int, seed: int = 0
    ) -> Floats:
        """Return learning rate / base learning rate at the given steps, float64 [*step.shape].

        Only a formula with chance in it depends on the seed.

        >>> Poly(1.0).factor([0, 10], steps_per_epoch=10, epochs=2).tolist()
        [1.0, 0.5]
        """
        if steps_per_epoch < 1 or epochs < 1:
            raise ValueError(
                f"steps_per_epoch={steps_per_epoch}, epochs={epochs} given; both must be 1 or more"
            )
        at = np.asarray(step, np.int64)
        return np.asarray(self._factor(at, steps_per_epoch, epochs, seed), np.float64)

    def _factor(self, step: Ints, per_epoch: int, epochs: int, seed: int) -> Floats:
        raise NotImplementedError

    def effective(self) -> Schedule:
        """Return the schedule that the optimizer really sees (itself, but for `discarded`)."""
        return self

    @property
    def chance(self) -> bool:
        """Whether two seeds give different rates."""
        return False

    def moments(self, *, steps_per_epoch: int, epochs: int) -> tuple[float, float]:
        """Return the mean of the factor over the steps of a run, and that of its square.

        >>> Linear().moments(steps_per_epoch=2, epochs=2)
        (0.625, 0.46875)
        """
        steps = np.arange(steps_per_epoch * epochs)
        values = self.factor(steps, steps_per_epoch=steps_per_epoch, epochs=epochs)
        return float(values.mean()), float((values**2).mean())


def _done(step: Ints, per_epoch: int, epochs: int, per: str) -> Floats:
    """Part of the run that is over: counted in whole epochs, or in steps."""
    passed = step // per_epoch if per == "epoch" else step / per_epoch
    return np.asarray(passed / epochs, np.float64)


@dataclass(frozen=True)
class Constant(Schedule):
    """Never decayed."""

    name = "constant"

    def _factor(self, step: Ints, per_epoch: int, epochs: int, seed: int) -> Floats:
        return np.ones(step.shape)


@dataclass(frozen=True)
class Discarded(Constant):
    """The published code's mistake: each epoch a decayed optimizer is built, then thrown away.

    The function that lowers the learning rate binds a new SGD object to a local name; the training
    loop keeps the old one. What the optimizer sees is `constant`, and a run's key says so.
    """

    name = "discarded"
    meant: str = "poly"

    def __post_init__(self) -> None:
        schedule(self.meant)  # a misspelt schedule is an error even when nobody follows it

    def effective(self) -> Schedule:
        return Constant()


@dataclass(frozen=True)
class Poly(Schedule):
    """(1 - done) ** power (RG section 1): once an epoch as in the code, or at each step.

    The code computes ``0.1 * (1 - (epoch + 1) / 100) ** 0.9`` for the epoch that follows, so
    epoch e (counted from 0) trains at (1 - e / epochs) ** 0.9 and the last one is not at zero.
    """

    name = "poly"
    power: float = 0.9
    per: str = "epoch"

    def __post_init__(self) -> None:
        self.require(self.per in ("epoch", "step"), f"per={self.per!r} given; {PER}")

    def _factor(self, step: Ints, per_epoch: int, epochs: int, seed: int) -> Floats:
        return (1 - _done(step, per_epoch, epochs, self.per)) ** self.power


@dataclass(frozen=True)
class Linear(Schedule):
    """1 - done: linear decay to zero."""

    name = "linear"
    per: str = "step"

    def __post_init__(self) -> None:
        self.require(self.per in ("epoch", "step"), f"per={self.per!r} given; {PER}")

    def _factor(self, step: Ints, per_epoch: int, epochs: int, seed: int) -> Floats:
        return 1 - _done(step, per_epoch, epochs, self.per)


@dataclass(frozen=True)
class Cosine(Schedule):
    """Half a cosine from 1 to 0: the usual decay to zero since 2016 (Loshchilov and Hutter)."""

    name = "cosine"
    per: str = "step"

    def __post_init__(self) -> None:
        self.require(self.per in ("epoch", "step"), f"per={self.per!r} given; {PER}")

    def _factor(self, step: Ints, per_epoch: int, epochs: int, seed: int) -> Floats:
        return np.asarray((1 + np.cos(np.pi * _done(step, per_epoch, epochs, self.per))) / 2)


@dataclass(frozen=True)
class Like(Schedule):
    """The curve of a loss weight put on the learning rate: what LD Fig. 4(d) compares."""

    name = "like"
    law: str = "linear(2, 0)"

    def __post_init__(self) -> None:
        found = laws.law(self.law)
        wanted = "one without chance, as 'linear(2, 0)'; a formula is a schedule itself"
        steady = not (found.chance or isinstance(found, laws.Formula))
        self.require(steady, f"law={self.law!r} given; {wanted}")
        object.__setattr__(self, "law", str(found))

    def _factor(self, step: Ints, per_epoch: int, epochs: int, seed: int) -> Floats:
        return laws.law(self.law).draw(step, step // per_epoch, epochs=epochs)


@dataclass(frozen=True)
class Formula(Schedule):
    """The factor by a formula, see `rgkit.method.formula`; u and n are not those of the weight."""

    name = "formula"
    text: str = "1"

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", formula.canonical(str(self.text)))

    def _factor(self, step: Ints, per_epoch: int, epochs: int, seed: int) -> Floats:
        return formula.draw(self.text, step, step // per_epoch, epochs, per_epoch, seed, "rate")

    @property
    def chance(self) -> bool:
        return bool(formula.used(self.text) & {"u", "n"})

    def moments(self, *, steps_per_epoch: int, epochs: int) -> tuple[float, float]:
        return formula.moments(self.text, epochs, steps_per_epoch)


@dataclass(frozen=True)
class Step(Schedule):
    """Multiplied by `decay` at each milestone (a part of the run); RG's code has 50 % and 75 %."""

    name = "step"
    decay: float = 0.1
    milestones: tuple[float, ...] = (0.5, 0.75)

    def __post_init__(self) -> None:
        inside = all(0 < m < 1 for m in self.milestones)
        self.require(inside, "milestones are parts of the run, between 0 and 1")

    def _factor(self, step: Ints, per_epoch: int, epochs: int, seed: int) -> Floats:
        done = _done(step, per_epoch, epochs, "epoch")
        # A hair below the milestone: 0.7 of 10 epochs is epoch 7 whatever the rounding.
        passed = sum((done >= m - 1e-9).astype(int) for m in self.milestones)
        return self.decay ** np.asarray(passed, np.float64)


@dataclass(frozen=True)
class Cyclical(Schedule):
    """A triangle between `low` and 1, period in epochs (Smith 2015, cited in RG section 7)."""

    name = "cyclical"
    period: float = 10.0
    low: float = 0.1

    def __post_init__(self) -> None:
        good = self.period > 0 and 0 <= self.low <= 1
        self.require(good, "the period is positive and low lies between 0 and 1")

    def _factor(self, step: Ints, per_epoch: int, epochs: int, seed: int) -> Floats:
        phase = (step / per_epoch / self.period) % 1.0
        return self.low + (1 - self.low) * (1 - np.abs(2 * phase - 1))


@dataclass(frozen=True)
class Triangular(Schedule):
    """Up to 1 and down again, once, on straight lines; the defaults are those of Jordan 2024.

    >>> Triangular().factor([0, 23, 100], steps_per_epoch=100, epochs=1).round(3).tolist()
    [0.2, 1.0, 0.07]
    """

    name = "triangular"
    start: float = 0.2
    peak: float = 0.23  # where, as a part of the run
    end: float = 0.07

    def __post_init__(self) -> None:
        good = 0 < self.peak < 1 and self.start >= 0 and self.end >= 0
        self.require(
            good, "the peak is a part of the run, between 0 and 1; both ends are 0 or more"
        )

    def _factor(self, step: Ints, per_epoch: int, epochs: int, seed: int) -> Floats:
        corners = [0.0, self.peak, 1.0], [self.start, 1.0, self.end]
        return np.interp(_done(step, per_epoch, epochs, "step"), *corners)


def schedule(text: str | Schedule) -> Schedule:
    """Read a learning-rate schedule; ValueError names an unknown one and the nearest right one.

    >>> schedule("step(0.1, (0.5, 0.75))")
    Step(decay=0.1, milestones=(0.5, 0.75))
    >>> str(schedule("discarded").effective())
    'constant'
    """
    return parse(text, registry(Schedule), "learning-rate schedule")
