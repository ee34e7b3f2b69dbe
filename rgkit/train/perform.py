"""Run one config, whatever its task, and make its record."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from rgkit.runs.kinds import Config, Trained
from rgkit.runs.records import Record, Store, commit, fingerprint_of, source
from rgkit.train.checkpoint import Checkpoint

# The part of a run that is done, and the training loss of the last epoch whose end is known.
State = tuple[float, float | None]
# Yields the state, from that with which it begins up to 1, whenever others may have a turn; returns
# the record or, if it was stopped before its end, None.
Performance = Generator[State, None, Record | None]


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
    deadline : float, optional
        The `time.monotonic()` after which a run is checkpointed and left.
    """

    device: str = "auto"
    step: str = "auto"
    store: Store | None = None
    every: float = 30.0
    deadline: float | None = None

    def late(self) -> bool:
        """Whether the deadline has passed."""
        return self.deadline is not None and time.monotonic() > self.deadline


def performing(
    config: Config, how: How, stop: Callable[[], bool] = lambda: False, place: int = 0
) -> Performance:
    """Perform one config bit by bit; see `Performance`.

    Parameters
    ----------
    stop : asked after each epoch; once it is true the run is checkpointed and left
    place : int
        Runs that share a GPU at the same time each have a place of their own.
    """
    from rgkit.train.device import arithmetic, device_name, pick_device, processor

    if getattr(config, "processes", 1) > 1:
        from torch import distributed

        if not distributed.is_initialized():  # this process is none of those that share the run
            from rgkit.train.ranks import sharing

            shared: Any = config
            return (yield from sharing(shared, how, stop))
    where = pick_device(how.device)
    # What a run costs does not depend on what else keeps the processor busy.
    shared = getattr(config, "processes", 1) > 1
    alone = where.type == "cpu" and not shared
    clock = time.process_time if alone else time.perf_counter
    start = clock()
    commit()  # before the run, so that it names the code that ran
    name, earlier = device_name(how.device), dict[str, Any](seconds=0.0, resumed=0)
    extra: dict[str, Any] = {"processor": processor(where)}
    if isinstance(config, Trained):
        from rgkit.train.loop import Training

        training = Training(config, how.device, how.step)
        way = f"{training.step.name} {name}"
        kept = Checkpoint(how.store, config, how.every, way) if how.store else None
        found = kept.load(training.where) if kept else None
        if found is not None and (found["step"], found["device"]) == (training.step.name, name):
            begun = found.get("arithmetic", config.precision)  # older ones had that of the config
            if begun != training.config.precision:
                training = Training(config, how.device, how.step, begun)
            training.load(found)
            earlier = {"seconds": found["seconds"], "resumed": found["resumed"] + 1}
        outcome = training.outcome
        yield training.epoch / config.epochs, training.loss
        while not training.over:
            training.advance()
            yield (training.epoch + 1) / config.epochs, training.loss
            last = stop() or how.late()
            if kept and not training.over and (kept.due or last):
                spent = earlier["seconds"] + clock() - start
                kept.save(
                    training.state()
                    | {"device": name, "seconds": spent, "resumed": earlier["resumed"]}
                )
            if last and not training.over:
                return None
        extra |= {"step": training.step.name, "arithmetic": training.config.precision}
    else:
        timed: Any = config
        outcome = import_module(config.code).measure(config, how.device)
        extra["arithmetic"] = arithmetic(timed, where)
        yield 1.0, None
    if earlier["resumed"]:
        extra["resumed"] = earlier["resumed"]
    fingerprint = fingerprint_of(config)
    return Record(
        key=config.key(fingerprint),
        config=config,
        fingerprint=fingerprint,
        status=outcome.status,
        diverged_at=outcome.diverged_at,
        epochs=outcome.epochs,
        source=source(name, earlier["seconds"] + clock() - start) | extra,
        samples=outcome.samples,
        along=outcome.along,
    )


def perform(
    config: Config,
    how: How | None = None,
    progress: Callable[[float, float | None], None] = lambda part, loss: None,
    stop: Callable[[], bool] = lambda: False,
) -> Record | None:
    """Run one config and return its record, or None if it was stopped; nothing is stored.

    `progress` is called with the part of the run that is done, between 0 and 1, and the training
    loss of the last epoch that is over, or None.

    >>> from rgkit.runs.kinds import Classification
    >>> tiny = Classification(data="digits", images=64, model="resnet8(2)", epochs=1)
    >>> perform(tiny, How("cpu")).status
    'finished'
    """
    steps = performing(config, how or How(), stop)
    while True:
        try:
            progress(*next(steps))
        except StopIteration as end:
            record: Record | None = end.value
            return record
