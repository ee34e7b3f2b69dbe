"""Checkpoints: what a run needs to go on after it was stopped or killed; gone with its record."""

from __future__ import annotations

import contextlib
import os
import pickle
import re
import sys
import tempfile
import time
from typing import Any

import torch

from rgkit.runs.kinds import Config
from rgkit.runs.records import Store, fingerprint_of

EVERY = 30.0  # seconds between checkpoints: a run shorter than that writes none


def writes() -> bool:
    """Whether this process is the one that writes: the first of those that torchrun has started."""
    return os.environ.get("RANK", "0") == "0"


class Checkpoint:
    """The checkpoint of one config, ``<store>/checkpoints/<task>/<key>-<way>.pt``.

    Parameters
    ----------
    store : Store
    config : Config
        Its key names the file, so that a changed setting, data set or numerics version starts anew.
    every : float
        Seconds between two writes.
    way : str
        In which way the run is performed, such as its device and step: each goes on from its own.

    Examples
    --------
    >>> from rgkit.runs.kinds import Classification
    >>> Checkpoint(Store(tempfile.mkdtemp()), Classification()).load("cpu") is None
    True
    """

    def __init__(self, store: Store, config: Config, every: float = EVERY, way: str = "") -> None:
        self.key = config.key(fingerprint_of(config))
        slug = re.sub("[^a-z0-9]+", "-", way.lower()).strip("-")
        name = f"{self.key}-{slug}" if slug else self.key
        self.path = store.root / "checkpoints" / config.task / f"{name}.pt"
        self.every, self.last = every, time.monotonic()

    @property
    def begun(self) -> bool:
        """Whether the config has a checkpoint, in whatever way it was performed."""
        return any(self.path.parent.glob(f"{self.key}*.pt"))

    @property
    def due(self) -> bool:
        """Whether the last write (or the start) is longer ago than `every`."""
        return time.monotonic() - self.last >= self.every

    def save(self, state: dict[str, Any]) -> None:
        """Write a state of tensors, numbers and text; whenever this is cut short, one is whole."""
        if not writes():
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            dir=self.path.parent, prefix=f"{self.key}-", suffix=".part", delete=False
        ) as file:
            torch.save({"key": self.key, **state}, file)
            file.flush()
            os.fsync(file.fileno())
        # Where it is gone, another process has ended this run and has cleared up.
        with contextlib.suppress(FileNotFoundError):
            os.replace(file.name, self.path)
        self.last = time.monotonic()

    def load(self, device: Any) -> dict[str, Any] | None:
        """Return the state on a device, or None where there is none that can be read.

        A damaged file is no reason to stop: the run begins anew, and says so.
        """
        if not self.path.is_file():
            return None
        try:
            state: dict[str, Any] = torch.load(self.path, map_location=device, weights_only=True)
            if state["key"] != self.key:
                raise ValueError(f"it belongs to the run {state['key']}")
        except (OSError, RuntimeError, ValueError, KeyError, EOFError, pickle.UnpicklingError) as e:
            print(f"{self.path}: no readable checkpoint ({e}); starting over", file=sys.stderr)
            return None
        return state

    def remove(self) -> None:
        """Remove the file, and what killed writers of it left behind."""
        for path in self.path.parent.glob(f"{self.key}*"):
            path.unlink(missing_ok=True)
