"""Independent streams of random numbers, so that arms of one seed differ in nothing but the trick.

Initial weights, batch order, augmentation and loss weight each have a stream of their own: whether
an arm draws loss weights or not, its images arrive in the same order with the same crops.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

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
        passed = self.epoch if per == "epoch" else self.step / self.per_epoch
        return np.asarray(passed / self.epochs, np.float64)

    def uniforms(self, name: str) -> Floats:
        """Return two U(0, 1) numbers of a stream for each step, [*step.shape, 2].

        They are a prefix of one endless stream, so each step has its own whoever else is asked.
        """
        drawn: Floats = stream(self.seed, name).random((self._count(), 2))[self.step]
        return drawn

    def normals(self, name: str) -> Floats:
        """Return a standard normal number of a stream for each step, [*step.shape]."""
        return np.asarray(stream(self.seed, name).standard_normal(self._count())[self.step])

    def _count(self) -> int:
        return int(self.step.max(initial=-1)) + 1
