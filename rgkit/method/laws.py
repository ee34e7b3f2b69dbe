"""The method: laws of the loss weight u(t), by which the loss is multiplied at step t.

Every law is pure in (step, epoch): the weight of step 1,000 is the same whether the 999 before it
were asked for or not. A law knows its mean m1 and second moment m2, which is all that the theory
needs but for the almost-sure threshold (predictions 1 to 7 of the book).

Arms of one seed differ in nothing but the trick: initial weights, batch order, augmentation and
loss weight each have a stream of random numbers of their own. Whether an arm draws loss weights or
not, its images arrive in the same order with the same crops.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rgkit.method import formula
from rgkit.method.formula import Floats
from rgkit.method.spec import POSITIVE, Spec, number, parse, registry

Ints = NDArray[np.int64]
STEPS_PER_EPOCH = 391  # of CIFAR-10 in batches of 128, where nobody says
# Initial weights come from torch's own generator, seeded alone: see `rgkit.models.classification`.
STREAMS = {"order": 2, "augment": 3, "weight": 4, "noise": 6}
# A formula's chance on the learning rate, and its normal numbers on either.
STREAMS |= {"rate": 7, "weight normal": 8, "rate normal": 9}
STREAMS |= {"half": 10}  # of the images, which is mirrored in even epochs


def stream(seed: int, name: str, epoch: int = 0) -> np.random.Generator:
    """Return the generator of one stream at the start of one epoch.

    The Philox generator is counter-based: the same (seed, name, epoch) gives the same numbers
    whatever was drawn before.

    >>> float(stream(0, "weight").random()) == float(stream(0, "weight").random())
    True
    """
    key = np.array([seed, STREAMS[name]], dtype=np.uint64)
    counter = np.array([0, 0, 0, epoch], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=counter))


@dataclass(frozen=True)
class Steps:
    """Steps of a run: all that a law or a schedule may know of them.

    Attributes
    ----------
    step, epoch : int64, of one shape
        Optimizer steps since the start of the run, and the epochs that they belong to.
    epochs, per_epoch : int
        Epochs in the run, and steps in an epoch; a `per_epoch` of 0 is unknown.
    seed : int
    """

    step: Ints
    epoch: Ints
    epochs: int
    per_epoch: int
    seed: int

    def done(self, per: str = "epoch") -> Floats:
        """Return the part of the run that is over, counted in whole epochs or per "step"."""
        if per == "step" and not self.per_epoch:
            raise ValueError("per_epoch=0 given; what changes at each step asks for the number")
        passed = self.epoch if per == "epoch" else self.step / self.per_epoch
        return np.asarray(passed / self.epochs, np.float64)

    def past(self, part: float) -> NDArray[np.bool_]:
        """Return whether that part of the run is over, counted in whole epochs.

        A hair below it: 0.7 of 10 epochs is epoch 7 whatever the rounding.
        """
        return np.asarray(self.done() >= part - 1e-9)

    def uniforms(self, name: str) -> Floats:
        """Return two U(0, 1) numbers of a stream for each step, [*step.shape, 2].

        They are a prefix of one endless stream, so each step has its own whoever else is asked.
        """
        drawn = stream(self.seed, name).random((self.step.max(initial=-1) + 1, 2))
        return np.asarray(drawn[self.step])

    def normals(self, name: str) -> Floats:
        """Return a standard normal number of a stream for each step, [*step.shape]."""
        drawn = stream(self.seed, name).standard_normal(self.step.max(initial=-1) + 1)
        return np.asarray(drawn[self.step])


class Curve(Spec):
    """Base of laws and schedules: a number for each step of a run, pure in the step."""

    @property
    def chance(self) -> bool:
        """Whether two seeds give different numbers; such a curve states its own moments."""
        return type(self).moments is not Curve.moments

    def values(self, at: Steps) -> Floats:
        """Return the numbers at steps of a run, [*at.step.shape]: what a law or schedule is."""
        raise NotImplementedError

    def draw(
        self,
        step: ArrayLike,
        epoch: ArrayLike | None = None,
        *,
        epochs: int = 100,
        seed: int = 0,
        per_epoch: int = 0,
    ) -> Floats:
        """Return the loss weight, or learning rate / base learning rate, at steps of a run.

        Parameters
        ----------
        step, epoch : int or array of int, broadcast together
            Optimizer step since the start of the run, and the epoch that it belongs to; without
            one it is that of the step, or the first where the steps in an epoch are unknown.
        epochs : int
            Length of the run, which what decays is scaled to.
        seed : int
            Seed of the random stream; what is without chance ignores it.
        per_epoch : int
            Steps in an epoch, for what changes within one; 0 is unknown.

        Returns
        -------
        float64 array of the broadcast shape

        Examples
        --------
        >>> Uniform(0, 1).draw([0, 1, 2], seed=0).shape
        (3,)
        >>> Linear(2, 0).draw([0, 500], per_epoch=10).tolist()
        [2.0, 1.0]
        """
        if epochs < 1:
            raise ValueError(f"epochs={epochs} given; a run has at least 1 epoch")
        if per_epoch < 0:
            raise ValueError(f"per_epoch={per_epoch} given; 1 or more, or 0 where it is unknown")
        steps = np.asarray(step, np.int64)
        if epoch is None:
            epoch = steps // per_epoch if per_epoch else 0
        steps, at = np.broadcast_arrays(steps, np.asarray(epoch, np.int64))
        return np.asarray(self.values(Steps(steps, at, epochs, per_epoch, seed)), np.float64)

    def moments(self, epochs: int = 100, per_epoch: int = STEPS_PER_EPOCH) -> tuple[float, float]:
        """Return the mean m1 and the second moment m2 over a run.

        >>> Uniform(0, 1).moments()
        (0.5, 0.3333333333333333)
        """
        step = np.arange(epochs * per_epoch)
        u = np.asarray(self.values(Steps(step, step // per_epoch, epochs, per_epoch, 0)))
        return float(u.mean()), float((u**2).mean())


class Written(Curve):
    """Base of laws and schedules that are written as a formula, see `rgkit.method.formula`."""

    stream: ClassVar[str]  # of its random numbers
    text: str = "1"

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", formula.canonical(str(self.text)))

    @property
    def chance(self) -> bool:
        return formula.chance(self.text)

    def values(self, at: Steps) -> Floats:
        used, length = formula.used(self.text), at.per_epoch * at.epochs
        # Where the steps in an epoch are unknown, t is counted in whole epochs.
        known = {"t": at.step / length if length else at.done()}
        known |= {"step": np.asarray(at.step, float), "epoch": np.asarray(at.epoch, float)}
        if "u" in used:  # those of "weight" are the numbers of the law `uniform`
            known["u"] = at.uniforms(self.stream)[..., 1]
        if "n" in used:
            known["n"] = at.normals(f"{self.stream} normal")
        return formula.evaluate(self.text, **known)

    def moments(self, epochs: int = 100, per_epoch: int = STEPS_PER_EPOCH) -> tuple[float, float]:
        if self.chance:
            return formula.moments(self.text, epochs, per_epoch)
        return super().moments(epochs, per_epoch)


class Law(Curve):
    """Base of all laws of the loss weight."""


# --- laws with chance -------------------------------------------------------------------------


class Uniform(Law):
    """U(low, high): Random Gradient is U(0, 1) (RG section 4, ``loss * random()``)."""

    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        self.require(0 <= self.low <= self.high, "the limits must obey 0 <= low <= high")

    def values(self, at: Steps) -> Floats:
        return self.low + (self.high - self.low) * at.uniforms("weight")[..., 1]

    def moments(self, epochs: int = 100, per_epoch: int = STEPS_PER_EPOCH) -> tuple[float, float]:
        a, b = self.low, self.high
        return (a + b) / 2, (a * a + a * b + b * b) / 3


class Coin(Law):
    """With probability p from U(0, 1), else 1: what RG's segmentation code does (p = 1/2)."""

    p: float = number(0.5, 0, 1)

    def values(self, at: Steps) -> Floats:
        draws = at.uniforms("weight")
        return np.where(draws[..., 0] < self.p, draws[..., 1], 1.0)

    def moments(self, epochs: int = 100, per_epoch: int = STEPS_PER_EPOCH) -> tuple[float, float]:
        return 1 - self.p / 2, 1 - 2 * self.p / 3


