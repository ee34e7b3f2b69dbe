"""Train the runs that have no record yet: the one executor.

Torch is imported when there is something to train, and no sooner: records do not need it.
"""

from __future__ import annotations

import contextlib
import functools
import math
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil
from filelock import FileLock, Timeout
from joblib import cpu_count

from rgkit.runs.config import Config, ConfigError, Trained
from rgkit.runs.grid import Grid, in_order
from rgkit.runs.records import Record, Store, StoreError, append, beside
from rgkit.runs.results import Results, collect
from rgkit.train.engines import (
    KILLED,
    Engine,
    Outcome,
    Work,
    engine,
    misplaced,
    one_by_one,
    world_size,
    writes,
)
from rgkit.train.progress import Estimator, Progress

EACH = 10**9  # bytes that a run on all of CIFAR-10 holds, or a notebook, at most
LIMIT = Path("/sys/fs/cgroup/memory.max")  # of a container, where there is one; or "max"


def room() -> int:
    """Return how many runs or notebooks at the same time the cores and the memory here allow.

    The cores are those of this process's affinity and of its container's quota.
    """
    free = psutil.virtual_memory().available
    with contextlib.suppress(OSError, ValueError):
        used = int(LIMIT.with_name("memory.current").read_text("utf-8"))
        free = min(free, int(LIMIT.read_text("utf-8")) - used)
    return int(max(1, min(cpu_count(), free // EACH)))


@dataclass
class Pool:
    """Trains every config that has no record, and knows what became of each.

    Parameters
    ----------
    store : Store
        Each record is in it as soon as its run is over.
    device, step : see `rgkit.train.device.pick_device` and `rgkit.tasks.classification.make_step`
    jobs : int, optional
        Runs at the same time on a CPU, a process of one thread each; by default as many as there is
        `room` for. On a GPU they take turns.
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
    elsewhere : another process is at them

    Examples
    --------
    >>> from rgkit.runs.config import Classification
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
    every: float = 30.0  # a run shorter than that has no checkpoint
    stop: Callable[[], bool] = lambda: False
    show: bool = True
    finished: list[Config] = field(default_factory=list)
    stopped: list[Config] = field(default_factory=list)
    left: list[Config] = field(default_factory=list)
    failed: dict[Config, str] = field(default_factory=dict)
    elsewhere: list[Config] = field(default_factory=list)
    claims: dict[Config, FileLock] = field(default_factory=dict)

    def __post_init__(self) -> None:
        from rgkit.train.device import pick_device
        from rgkit.train.perform import How

        self.deadline = time.monotonic() + self.time_limit
        self.where = pick_device(self.device)
        if self.where.type == "cuda" and world_size() > 1:
            self.where = pick_device(f"cuda:{os.environ['LOCAL_RANK']}")
        self.how = How(str(self.where), self.step, self.store, self.every)

    @functools.cached_property
    def estimate(self) -> Estimator:
        """How long runs take here; it reads every record."""
        return Estimator(self.store, self.how.name, self.how.arithmetic)

    def run(self, configs: Iterable[Config]) -> Pool:
        """Train what has no record, in the order given; return the pool.

        Raises ConfigError, before anything is trained, for a run that so many processes as these
        are not to share.
        """
        from rgkit.train.device import turn

        todo = [c for c in dict.fromkeys(configs) if not self.store.has(c)]
        for config in todo:
            if why := misplaced(config):
                raise ConfigError(why)
        if not todo:
            return self
        for folder in {self.store.path(c).parent for c in todo} if writes() else ():
            try:
                with beside(folder / "trial") as part:
                    part.touch()
            except OSError as error:
                raise StoreError(
                    f"{folder}: no record can be written there ({error.strerror}); "
                    "RGKIT_RESULTS=FOLDER names another place"
                ) from None
        # What is timed runs alone; what is trained can share the machine.
        timed = [c for c in todo if not isinstance(c, Trained)]
        trained = [c for c in todo if c not in timed]
        jobs = 1 if self.where.type == "cuda" else self.jobs or room()
        jobs = max(1, min(jobs, len(trained)))
        if jobs > room() and self.where.type == "cpu":
            print(f"{jobs} at a time, where there is room for {room()}", file=sys.stderr)
        self.progress = Progress(todo, self.estimate, jobs, self.show and writes())
        work = Work(self.how.attempt, self.progress.tell, self.over, jobs)
        several, killed = engine(self.where, jobs), list[Config]()
        ways: list[tuple[Engine, list[Config], Work]] = [
            (one_by_one, timed, work),
            (several, trained, work),
            # Once more, from its checkpoint and alone, so that it is known which run it was.
            (several, killed, replace(work, jobs=1)),
        ]
        with turn(self.where):
            while ways:
                for way, some, its_work in ways:
                    for config, outcome in way(self.waiting(some), its_work):
                        if outcome == KILLED and config not in killed:
                            killed.append(config)
                        else:
                            self._enter(config, outcome)
                killed.clear()
                others, self.elsewhere = self.elsewhere, []
                ways = [(several, others, work), ways[-1]] if others else []
                if others:
                    self.progress.wait(len(others))
                    time.sleep(1)
        return self

    def over(self) -> bool:
        """Whether what is under way is to be checkpointed and left."""
        return self.stop() or time.monotonic() > self.deadline

    def waiting(self, configs: Iterable[Config]) -> Iterator[Config]:
        """Hand out the configs that can end in time, each when it is asked for.

        One that another process is at is put aside, in `elsewhere`.
        """
        for config in configs:
            if self.over() or not self._fits(config):
                self.left.append(config)
                self.progress.drop(config)
            elif not self._claim(config):
                self.elsewhere.append(config)
            elif self.store.has(config):  # another process has been faster
                self._release(config)
                self.progress.drop(config)
            else:
                yield config

    def _claim(self, config: Config) -> bool:
        """Claim a run, or say that another process has; a claim dies with its process.

        Runs that several processes share are not claimed: the others could not wait.
        """
        if world_size() > 1:
            return True
        path = self.store.root / "checkpoints" / f"{self.store.path(config).stem}.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        claim = self.claims.setdefault(config, FileLock(path))
        try:
            claim.acquire(timeout=0)
        except Timeout:
            del self.claims[config]
            return False
        return True

    def _release(self, config: Config) -> None:
        if claim := self.claims.pop(config, None):  # torchrun's other processes have none
            claim.release(force=True)
            Path(claim.lock_file).unlink(missing_ok=True)

    def _fits(self, config: Config) -> bool:
        """Whether a run is known to end in time, or is to be taken up however long it takes.

        That is what was begun and what nothing is known of: it is checkpointed if it is too long.
        """
        expected = self.estimate.seconds(config) or 0.0
        begun = self.how.checkpoint(config).begun
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
        self._release(config)

    def _write(self, record: Record) -> None:
        """Write a record, to the archive too; only then is its checkpoint of no more use.

        Raises OSError where one of the two cannot be written; the record is then in the other, and
        in an archive among the system's temporary files.
        """
        try:
            try:
                if self.out is not None:
                    append(self.out, record)
            finally:
                self.store.put(record)
        except OSError as error:
            rescue = Path(tempfile.gettempdir(), "rgkit-rescued.jsonl")
            append(rescue, record)
            words = f"{error}; the record is in {rescue}, for rgkit results merge"
            raise OSError(words) from error
        self.how.checkpoint(record.config).remove()


def run(
    grid: Grid,
    *,
    device: str = "auto",
    jobs: int | None = None,
    store: Store | None = None,
    show: bool = True,
) -> Results:
    """Return the results of a grid: load what is recorded, train what is missing.

    A grid that is not to train (`Grid.train`) is only loaded. Raises RuntimeError if a run fails.

    Examples
    --------
    >>> from rgkit.runs.config import Classification
    >>> from rgkit.runs.grid import Grid, cross
    >>> tiny = Classification(data="digits", images=64, model="resnet8(2)", epochs=1)
    >>> grid = Grid(cross(tiny, {"arm": ["plain"], "seed": [0]}), "smoke")
    >>> run(grid, device="cpu", store=Store(tempfile.mkdtemp()), show=False).runs.status.tolist()
    ['finished']
    """
    if not isinstance(grid, Grid):
        raise TypeError(f"grid={grid!r} given; a Grid of cells, such as rgkit.cross makes them")
    if grid.profile == "smoke" and store is None:
        # A smoke test trains every time, and its records are no results: they go away.
        with tempfile.TemporaryDirectory(prefix="rgkit-smoke-") as folder:
            return run(grid, device=device, jobs=1, store=Store(folder), show=show)
    store = store or Store()
    missing = {store.path(c.config) for c in grid if not store.has(c.config)}
    if grid.train and missing:
        failed = Pool(store, device, jobs=jobs, show=show).run(in_order([grid])).failed
        for config, error in failed.items():
            raise RuntimeError(f"{len(failed)} runs failed, such as {config.brief()}: {error}")
    found = collect(grid, store)
    if show:
        known = len(grid) - len(missing) if grid.train else len(found.records)
        others = f"{len(missing)} trained now" if grid.train else "the others not measured"
        print(f"{len(grid)} runs: {known} from records, {others}")
    return found
