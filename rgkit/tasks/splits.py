"""A data set on a device: to train on, to test on, held out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from rgkit.train.loop import Split

Pair = tuple[np.ndarray, np.ndarray]  # pictures, and what belongs to each of them


def split(
    data: str,
    count: int,
    held: int,
    where: torch.device,
    train: Pair,
    test: Pair,
    made: Callable[[Tensor, Tensor], Split],
) -> tuple[Split, Split, Split]:
    """Bring pictures and what belongs to them to a device: to train on, to test on, held out.

    Parameters
    ----------
    data : the name of the set, for errors
    count, held : of the training pictures the first so many are trained on, 0 is all that are not
        held out; the last so many are held out
    made : from both halves on the device to a split

    Raises ValueError where there are not so many.
    """
    total = len(train[0])
    if count + held > total - (count == 0):
        given = f"images={count}" + (f", validation={held}" if held else "")
        raise ValueError(f"{given} given; {data} has {total:,} to train on")
    first, last = slice(0, count or total - held), slice(total - held, total)
    parts = [tuple(half[first] for half in train), test, tuple(half[last] for half in train)]
    a, b, c = (made(*(torch.from_numpy(half).to(where) for half in part)) for part in parts)
    return a, b, c
