"""The method: laws of the loss weight u(t), by which the loss is multiplied at step t.

Every law is pure in (step, epoch): the weight of step 1,000 is the same whether the 999 before it
were asked for or not. A law knows its mean m1 and second moment m2, which is all that the theory
needs but for the almost-sure threshold (predictions 1 to 7 of the book).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rgkit.method.formula import Formula as Formula
from rgkit.method.law import Floats, Ints
from rgkit.method.law import Law as Law
from rgkit.method.spec import parse, registry
from rgkit.method.streams import stream


def _uniforms(step: Ints, seed: int) -> Floats:
    """Two U(0, 1) numbers for each step, [*step.shape, 2]; a prefix of one endless stream."""
    count = int(step.max(initial=-1)) + 1
    draws: Floats = stream(seed, "weight").random((count, 2))[step]
    return draws


# --- laws with chance -------------------------------------------------------------------------


@dataclass(frozen=True)
class Uniform(Law):
    """U(low, high): Random Gradient is U(0, 1) (RG section 4, ``loss * random()``)."""

    name = "uniform"
    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        self.require(0 <= self.low <= self.high, "the limits must obey 0 <= low <= high")

    def _values(self, step: Ints, epoch: Ints, epochs: int, seed: int, per: int) -> Floats:
        return self.low + (self.high - self.low) * _uniforms(step, seed)[..., 1]

    def moments(self, epochs: int = 100) -> tuple[float, float]:
        a, b = self.low, self.high
        return (a + b) / 2, (a * a + a * b + b * b) / 3


@dataclass(frozen=True)
class Coin(Law):
    """With probability p from U(0, 1), else 1: what RG's segmentation code does (p = 1/2)."""

    name = "coin"
    p: float = 0.5

    def __post_init__(self) -> None:
        self.require(0 <= self.p <= 1, "a probability lies between 0 and 1")

    def _values(self, step: Ints, epoch: Ints, epochs: int, seed: int, per: int) -> Floats:
        draws = _uniforms(step, seed)
        return np.where(draws[..., 0] < self.p, draws[..., 1], 1.0)

    def moments(self, epochs: int = 100) -> tuple[float, float]:
        return 1 - self.p / 2, 1 - 2 * self.p / 3


@dataclass(frozen=True)
class TwoPoint(Law):
    """low or high with equal chance; the default has the mean and variance of U(0, 1)."""

    name = "two_point"
    low: float = 0.5 - 12**-0.5
    high: float = 0.5 + 12**-0.5

    def __post_init__(self) -> None:
        self.require(0 <= self.low <= self.high, "the points must obey 0 <= low <= high")

    def _values(self, step: Ints, epoch: Ints, epochs: int, seed: int, per: int) -> Floats:
        return np.where(_uniforms(step, seed)[..., 1] < 0.5, self.low, self.high)

    def moments(self, epochs: int = 100) -> tuple[float, float]:
        return (self.low + self.high) / 2, (self.low**2 + self.high**2) / 2


@dataclass(frozen=True)
class Beta(Law):
    """scale * Beta(a, b): the default, 2 Beta(2, 6), has the mean and variance of U(0, 1)."""

    name = "beta"
    a: float = 2.0
    b: float = 6.0
    scale: float = 2.0

    def __post_init__(self) -> None:
        self.require(min(self.a, self.b, self.scale) > 0, "a, b and scale must be positive")

    def _values(self, step: Ints, epoch: Ints, epochs: int, seed: int, per: int) -> Floats:
        from scipy.special import betaincinv  # here, so that other laws need no SciPy

        draws = _uniforms(step, seed)[..., 1]
        return np.asarray(self.scale * betaincinv(self.a, self.b, draws), np.float64)

    def moments(self, epochs: int = 100) -> tuple[float, float]:
        mean = self.a / (self.a + self.b)
        second = mean * (self.a + 1) / (self.a + self.b + 1)
        return self.scale * mean, self.scale**2 * second


# --- laws without chance ----------------------------------------------------------------------


@dataclass(frozen=True)
class Constant(Law):
    """The same weight at every step: 1 is plain training, 1/2 the first control of RG."""

    name = "constant"
    value: float = 1.0

    def __post_init__(self) -> None:
        self.require(self.value >= 0, "a loss weight is not negative")

    def _values(self, step: Ints, epoch: Ints, epochs: int, seed: int, per: int) -> Floats:
        return np.full(step.shape, self.value)


