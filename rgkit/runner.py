"""Train the runs that have no record yet: in this process, or several at once."""

from __future__ import annotations

import multiprocessing
import os
import queue
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from typing import Any

from rgkit.config import Classification, Config
from rgkit.perform import perform
from rgkit.store import Store


def cost(config: Config) -> float:
    """Return the images that a run trains on: what its time is in proportion to."""
    if not isinstance(config, Classification):
        return 1.0
    sizes = {"cifar10": 50_000, "digits": 1_500, "scenes": 5_000}
    return config.epochs * float(config.images or sizes[config.data])


class Estimator:
    """Seconds that a run will take, learned from the records of runs like it."""

    def __init__(self, store: Store) -> None:
        rates: dict[Any, list[float]] = {}
        for record in store:
            if record.status == "finished":
                rates.setdefault(self._kind(record.config), []).append(
                    record.source["seconds"] / cost(record.config)
                )
        self.rates = {kind: statistics.median(values) for kind, values in rates.items()}

    @staticmethod
    def _kind(config: Config) -> Any:
        if isinstance(config, Classification):
            return (config.task, config.model, config.precision, config.data)
        return config.task

    def seconds(self, config: Config) -> float | None:
        """Return the estimate for one core or one GPU, or None where no run like it is recorded."""
        rate = self.rates.get(self._kind(config))
        return None if rate is None else rate * cost(config)


_messages: Any = None


def _start_worker(messages: Any) -> None:
    global _messages
    _messages = messages


def _work(config: Config, device: str, root: str) -> None:
    """Run one config in a worker and write its record at once."""
    done = 0.0

    def progress(part: float) -> None:
        nonlocal done
        _messages.put((part - done) * cost(config))
        done = part

    record = perform(config, device, progress)
    _messages.put((1 - done) * cost(config))
    Store(root).put(record)


def _bar(total: float, label: str, show: bool) -> Any:
    """A progress bar in images with the remaining time; None where there is none to show."""
    if not show:
        return None
    try:
        from tqdm import tqdm  # the text bar: a widget would need a network to be shown in HTML
    except ImportError:
        return None
    form = "{desc}: {percentage:3.0f}% |{bar}| {elapsed} so far, {remaining} to go{postfix}"
    return tqdm(total=total, desc=label, bar_format=form, file=sys.stderr, mininterval=1)


def run_missing(
    configs: Iterable[Config],
    store: Store,
    *,
    device: str = "auto",
    jobs: int | None = None,
    time_limit: float | None = None,
    show: bool = True,
) -> list[Config]:
    """Train every config that has no record; each record is on disk as soon as its run is over.

    Parameters
    ----------
    jobs : int, optional
        Runs at the same time; by default the number of cores on a CPU (a process of one thread
        each) and 1 on a GPU.
    time_limit : float, optional
        Seconds after which no run is started; nor is one that is known not to end in time.

    Returns
    -------
    list of the configs that were not run for want of time
    """
    todo = list({store.path(c): c for c in configs if not store.path(c).is_file()}.values())
    if not todo:
        return []
    from rgkit.train import pick_device

    if jobs is None:
        jobs = 1 if pick_device(device).type == "cuda" else len(os.sched_getaffinity(0))
    started, estimate = time.monotonic(), Estimator(store)

    def fits(config: Config) -> bool:
        if time_limit is None:
            return True
        expected = estimate.seconds(config) or 0.0
        return time.monotonic() - started + expected < time_limit

    bar = _bar(sum(map(cost, todo)), f"{len(todo)} runs", show)
    try:
        if min(jobs, len(todo)) == 1:
            return _run_here(todo, store, device, fits, bar)
        return _run_in_workers(todo, store, device, fits, bar, min(jobs, len(todo)))
    finally:
        if bar is not None:
            bar.close()


def _run_here(
    todo: list[Config], store: Store, device: str, fits: Callable[[Config], bool], bar: Any
) -> list[Config]:
    """Run configs one after the other in this process; return those that did not fit."""
    skipped = []
    for config in todo:
        if not fits(config):
            skipped.append(config)
            continue
        store.put(perform(config, device))
        if bar is not None:
            bar.update(cost(config))
    return skipped


def _run_in_workers(
    todo: list[Config],
    store: Store,
    device: str,
    fits: Callable[[Config], bool],
    bar: Any,
    jobs: int,
) -> list[Config]:
    """Run configs in processes of one thread each; return those that did not fit."""
    skipped: list[Config] = []
    context = multiprocessing.get_context("spawn")
    messages = context.Queue()
    waiting, running = list(todo), dict[Future[None], Config]()
    with ProcessPoolExecutor(jobs, context, _start_worker, (messages,)) as pool:
        try:
            while waiting or running:
                while waiting and len(running) < jobs:
                    config = waiting.pop(0)
                    if fits(config):
                        future = pool.submit(_work, config, device, str(store.root))
                        running[future] = config
                    else:
                        skipped.append(config)
                done, _ = wait(running, timeout=0.2, return_when=FIRST_COMPLETED)
                _drain(messages, bar)
                for future in done:
                    config = running.pop(future)
                    try:
                        future.result()
                    except Exception as error:
                        raise RuntimeError(f"the run {config} failed: {error}") from error
        finally:
            for future in running:
                future.cancel()
            _drain(messages, bar)
    return skipped


def _drain(messages: Any, bar: Any) -> None:
    while True:
        try:
            amount = messages.get_nowait()
        except queue.Empty:
            return
        if bar is not None:
            bar.update(amount)
