"""Train the runs that have no record yet, and say how far it is: the one executor.

Torch is imported when there is something to train, and no sooner: records do not need it.
"""

from __future__ import annotations

import functools
import math
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from filelock import FileLock, Timeout

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
    one_by_one,
    world_size,
    writes,
)

PAUSE = 60.0  # seconds between two lines while nothing ends
# How many times as long float32 takes on a CPU without AVX-512 as bfloat16 on one with it, for
# resnet8(16): 123 and 56 ms for 128 images, the first with ONEDNN_MAX_CPU_ISA=AVX2 on one machine.
FLOAT32 = 2.2
# Of each arithmetic the other, and how many times as long it takes itself.
OTHERS = {"float32": ("bfloat16", FLOAT32), "bfloat16": ("float32", 1 / FLOAT32)}


def cost(config: Config) -> float:
    """Return the images that a run trains on, and a third of those it is measured on.

    A training step is three passes over the network, a test is one: a run's time is in proportion.
    """
    if not isinstance(config, Trained):
        return 1.0
    measured = config.source.sizes[1] + config.validation
    return config.epochs * (config.trained_on + measured / 3)


def clock(seconds: float | None) -> str:
    """Return seconds as a person would say them.

    >>> clock(42), clock(3000), clock(9000), clock(None)
    ('42 s', '50 min', '2.5 h', '?')
    """
    if seconds is None:
        return "?"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


class Estimator:
    """Seconds that a run will take, learned from the records of runs like it.

    Parameters
    ----------
    records : of any kind
    device : str, optional
        Learn from the records of this device alone.
    here : in which arithmetic a run would take place; by default in its config's
        Where no record of that arithmetic is known, those of the other are the next best.
    """

    def __init__(
        self,
        records: Iterable[Record],
        device: str | None = None,
        here: Callable[[Trained], str] = lambda config: config.precision,
    ) -> None:
        self.here = here
        rates: dict[tuple[str, ...], list[float]] = {}
        for record in records:
            if record.status == "finished" and device in (None, record.source.get("device")):
                rate = record.source["seconds"] / cost(record.config)
                rates.setdefault(self.kind(record.config, record.arithmetic), []).append(rate)
        self.rates = {kind: statistics.median(values) for kind, values in rates.items()}
        self.live: dict[tuple[str, ...], tuple[float, float]] = {}

    def kind(self, config: Config, arithmetic: str = "") -> tuple[str, ...]:
        """Return what runs of one speed have in common, the arithmetic at the end."""
        if isinstance(config, Trained):
            return (config.task, config.model, config.data, arithmetic or self.here(config))
        return (config.task, getattr(config, "model", ""))

    def learn(self, config: Config, part: float, seconds: float) -> None:
        """Take in that `part` of a run has just taken so many seconds; this outweighs records."""
        kind = self.kind(config)
        work, spent = self.live.get(kind, (0.0, 0.0))
        work, spent = self.live[kind] = (work + part * cost(config), spent + seconds)
        self.rates[kind] = spent / work

    def seconds(self, config: Config) -> float | None:
        """Return the estimate for one core or one GPU, or None where no run like it is known."""
        *alike, used = kind = self.kind(config)
        other, times = OTHERS.get(used, ("", 1.0))
        for known, factor in ((kind, 1.0), ((*alike, other), times)):
            if known in self.rates:
                return factor * self.rates[known] * cost(config)
        return None


class Progress:
    """What is done, what is under way and how long the rest will take, on the standard error.

    A line at the start, one for each run that ends, and one a minute.

    Parameters
    ----------
    todo : the configs to be run
    estimate : Estimator
    jobs : int
        Runs at the same time.
    show : bool
        Whether anything is printed.
    """

    def __init__(
        self, todo: list[Config], estimate: Estimator, jobs: int = 1, show: bool = False
    ) -> None:
        self.estimate, self.jobs, self.show = estimate, jobs, show
        self.parts: dict[Config, float] = dict.fromkeys(todo, 0.0)
        self.heard: dict[Config, float] = {}  # when a run last said how far it is
        self.ended, self.spoke, self.waits = 0, 0.0, False
        data = ", ".join(sorted({c.data for c in todo if isinstance(c, Trained)}) or ["no data"])
        self._say(f"{len(todo)} runs on {data}, {jobs} at a time")

    def _say(self, text: str) -> None:
        self.spoke = time.monotonic()
        if self.show:
            print(f"{text}; {self.left()}", file=sys.stderr, flush=True)

    def _hear(self, config: Config, part: float) -> None:
        """Learn from how far a run is; its first word says only where it began."""
        now, more = time.monotonic(), part - self.parts[config]
        if config in self.heard and more > 0:
            self.estimate.learn(config, more, now - self.heard[config])
        self.heard[config], self.parts[config] = now, part

    def tell(self, config: Config, part: float, loss: float | None = None) -> None:
        """So much of a run is done, with this training loss; the first call says how it began."""
        self._hear(config, part)
        if self.heard[config] - self.spoke > PAUSE:
            done = sum(cost(c) * p for c, p in self.parts.items()) / sum(map(cost, self.parts))
            latest = "" if loss is None else f"; latest loss {loss:.3g}"
            self._say(f"{100 * done:.0f} % of {len(self.parts)} runs{latest}")

    def end(self, config: Config, how: str, whole: bool = True) -> None:
        """A run has ended; `how` says in what way.

        One that diverged or failed was not run as a whole: its speed teaches nothing.
        """
        if not whole:
            self.heard.pop(config, None)
        self._hear(config, 1.0)
        self.ended += 1
        self._say(f"[{self.ended}/{len(self.parts)}] {config.brief()}: {how}")

    def drop(self, config: Config) -> None:
        """A run will not be taken up."""
        del self.parts[config]

    def wait(self, runs: int) -> None:
        """Nothing is left but so many runs that another process is at."""
        if time.monotonic() - self.spoke > PAUSE or not self.waits:
            self.waits = True
            self._say(f"{runs} runs are another process's, waiting for them")

    def remaining(self) -> tuple[float, int]:
        """Return the seconds until the runs of known kinds are done, and how many are of others."""
        left = {c: self.estimate.seconds(c) for c, part in self.parts.items() if part < 1.0}
        known = [(1 - self.parts[c]) * whole for c, whole in left.items() if whole is not None]
        return max(sum(known) / self.jobs, *known, 0.0), len(left) - len(known)

    def left(self) -> str:
        """Return what is left in words; runs of a kind that was never timed are only counted."""
        seconds, unknown = self.remaining()
        if not unknown:
            return f"about {clock(seconds)} to go"
        known = f"about {clock(seconds)} and " if seconds else ""
        return f"{known}{unknown} run{'s' * (unknown > 1)} of a speed not known yet to go"


@dataclass
class Pool:
    """Trains every config that has no record, and knows what became of each.

    Parameters
    ----------
    store : Store
        Each record is in it as soon as its run is over.
    device, step : see `rgkit.train.device.pick_device` and `rgkit.tasks.classification.make_step`
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
        from rgkit.train.device import cores, turn
        from rgkit.train.perform import misplaced

        todo = [c for c in dict.fromkeys(configs) if not self.store.has(c)]
        for config in todo:
            if why := misplaced(config, world_size()):
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
        jobs = 1 if self.where.type == "cuda" else self.jobs or cores()
        jobs = max(1, min(jobs, len(trained)))
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
        """Claim a run, or say that another process has; a claim dies with its process."""
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
        claim = self.claims.pop(config)
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
