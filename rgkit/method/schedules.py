"""Learning-rate schedules: the factor on the base learning rate at each step."""

from __future__ import annotations

import numpy as np

from rgkit.method import laws
from rgkit.method.formula import Floats
from rgkit.method.laws import Steps
from rgkit.method.spec import BELOW_1, POSITIVE, number, one_of, parse, registry


class Schedule(laws.Curve):
    """Base of all schedules; pure in the step.

    >>> Poly(1.0).draw([0, 10], per_epoch=10, epochs=2).tolist()
    [1.0, 0.5]
    """

    def effective(self) -> Schedule:
        """Return the schedule that the optimizer really sees (itself, but for `discarded`)."""
        return self


class Constant(Schedule):
    """Never decayed."""

    def values(self, at: Steps) -> Floats:
        return np.ones(at.step.shape)


class Discarded(Constant):
    """The published code's mistake: each epoch a decayed optimizer is built, then thrown away.

    The function that lowers the learning rate binds a new SGD object to a local name; the training
    loop keeps the old one. What the optimizer sees is `constant`, and a run's key says so.
    """

    meant: str = "poly"

    def __post_init__(self) -> None:
        schedule(self.meant)  # a misspelt schedule is an error even when nobody follows it

    def effective(self) -> Schedule:
        return Constant()


class Poly(Schedule):
    """(1 - done) ** power (RG section 1): once an epoch as in the code, or at each step.

    The code computes ``0.1 * (1 - (epoch + 1) / 100) ** 0.9`` for the epoch that follows, so
    epoch e (counted from 0) trains at (1 - e / epochs) ** 0.9 and the last one is not at zero.
    """

    power: float = number(0.9)
    per: str = one_of("epoch", "step")

    def values(self, at: Steps) -> Floats:
        return (1 - at.done(self.per)) ** self.power


class Linear(Schedule):
    """1 - done: linear decay to zero."""

    per: str = one_of("step", "epoch")

    def values(self, at: Steps) -> Floats:
        return 1 - at.done(self.per)


class Cosine(Schedule):
    """Half a cosine from 1 to 0: the usual decay to zero since 2016 (Loshchilov and Hutter)."""

    per: str = one_of("step", "epoch")

    def values(self, at: Steps) -> Floats:
        return np.asarray((1 + np.cos(np.pi * at.done(self.per))) / 2)


class Like(Schedule):
    """The curve of a loss weight put on the learning rate: what LD Fig. 4(d) compares."""

    law: str = "linear(2, 0)"

    def __post_init__(self) -> None:
        found = laws.law(self.law)
        wanted = "one without chance, as 'linear(2, 0)'; a formula is a schedule itself"
        steady = not (found.chance or isinstance(found, laws.Formula))
        self.require(steady, wanted, "law")
        object.__setattr__(self, "law", str(found))

    def values(self, at: Steps) -> Floats:
        return laws.law(self.law).values(at)


class Formula(laws.Written, Schedule):
    """The factor by a formula, see `rgkit.method.formula`; u and n are not those of the weight."""

    stream = "rate"


class Step(Schedule):
    """Multiplied by `decay` at each milestone (a part of the run); RG's code has 50 % and 75 %."""

    decay: float = number(0.1)
    milestones: tuple[float, ...] = (0.5, 0.75)

    def __post_init__(self) -> None:
        super().__post_init__()
        inside = all(0 < m < 1 for m in self.milestones)
        self.require(inside, "milestones are parts of the run, between 0 and 1")

    def values(self, at: Steps) -> Floats:
        passed = sum(at.past(m).astype(int) for m in self.milestones)
        return self.decay ** np.asarray(passed, np.float64)


class Triangular(Schedule):
    """Up to 1 and down again, once, on straight lines; the defaults are those of Jordan 2024.

    >>> Triangular().draw([0, 23, 100], per_epoch=100, epochs=1).round(3).tolist()
    [0.2, 1.0, 0.07]
    """

    start: float = number(0.2)
    peak: float = number(0.23, POSITIVE, BELOW_1)  # where, as a part of the run
    end: float = number(0.07)

    def values(self, at: Steps) -> Floats:
        corners = [0.0, self.peak, 1.0], [self.start, 1.0, self.end]
        return np.interp(at.done("step"), *corners)


def schedule(text: str | Schedule) -> Schedule:
    """Read a learning-rate schedule; ValueError names an unknown one and the nearest right one.

    >>> schedule("step(0.1, (0.5, 0.75))")
    Step(decay=0.1, milestones=(0.5, 0.75))
    >>> str(schedule("discarded").effective())
    'constant'
    """
    return parse(text, registry(Schedule), "learning-rate schedule")
