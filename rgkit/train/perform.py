"""Perform one run, whatever its task, and make its record."""

from __future__ import annotations

import time
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from torch import distributed

from rgkit.runs.kinds import Config, ConfigError, Trained
from rgkit.runs.records import Record, Store, commit, fingerprint_of, source
from rgkit.train.checkpoint import EVERY, Checkpoint
from rgkit.train.device import arithmetic, device_name, pick_device, processor
from rgkit.train.engines import Outcome, Stop, Tell
from rgkit.train.loop import Training


@dataclass(frozen=True)
class How:
    """How runs are performed; nothing here decides their numbers.

    Parameters
    ----------
    device : str
    step : see `rgkit.train.step.make_step`
    store : Store, optional
        Where checkpoints are kept; without one there are none.
    every : float
        Seconds between checkpoints.
    """

    device: str = "auto"
    step: str = "auto"
    store: Store | None = None
    every: float = EVERY


def misplaced(config: Config, here: int) -> str:
    """Say why a run cannot be trained by as many processes as are here; "" where it can.

    >>> from rgkit.runs.kinds import Classification
    >>> misplaced(Classification(), 1)
    ''
    """
    wanted = getattr(config, "processes", 1)
    if wanted == here:
        return ""
    return (
        f"processes={wanted} given, and {here} here to train it; start them with\n  torchrun "
        f"--nproc-per-node {wanted} -m rgkit.cli run --plan --only NOTEBOOK --profile PROFILE "
        f"-p processes={wanted}"
    )


def perform(
    config: Config,
    how: How | None = None,
    tell: Tell = lambda part, loss: None,
    stop: Stop = lambda: False,
) -> Record | None:
    """Run one config and return its record, or None if it was stopped; nothing is stored.

    Raises ConfigError where other processes than the config's are there to share it.

    >>> from rgkit.runs.kinds import Classification
    >>> tiny = Classification(data="digits", images=64, model="resnet8(2)", epochs=1)
    >>> perform(tiny, How("cpu")).status
    'finished'
    """
    how = how or How()
    together = distributed.is_initialized()
    if why := misplaced(config, distributed.get_world_size() if together else 1):
        raise ConfigError(why)
    where, name = pick_device(how.device), device_name(how.device)
    # What a run costs does not depend on what else keeps the processor busy.
    clock = time.process_time if where.type == "cpu" and not together else time.perf_counter
    start = clock()
    commit()  # before the run, so that it names the code that ran
    extra: dict[str, Any] = {"processor": processor(where)}
    if isinstance(config, Trained):
        training = Training(config, how.device, how.step)
        way = f"{training.step.name} {name}"
        kept = Checkpoint(how.store, config, how.every, way) if how.store else None
        resumed = 0
        if found := kept.load(training.where) if kept else None:
            begun = found.get("arithmetic", config.precision)  # older ones had that of the config
            if begun != training.config.precision:
                training = Training(config, how.device, how.step, used=begun)
            training.load(found)
            start, resumed = start - found["seconds"], found["resumed"] + 1
        tell(training.epoch / config.epochs, training.loss)
        while not training.over:
            training.advance()
            tell(training.epoch / config.epochs, training.loss)
            last = stop()
            if kept and not training.over and (last or kept.due):
                about = {"device": name, "seconds": clock() - start, "resumed": resumed}
                kept.save(training.state() | about)
            if last and not training.over:
                return None
        outcome = training.outcome
        extra |= {"step": training.step.name, "arithmetic": training.config.precision}
        extra |= {"resumed": resumed} if resumed else {}
    else:
        outcome = import_module(config.code).measure(config, how.device)
        measured: Any = config  # with a precision, too
        extra["arithmetic"] = arithmetic(measured, where)
    mark, where_from = fingerprint_of(config), source(name, clock() - start) | extra
    return Record(config.key(mark), config, mark, source=where_from, **vars(outcome))


def attempt(how: How, config: Config, tell: Tell, stop: Stop) -> Outcome:
    """Perform one config; where it goes wrong, return in words what did."""
    try:
        return perform(config, how, tell, stop)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