@dataclass(frozen=True)
class Linear(Law):
    """From start towards end, equally per epoch: 2 to 0 in LD Fig. 2(a), 3 to 0 in Fig. 3."""

    name = "linear"
    start: float = 2.0
    end: float = 0.0

    def __post_init__(self) -> None:
        self.require(min(self.start, self.end) >= 0, "a loss weight is not negative")

    def _values(self, step: Ints, epoch: Ints, epochs: int, seed: int, per: int) -> Floats:
        return self.start + (self.end - self.start) * epoch / epochs


@dataclass(frozen=True)
class LongTail(Law):
    """start * exp(-rate * epoch / epochs): a reading of LD Fig. 3(a), which gives no formula."""

    name = "long_tail"
    start: float = 2.0
    rate: float = 5.0

    def __post_init__(self) -> None:
        self.require(min(self.start, self.rate) >= 0, "start and rate are not negative")

    def _values(self, step: Ints, epoch: Ints, epochs: int, seed: int, per: int) -> Floats:
        return self.start * np.exp(-self.rate * epoch / epochs)


@dataclass(frozen=True)
class LateDrop(Law):
    """1, then 2/3 - epoch/150 from 70 % on: LD's published code, scaled from its 100 epochs.

    The weight jumps from 1 to 0.2 at 70 % of the run and ends at 0.0067.
    """

    name = "late_drop"

    def _values(self, step: Ints, epoch: Ints, epochs: int, seed: int, per: int) -> Floats:
        of_100 = 100 * epoch / epochs
        return np.where(of_100 < 70, 1.0, 2 / 3 - of_100 / 150)


@dataclass(frozen=True)
class Triangle(Law):
    """From near 0 up to 2 and back every `period` epochs: commented out in RG's first commit.

    An even period climbs in equal steps and comes down the same way (period 10: 0.4, 0.8, ..., 2,
    2, ..., 0.4); period 5 is 0.5, 1, 2, 1, 0.5, as the code has it.
    """

    name = "triangle"
    period: int = 10

    def __post_init__(self) -> None:
        good = self.period == 5 or (self.period >= 2 and self.period % 2 == 0)
        self.require(good, "the period is 5 or even; the code has 100, 50, 20, 10, 5")

    def _values(self, step: Ints, epoch: Ints, epochs: int, seed: int, per: int) -> Floats:
        half = self.period // 2
        climb = 2.0 * np.arange(1, half + 1) / half
        cycle = np.concatenate([climb, climb[::-1]])
        if self.period == 5:
            cycle = np.array([0.5, 1.0, 2.0, 1.0, 0.5])
        return cycle[epoch % self.period]


@dataclass(frozen=True)
class Late(Law):
    """1, and another law once that part of the run is over: what RG adds to a run that has settled.

    Until then the run is plain training, so that arms differ in the rest alone. The later law knows
    the epoch of the whole run: after 0.8 of it, ``linear(1, 0)`` begins at 0.2.
    """

    name = "late"
    then: str = "uniform(0, 1)"
    after: float = 0.8

    def __post_init__(self) -> None:
        wanted = f"after={self.after} given; a part of the run, from 0 to 1"
        self.require(0 <= self.after <= 1, wanted)
        later = law(self.then)
        wanted = f"then={self.then!r} given; a law, not late or a formula"
        self.require(not isinstance(later, Late | Formula), wanted)
        object.__setattr__(self, "then", str(later))

    def _values(self, step: Ints, epoch: Ints, epochs: int, seed: int, per: int) -> Floats:
        later = law(self.then).draw(step, epoch, epochs=epochs, seed=seed)
        # A hair below: 0.7 of 10 epochs is epoch 7 whatever the rounding.
        return np.where(epoch / epochs >= self.after - 1e-9, later, 1.0)

    @property
    def chance(self) -> bool:
        return law(self.then).chance

    def moments(self, epochs: int = 100) -> tuple[float, float]:
        if not self.chance:
            return super().moments(epochs)  # an average over the epochs
        part = float(np.mean(np.arange(epochs) / epochs >= self.after - 1e-9))
        m1, m2 = law(self.then).moments(epochs)
        return 1 - part + part * m1, 1 - part + part * m2


def law(text: str | Law) -> Law:
    """Read a law of the loss weight.

    Raises ValueError for an unknown name (with the nearest right one) or unfit arguments.

    >>> law("uniform(0, 1)")
    Uniform(low=0, high=1)
    >>> str(law("coin"))
    'coin(0.5)'
    """
    return parse(text, registry(Law), "loss weight")
