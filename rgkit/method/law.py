"""The base of all laws of the loss weight: what `rgkit.method.laws` holds many of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rgkit.method.spec import Spec

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Law(Spec):
    """Base of all laws of the loss weight."""

    @property
    def chance(self) -> bool:
        """Whether two seeds give different weights; such a law states its own moments."""
        return type(self).moments is not Law.moments

    def draw(
        self,
        step: ArrayLike,
        epoch: ArrayLike = 0,
        *,
        epochs: int = 100,
        seed: int = 0,
        per_epoch: int = 0,
    ) -> Floats:
        """Return u at the given steps and epochs.

        Parameters
        ----------
        step, epoch : int or array of int, broadcast together
            Optimizer step since the start of the run, and the epoch that it belongs to.
        epochs : int
            Length of the run, which the decaying laws are scaled to.
        seed : int
            Seed of the loss-weight stream; laws without chance ignore it.
        per_epoch : int
            Steps in an epoch, for a law that changes within one; 0 is unknown.

        Returns
        -------
        float64 array of the broadcast shape

        Examples
        --------
        >>> from rgkit.method.laws import Linear, Uniform
        >>> Uniform(0, 1).draw([0, 1, 2], seed=0).shape
        (3,)
        >>> Linear(2, 0).draw([0, 0], [0, 50], epochs=100).tolist()
        [2.0, 1.0]
        """
        steps, at = np.broadcast_arrays(np.asarray(step, np.int64), np.asarray(epoch, np.int64))
        if epochs < 1:
            raise ValueError(f"epochs={epochs} given; a run has at least 1 epoch")
        return np.asarray(self._values(steps, at, epochs, seed, per_epoch), np.float64)

    def _values(self, step: Ints, epoch: Ints, epochs: int, seed: int, per: int) -> Floats:
        # `per` is per_epoch: most laws do not change within an epoch.
        raise NotImplementedError

    def moments(self, epochs: int = 100) -> tuple[float, float]:
        """Return the mean m1 and the second moment m2 of u.

        For a law without chance these are averages over the epochs of the run.

        >>> from rgkit.method.laws import Uniform
        >>> Uniform(0, 1).moments()
        (0.5, 0.3333333333333333)
        """
        u = self.draw(0, np.arange(epochs), epochs=epochs)
        return float(u.mean()), float((u**2).mean())
