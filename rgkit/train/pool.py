"""Train the runs that have no record yet, and keep the books: the one executor."""

from __future__ import annotations

import functools
import math
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from rgkit.runs.kinds import Config, ConfigError, Trained
from rgkit.runs.records import Record, Store, append
from rgkit.train.checkpoint import EVERY, Checkpoint, writes
from rgkit.train.device import arithmetic, default_jobs, device_name, pick_device, turn
from rgkit.train.engines import KILLED, Outcome, Stop, Work, engine, one_by_one, world_size
from rgkit.train.perform import How, attempt, misplaced
from rgkit.train.progress import Estimator, Progress


@dataclass
class Pool:
    """Trains every config that has no record, and knows what became of each.

    Parameters
    ----------
    store : Store
        Each record is in it as soon as its run is over.
    device, step : see `rgkit.train.device.pick_device` and `rgkit.train.step.make_step`
    jobs : int, optional
        Runs at the same time on a CPU, a process of one thread each; by default as many as it has
        cores. On a GPU they take turns.
    time_limit : float
        Seconds after which no run is started and what is under way is checkpointed; a run that is
        known not to end in time is not started.
    out : Path, optional
        Finished runs are added to this archive, too.
    every : float
        Seconds between checkpoints.
    stop : asked now and then; once it is true, what is under way is checkpointed and left
    show : bool
        Whether to say on the standard error how it goes.

    Attributes
    ----------
    finished : with a record now, the diverged ones among them
    stopped : begun and checkpointed; the same command takes them up again
    left : not begun, because they would not have ended in time
    failed : with what went wrong; the others go on

    Examples
    --------
    >>> from rgkit.runs.kinds import Classification
    >>> import tempfile
    >>> tiny = Classification(data="digits", images=64, model="resnet8(2)", epochs=1)
    >>> pool = Pool(Store(tempfile.mkdtemp()), device="cpu", show=False)
    >>> pool.run([tiny]).finished == [tiny]
    True
    """

    store: Store
    device: str = "auto"
    step: str = "auto"
    jobs: int | None = None
    time_limit: float = math.inf
    out: Path | None = None
    every: float = EVERY
    stop: Stop = lambda: False
    show: bool = True
    finished: list[Config] = field(default_factory=list)
    stopped: list[Config] = field(default_factory=list)
    left: list[Config] = field(default_factory=list)
    failed: dict[Config, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.deadline = time.monotonic() + self.time_limit
        self.where = pick_device(self.device)
        if self.where.type == "cuda" and world_size() > 1:
            self.where = pick_device(f"cuda:{os.environ['LOCAL_RANK']}")

    def arithmetic(self, config: Trained) -> str:
        """In which arithmetic a run would take place here."""
        return arithmetic(config, self.where)

    @functools.cached_property
    def estimate(self) -> Estimator:
        """How long runs take here; it reads every record."""
        return Estimator(self.store, device_name(str(self.where)), self.arithmetic)

    def run(self, configs: Iterable[Config]) -> Pool:
        """Train what has no record, in the order given; return the pool.

        Raises ConfigError, before anything is trained, for a run that so many processes as these
        are not to share.
        """
        store = self.store
        todo = list({store.path(c): c for c in configs if not store.path(c).is_file()}.values())
        for config in todo:
            if why := misplaced(config, world_size()):
                raise ConfigError(why)
        if not todo:
            return self
        # What is timed runs alone; what is trained can share the machine.
        timed = [c for c in todo if not isinstance(c, Trained)]
        trained = [c for c in todo if isinstance(c, Trained)]
        jobs = 1 if self.where.type == "cuda" else self.jobs or default_jobs(self.where)
        jobs = min(jobs, len(trained))
        self.progress = Progress(todo, self.estimate, max(1, jobs), self.show and writes())
        how = How(str(self.where), self.step, store, self.every)
        work = Work(functools.partial(attempt, how), self.progress.tell, self.over, jobs)
        several, killed = engine(self.where, jobs), []
        with turn(self.where):
            for config, outcome in one_by_one(self.waiting(timed), work):
                self._enter(config, outcome)
            for config, outcome in several(self.waiting(trained), work):
                if outcome == KILLED:
                    killed.append(config)
                else:
                    self._enter(config, outcome)
            # Once more, from its checkpoint and alone, so that it is known which run it was.
            for config, outcome in several(self.waiting(killed), replace(work, jobs=1)):
                self._enter(config, outcome)
        return self

    def over(self) -> bool:
        """Whether what is under way is to be checkpointed and left."""
        return self.stop() or time.monotonic() > self.deadline

    def waiting(self, configs: Iterable[Config]) -> Iterator[Config]:
        """Hand out the configs that can end in time, each when it is asked for."""
        for config in configs:
            if self.store.path(config).is_file():  # another process has been faster
                self.progress.drop(config)
            elif self.over() or not self._fits(config):
                self.left.append(config)
                self.progress.drop(config)
            else:
                yield config

    def _fits(self, config: Config) -> bool:
        """Whether a run is known to end in time, or is to be taken up however long it takes.

        That is what was begun and what nothing is known of: it is checkpointed if it is too long.
        """
        expected = self.estimate.seconds(config) or 0.0
        begun = Checkpoint(self.store, config).begun
        return begun or time.monotonic() + 1.05 * expected < self.deadline

    def _enter(self, config: Config, outcome: Outcome) -> None:
        """Enter what came of a run: a record, what went wrong, or None where it was stopped."""
        if outcome is None:
            self.stopped.append(config)
            self.progress.drop(config)
        elif isinstance(outcome, str):
            self.failed[config] = outcome
            self.progress.end(config, f"FAILED: {outcome}", whole=False)
        else:
            if writes():
                self._write(outcome)
            self.finished.append(config)
            said, whole = outcome.status, outcome.status == "finished"
            if whole and isinstance(config, Trained):
                said = f"{outcome.epochs[config.measure][-1]:.2f} %"
            self.progress.end(config, f"{said}, {outcome.source['seconds']:.0f} s", whole)

    def _write(self, record: Record) -> None:
        """Write a record, to the archive too; only then is its checkpoint of no more use."""
        if self.out is not None:
            append(self.out, record)
        self.store.put(record)
        Checkpoint(self.store, record.config).remove()