class TwoPoint(Law):
    """low or high with equal chance; the default has the mean and variance of U(0, 1)."""

    low: float = 0.5 - 12**-0.5
    high: float = 0.5 + 12**-0.5

    def __post_init__(self) -> None:
        self.require(0 <= self.low <= self.high, "the points must obey 0 <= low <= high")

    def values(self, at: Steps) -> Floats:
        return np.where(at.uniforms("weight")[..., 1] < 0.5, self.low, self.high)

    def moments(self, epochs: int = 100, per_epoch: int = STEPS_PER_EPOCH) -> tuple[float, float]:
        return (self.low + self.high) / 2, (self.low**2 + self.high**2) / 2


class Beta(Law):
    """scale * Beta(a, b): the default, 2 Beta(2, 6), has the mean and variance of U(0, 1)."""

    a: float = number(2.0, POSITIVE)
    b: float = number(6.0, POSITIVE)
    scale: float = number(2.0, POSITIVE)

    def values(self, at: Steps) -> Floats:
        from scipy.special import betaincinv  # here, so that other laws need no SciPy

        draws = at.uniforms("weight")[..., 1]
        return np.asarray(self.scale * betaincinv(self.a, self.b, draws), np.float64)

    def moments(self, epochs: int = 100, per_epoch: int = STEPS_PER_EPOCH) -> tuple[float, float]:
        mean = self.a / (self.a + self.b)
        second = mean * (self.a + 1) / (self.a + self.b + 1)
        return self.scale * mean, self.scale**2 * second


