"""Perform one run, whatever its task, with a checkpoint to go on from, and make its record."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import torch

from rgkit.runs.config import Config, Trained
from rgkit.runs.records import Record, Store, beside, commit, fingerprint_of, source
from rgkit.train.device import arithmetic, device_name, pick_device, processor
from rgkit.train.engines import world_size, writes
from rgkit.train.loop import Training

EVERY = 30.0  # seconds between checkpoints: a run shorter than that writes none


class Checkpoint:
    """What a run needs to go on after it was stopped or killed; gone with its record.

    Parameters
    ----------
    store : Store
        The file is ``<store>/checkpoints/<task>/<key>-<way>.pt``.
    config : Config
        Its key names the file, so that a changed setting, data set or numerics version starts anew.
    every : float
        Seconds between two writes.
    way : str
        In which way the run is performed, such as its device and step: each goes on from its own.

    Examples
    --------
    >>> from rgkit.runs.config import Classification
    >>> Checkpoint(Store("nowhere"), Classification()).load("cpu") is None
    True
    """

    def __init__(self, store: Store, config: Config, every: float = EVERY, way: str = "") -> None:
        self.key = store.path(config).stem
        name = re.sub("[^a-z0-9]+", "-", f"{self.key} {way}".lower()).strip("-")
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
        """Write a state of tensors, numbers and text; whenever this is cut short, one is whole.

        Where it cannot be written, the run goes on without, and a line says so.
        """
        self.last = time.monotonic()
        try:
            with beside(self.path) as part:
                with part.open("xb") as file:
                    torch.save({"key": self.key, **state}, file)
                    file.flush()
                    os.fsync(file.fileno())
                # Where it is gone, another process has ended this run and has cleared up.
                with contextlib.suppress(FileNotFoundError):
                    os.replace(part, self.path)
        except (OSError, RuntimeError) as error:  # torch's own where a disk is full
            print(f"{self.path}: no checkpoint ({error}); the run goes on", file=sys.stderr)

    def load(self, device: Any) -> dict[str, Any] | None:
        """Return the state on a device, or None where there is none that can be read.

        A damaged file is no reason to stop: the run begins anew, and says so.
        """
        if not self.path.is_file():
            return None
        try:
            if damaged := zipfile.ZipFile(self.path).testzip():  # torch looks at no checksum
                raise ValueError(f"{damaged} is damaged")
            state: dict[str, Any] = torch.load(self.path, map_location=device, weights_only=True)
            if state["key"] != self.key:
                raise ValueError(f"it belongs to the run {state['key']}")
        except Exception as error:  # a damaged file may raise anything
            print(f"{self.path}: no readable checkpoint ({error}); starting over", file=sys.stderr)
            return None
        return state

    def remove(self) -> None:
        """Remove the file, and what killed writers of it left behind."""
        for path in self.path.parent.glob(f"{self.key}*"):
            path.unlink(missing_ok=True)


@dataclass(frozen=True)
class How:
    """How and where runs are performed; nothing here decides their numbers but by rounding.

    Parameters
    ----------
    device : str
    step : see `rgkit.tasks.classification.make_step`
    store : Store, optional
        Where checkpoints are kept; without one there are none.
    every : float
        Seconds between checkpoints.
    """

    device: str = "auto"
    step: str = "auto"
    store: Store | None = None
    every: float = EVERY

    @property
    def name(self) -> str:
        """The device in words."""
        return device_name(self.device)

    def arithmetic(self, config: Any) -> str:
        """Return in which arithmetic a run would take place here."""
        return arithmetic(config, pick_device(self.device))

    def checkpoint(self, config: Config, way: str = "") -> Checkpoint:
        """Return the checkpoint of a config; without a way it stands for those of all ways."""
        assert self.store is not None
        return Checkpoint(self.store, config, self.every, way)

    def attempt(
        self, config: Config, tell: Callable[[float, float | None], None], stop: Callable[[], bool]
    ) -> Record | str | None:
        """Perform one config; where it goes wrong, return in words what did."""
        try:
            return perform(config, self, tell, stop)
        except Exception as error:
            return f"{type(error).__name__}: {error}"


def perform(
    config: Config,
    how: How | None = None,
    tell: Callable[[float, float | None], None] = lambda part, loss: None,
    stop: Callable[[], bool] = lambda: False,
) -> Record | None:
    """Run one config and return its record, or None if it was stopped; nothing is stored.

    Parameters
    ----------
    tell, stop : see `rgkit.train.engines.Work`

    >>> from rgkit.runs.config import Classification
    >>> tiny = Classification(data="digits", images=64, model="resnet8(2)", epochs=1)
    >>> perform(tiny, How("cpu")).status
    'finished'
    """
    how = how or How()
    where, name = pick_device(how.device), how.name
    # What a run costs does not depend on what else keeps the processor busy.
    alone = where.type == "cpu" and world_size() == 1
    clock = time.process_time if alone else time.perf_counter
    start = clock()
    commit()  # before the run, so that it names the code that ran
    extra: dict[str, Any] = {"processor": processor(where)}
    if isinstance(config, Trained):
        training = Training(config, how.device, how.step)
        kept = how.checkpoint(config, f"{training.step.name} {name}") if how.store else None
        resumed = 0
        if found := kept.load(where) if kept else None:
            try:
                if found["arithmetic"] != training.config.precision:
                    training = Training(config, how.device, how.step, used=found["arithmetic"])
                training.load(found)
                start, resumed = start - found["seconds"], found["resumed"] + 1
            except Exception as error:
                words = f"a checkpoint that does not fit ({error}); starting over"
                print(f"{kept and kept.path}: {words}", file=sys.stderr)
                training = Training(config, how.device, how.step)
        tell(training.epoch / config.epochs, training.loss)
        while not training.over:
            training.advance()
            tell(training.epoch / config.epochs, training.loss)
            last = stop() and not training.over
            if kept and not training.over and (last or kept.due):
                about = {"device": name, "seconds": clock() - start, "resumed": resumed}
                if writes():
                    kept.save(training.state() | about)
            if last:
                return None
        outcome = training.outcome
        extra |= {"step": training.step.name, "arithmetic": training.config.precision}
        extra |= {"resumed": resumed} if resumed else {}
    else:
        outcome = import_module(config.code).measure(config, how.device)
        extra["arithmetic"] = how.arithmetic(config)
    mark, where_from = fingerprint_of(config), source(name, clock() - start) | extra
    return Record(config.key(mark), config, mark, source=where_from, **vars(outcome))
