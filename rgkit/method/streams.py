"""Independent streams of random numbers, so that arms of one seed differ in nothing but the trick.

Initial weights, batch order, augmentation and loss weight each have a stream of their own: whether
an arm draws loss weights or not, its images arrive in the same order with the same crops.
"""

from __future__ import annotations

import numpy as np

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
