"""Several runs at once on a CPU: processes of one thread each, fed from one queue."""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import threading
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait as wait_for
from pathlib import Path
from typing import Any

from rgkit.runs.kinds import Config
from rgkit.runs.records import Record
from rgkit.train.perform import How, perform
from rgkit.train.pool import Work, put
from rgkit.train.progress import Progress

# Of a worker: where it reports how far its run is, and whether it is to stop.
_messages: Any = None
_stopped: Any = None


def end_with_parent() -> None:
    """Make this worker end when its parent does, whatever ended that."""
    parent = multiprocessing.parent_process()

    def follow() -> None:
        if parent is not None:
            wait_for([parent.sentinel])
            os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def _start_worker(messages: Any, stopped: Any) -> None:
    """Prepare a worker, which leaves Ctrl-C to its parent."""
    global _messages, _stopped
    _messages, _stopped = messages, stopped
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()


def _run_one(config: Config, how: How, out: Path | None) -> Record | None:
    """Run one config in a worker and write its record at once."""
    record = perform(
        config,
        how,
        lambda *state: _messages.put((config, *state)),
        lambda: bool(_stopped.is_set()),
    )
    if record is not None and how.store is not None:
        put(record, how.store, out)
    return record


def run(waiting: list[Config], work: Work, jobs: int) -> None:
    """Run configs in `jobs` processes.

    A process that is killed takes its pool with it and nothing else: what was under way is taken up
    again from its checkpoint, once and alone, so that it is known which run it was.
    """
    while waiting:
        for config in _in_pool(waiting, work, jobs):
            if _in_pool([config], work, 1):
                work.fail(config, "its process was killed twice, perhaps for want of memory")


def _in_pool(waiting: list[Config], work: Work, jobs: int) -> list[Config]:
    """Run configs in a pool until nothing waits or it breaks; return what that interrupted."""
    context = multiprocessing.get_context("spawn")
    messages, stopped = context.Queue(), context.Event()
    with ProcessPoolExecutor(jobs, context, _start_worker, (messages, stopped)) as pool:
        try:
            return _drive(pool, waiting, work, jobs, messages, stopped)
        except BaseException:
            stopped.set()
            raise


def _drive(
    pool: ProcessPoolExecutor,
    waiting: list[Config],
    work: Work,
    jobs: int,
    messages: Any,
    stopped: Any,
) -> list[Config]:
    """Feed a pool until nothing waits or it breaks; return what was under way when it broke."""
    running: dict[Future[Record | None], Config] = {}
    lost: list[Config] = []
    broken = False
    while True:
        while not broken and len(running) < jobs and (config := work.begin(waiting)) is not None:
            try:
                running[pool.submit(_run_one, config, work.how, work.out)] = config
            except BrokenProcessPool:
                waiting.insert(0, config)
                broken = True
        if not running:
            return lost
        done, _ = wait(running, timeout=0.2, return_when=FIRST_COMPLETED)
        _drain(messages, work.progress)
        if work.stop():
            stopped.set()
        for future in done:
            config = running.pop(future)
            try:
                work.end(config, future.result())
            except BrokenProcessPool:
                lost.append(config)
                broken = True
            except Exception as error:
                work.fail(config, f"{type(error).__name__}: {error}")


def _drain(messages: Any, progress: Progress) -> None:
    """Hand on what the workers have reported."""
    while True:
        try:
            config, *state = messages.get_nowait()
        except queue.Empty:
            return
        if config in progress.parts:
            progress.tell(config, *state)
