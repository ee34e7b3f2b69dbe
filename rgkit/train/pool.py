"""Train the runs that have no record yet: one at a time, or several at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

from rgkit.runs import archive
from rgkit.runs.kinds import Config, Trained
from rgkit.runs.records import Record, Store
from rgkit.train.checkpoint import Checkpoint
from rgkit.train.perform import How, Performance, perform, performing
from rgkit.train.progress import Estimator, Progress

Stop = Callable[[], bool]


@dataclass
class Summary:
    """What became of the runs that had no record.

    Attributes
    ----------
    finished : with a record now, the diverged ones among them
    stopped : begun and checkpointed; the same command takes them up again
    left : not begun, because they would not have ended in time
    failed : with what went wrong
    """

    finished: list[Config] = field(default_factory=list)
    stopped: list[Config] = field(default_factory=list)
    left: list[Config] = field(default_factory=list)
    failed: dict[Config, str] = field(default_factory=dict)

    def __add__(self, later: Summary) -> Summary:
        """Join what became of two lists of runs."""
        return Summary(
            self.finished + later.finished,
            self.stopped + later.stopped,
            self.left + later.left,
            self.failed | later.failed,
        )


@dataclass
class Work:
    """What the ways to run share: where records go, and the books that are kept."""

    store: Store
    how: How
    out: Path | None
    stop: Stop
    progress: Progress
    summary: Summary = field(default_factory=Summary)

    def begin(self, waiting: list[Config]) -> Config | None:
        """Take the next config that can end in time; None where there is none."""
        while waiting:
            config = waiting.pop(0)
            if self.store.path(config).is_file():  # another process has been faster
                self.progress.drop(config)
            elif self.stop() or not self._fits(config):
                self.summary.left.append(config)
                self.progress.drop(config)
            else:
                return config
        return None

    def _fits(self, config: Config) -> bool:
        if self.how.deadline is None:
            return True
        # What nothing is known of, and what was begun already, is taken up: it is checkpointed if
        # it lasts too long.
        expected = self.progress.estimate.seconds(config) or 0.0
        if Checkpoint(self.store, config).begun:
            expected = 0.0
        return time.monotonic() + 1.05 * expected < self.how.deadline

    def end(self, config: Config, record: Record | None) -> None:
        """Book a run that has ended, its record on disk by now, or that was stopped."""
        if record is None:
            self.summary.stopped.append(config)
            self.progress.drop(config)
            return
        self.summary.finished.append(config)
        measure = config.measure if isinstance(config, Trained) else ""
        accuracy = record.epochs.get(measure) or [float("nan")]
        spent = f"{record.source['seconds']:.0f} s"
        said = f"{accuracy[-1]:.2f} %" if record.status == "finished" else record.status
        self.progress.end(config, f"{said}, {spent}", whole=record.status == "finished")

    def fail(self, config: Config, error: str) -> None:
        """Book a run that went wrong; the others go on."""
        self.summary.failed[config] = error
        self.progress.end(config, f"FAILED: {error}", whole=False)


def put(record: Record, store: Store, out: Path | None) -> None:
    """Write a record, to the archive too; only then is its checkpoint of no more use."""
    if out is not None:
        archive.append(out, record)
    store.put(record)
    Checkpoint(store, record.config).remove()


def run_missing(
    configs: Iterable[Config],
    store: Store,
    *,
    device: str = "auto",
    step: str = "auto",
    jobs: int | None = None,
    time_limit: float | None = None,
    out: Path | None = None,
    every: float = 30.0,
    stop: Stop = lambda: False,
    show: str = "bar",
) -> Summary:
    """Train every config that has no record; each record is on disk as soon as its run is over.

    Parameters
    ----------
    configs : in the order in which they are to be run
    device, step : see `rgkit.train.device.pick_device` and `rgkit.train.step.make_step`
    jobs : int, optional
        Runs at the same time; by default the number of cores on a CPU (a process of one thread
        each) and 1 on a GPU, where several share one process, a stream each.
    time_limit : float, optional
        Seconds after which no run is started and what is under way is checkpointed; a run that is
        known not to end in time is not started.
    out : Path, optional
        Finished runs are added to this archive, too.
    every : float
        Seconds between checkpoints.
    stop : asked now and then; once it is true, what is under way is checkpointed and left
    show : "bar", "lines" or ""

    Returns
    -------
    Summary; a run that fails is among `failed`, and the others go on

    Examples
    --------
    >>> from rgkit.runs.kinds import Classification
    >>> import tempfile
    >>> tiny = Classification(data="digits", images=64, model="resnet8(2)", epochs=1)
    >>> summary = run_missing([tiny], Store(tempfile.mkdtemp()), device="cpu", show="")
    >>> summary.finished == [tiny]
    True
    """
    todo = list({store.path(c): c for c in configs if not store.path(c).is_file()}.values())
    if not todo:
        return Summary()
    from rgkit.train import processes
    from rgkit.train.device import arithmetic, default_jobs, device_name, pick_device, turn

    where = pick_device(device)
    jobs = jobs or default_jobs(where)
    deadline = None if time_limit is None else time.monotonic() + time_limit
    how = How(device, step, store, every, deadline)
    estimate = Estimator(store, device_name(device), lambda config: arithmetic(config, where))
    work = Work(store, how, out, stop, Progress(todo, estimate, min(jobs, len(todo)), show))
    # What is timed runs alone; what is trained can share the machine.
    alone = [c for c in todo if not isinstance(c, Trained)]
    shared = [c for c in todo if c not in alone]
    try:
        with turn(where):
            _one_by_one(alone, work)
            if where.type == "cuda":
                _in_streams(shared, work, min(jobs, len(shared)))
            elif min(jobs, len(shared)) <= 1:
                _one_by_one(shared, work)
            else:
                processes.run(shared, work, min(jobs, len(shared)))
    finally:
        work.progress.close()
    return work.summary


def _one_by_one(waiting: list[Config], work: Work) -> None:
    """Run configs one after the other in this process."""
    while (config := work.begin(waiting)) is not None:

        def tell(part: float, loss: float | None, config: Config = config) -> None:
            work.progress.tell(config, part, loss)

        try:
            record = perform(config, work.how, tell, work.stop)
        except Exception as error:
            work.fail(config, f"{type(error).__name__}: {error}")
            continue
        if record is not None:
            put(record, work.store, work.out)
        work.end(config, record)


def _in_streams(waiting: list[Config], work: Work, jobs: int) -> None:
    """Run several configs on one GPU in one process, a stream each, an epoch in turn.

    Training one is queued while the others' work is under way, so the GPU is never idle between
    two epochs, and small kernels of several runs could overlap. (On the one GPU where it was timed
    they do not: four or eight runs of a small network take as long, each, as one alone. The host
    is held for the whole epoch while it queues it, it seems because a stream takes only so many
    launches before it makes the host wait. Four processes were no faster than one either.) On a
    CPU it is the same, in turn.
    """
    import torch

    gpu = torch.cuda.is_available() and work.how.device != "cpu"
    streams = [torch.cuda.Stream() if gpu else None for _ in range(jobs)]
    active: dict[int, tuple[Config, Performance]] = {}
    while True:
        for place in range(jobs):
            if place not in active and (config := work.begin(waiting)) is not None:
                active[place] = config, performing(config, work.how, work.stop, place)
        if not active:
            return
        for place, (config, steps) in list(active.items()):
            with torch.cuda.stream(streams[place]) if gpu else nullcontext():
                try:
                    work.progress.tell(config, *next(steps))
                    continue
                except StopIteration as end:
                    if end.value is not None:
                        shared = {"streams": jobs} if jobs > 1 else {}
                        record = replace(end.value, source=end.value.source | shared)
                        put(record, work.store, work.out)
                        work.end(config, record)
                    else:
                        work.end(config, None)
                except Exception as error:
                    work.fail(config, f"{type(error).__name__}: {error}")
            del active[place]