# --- laws without chance ----------------------------------------------------------------------


class Constant(Law):
    """The same weight at every step: 1 is plain training, 1/2 the first control of RG."""

    value: float = number(1.0)

    def values(self, at: Steps) -> Floats:
        return np.full(at.step.shape, self.value)


class Linear(Law):
    """From start towards end, equally per epoch: 2 to 0 in LD Fig. 2(a), 3 to 0 in Fig. 3."""

    start: float = number(2.0)
    end: float = number(0.0)

    def values(self, at: Steps) -> Floats:
        return self.start + (self.end - self.start) * at.epoch / at.epochs


class LongTail(Law):
    """start * exp(-rate * epoch / epochs): a reading of LD Fig. 3(a), which gives no formula."""

    start: float = number(2.0)
    rate: float = number(5.0)

    def values(self, at: Steps) -> Floats:
        return self.start * np.exp(-self.rate * at.epoch / at.epochs)


class LateDrop(Law):
    """1, then 2/3 - epoch/150 from 70 % on: LD's published code, scaled from its 100 epochs.

    The weight jumps from 1 to 0.2 at 70 % of the run and ends at 0.0067.
    """

    def values(self, at: Steps) -> Floats:
        of_100 = 100 * at.epoch / at.epochs
        return np.where(of_100 < 70, 1.0, 2 / 3 - of_100 / 150)


class Triangle(Law):
    """From near 0 up to 2 and back every `period` epochs: commented out in RG's first commit.

    An even period climbs in equal steps and comes down the same way (period 10: 0.4, 0.8, ..., 2,
    2, ..., 0.4); period 5 is 0.5, 1, 2, 1, 0.5, as the code has it.
    """

    period: int = number(10, 2, 100_000)

    def __post_init__(self) -> None:
        super().__post_init__()
        good = self.period == 5 or self.period % 2 == 0
        self.require(good, "the period is 5 or even; the code has 100, 50, 20, 10, 5")

    def values(self, at: Steps) -> Floats:
        half = self.period // 2
        climb = 2.0 * np.arange(1, half + 1) / half
        cycle = np.concatenate([climb, climb[::-1]])
        if self.period == 5:
            cycle = np.array([0.5, 1.0, 2.0, 1.0, 0.5])
        return cycle[at.epoch % self.period]


class Late(Law):
    """1, and another law once that part of the run is over: what RG adds to a run that has settled.

    Until then the run is plain training, so that arms differ in the rest alone. The later law knows
    the epoch of the whole run: after 0.8 of it, ``linear(1, 0)`` begins at 0.2.
    """

    then: str = "uniform(0, 1)"
    after: float = number(0.8, 0, 1)  # the part of the run

    def __post_init__(self) -> None:
        super().__post_init__()
        later = law(self.then)
        self.require(not isinstance(later, Late | Formula), "a law, not late or a formula", "then")
        object.__setattr__(self, "then", str(later))

    def values(self, at: Steps) -> Floats:
        return np.where(at.past(self.after), law(self.then).values(at), 1.0)

    @property
    def chance(self) -> bool:
        return law(self.then).chance

    def moments(self, epochs: int = 100, per_epoch: int = STEPS_PER_EPOCH) -> tuple[float, float]:
        if not self.chance:
            return super().moments(epochs, per_epoch)
        every = np.arange(epochs)
        part = float(Steps(every, every, epochs, 1, 0).past(self.after).mean())
        m1, m2 = law(self.then).moments(epochs)
        return 1 - part + part * m1, 1 - part + part * m2


class Formula(Written, Law):
    """The loss weight by a formula in t, step, epoch, u and n, see `rgkit.method.formula`.

    >>> str(Formula("1+cos(pi*t)"))
    "formula('1 + cos(pi * t)')"
    """

    stream = "weight"


def law(text: str | Law) -> Law:
    """Read a law of the loss weight.

    Raises ValueError for an unknown name (with the nearest right one) or unfit arguments.

    >>> law("uniform(0, 1)")
    Uniform(low=0, high=1)
    >>> str(law("coin"))
    'coin(0.5)'
    """
    return parse(text, registry(Law), "loss weight")
