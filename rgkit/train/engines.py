"""Engines, the ways to perform many runs. A new one is a function that `engine` chooses.

Torch is imported where a run is shared by several processes, and no sooner.
"""

from __future__ import annotations

import atexit
import contextlib
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Any

from rgkit.runs.config import Config
from rgkit.runs.records import Record

if TYPE_CHECKING:
    import torch

# What came of a run: its record, in words what went wrong, or None where it was stopped.
Outcome = Record | str | None
FOR_THE_PARENT = (signal.SIGINT, signal.SIGTERM)  # which says so to the others
KILLED = "its process was killed twice, perhaps for want of memory"  # said the second time


@dataclass(frozen=True)
class Work:
    """What an engine does with a config, and how many at a time.

    Attributes
    ----------
    perform : performs a config; it is given `tell` for this config, and `stop`
    tell : is told how much of a config's run is done, from 0 to 1, and the training loss of the
        last epoch, if there is one
    stop : is asked after each epoch; once it says so, what is under way is checkpointed and left
    jobs : int
    """

    perform: Callable[[Config, Callable[[float, float | None], None], Callable[[], bool]], Outcome]
    tell: Callable[[Config, float, float | None], None]
    stop: Callable[[], bool]
    jobs: int = 1


# Takes the next config when it has room for it, performs it, and yields what came of it at once;
# whoever asked for it writes the record.
Engine = Callable[[Iterator[Config], Work], Iterator[tuple[Config, Outcome]]]


def world_size() -> int:
    """Return how many processes torchrun has started to share each run; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", 1))


def misplaced(config: Config) -> str:
    """Say why a run cannot be trained by as many processes as are here; "" where it can.

    >>> from rgkit.runs.config import Classification
    >>> misplaced(Classification())
    ''
    """
    wanted, here = getattr(config, "processes", 1), world_size()
    if wanted == here:
        return ""
    return (
        f"processes={wanted} given, and {here} here to train it; start them with\n  torchrun "
        f"--nproc-per-node {wanted} -m rgkit.cli run --plan --only NOTEBOOK --profile PROFILE "
        f"-p processes={wanted}"
    )


def writes() -> bool:
    """Whether this process is the one that writes: the first of those that torchrun has started."""
    return os.environ.get("RANK", "0") == "0"


def engine(where: torch.device, jobs: int) -> Engine:
    """Return the engine for a device and a number of runs at the same time.

    >>> import torch
    >>> engine(torch.device("cpu"), 2).__name__
    'in_processes'
    """
    if world_size() > 1:
        return partial(by_torchrun, where)
    return in_processes if where.type == "cpu" and jobs > 1 else one_by_one


def one_by_one(configs: Iterator[Config], work: Work) -> Iterator[tuple[Config, Outcome]]:
    """Perform one run after the other in this process."""
    for config in configs:
        yield config, work.perform(config, partial(work.tell, config), work.stop)


def _worker(pipe: Connection) -> None:
    """Perform the runs that come through a pipe, until None does or its other end is closed."""
    for number in FOR_THE_PARENT:
        signal.signal(number, signal.SIG_IGN)

    def tell(part: float, loss: float | None) -> None:
        with contextlib.suppress(OSError):
            pipe.send((part, loss))

    with contextlib.suppress(EOFError, OSError):
        while (task := pipe.recv()) is not None:
            config, perform = task
            pipe.send(perform(config, tell, pipe.poll))  # whatever comes meanwhile says: stop
    os._exit(0)  # at once: to take torch apart takes a second


@contextlib.contextmanager
def _no_main() -> Iterator[None]:
    """See that a new process does not run the main script again: one may have no guard.

    From its first moment it hears none of the signals that are for its parent.
    """
    deaf = getattr(signal, "pthread_sigmask", lambda *given: None)  # not on Windows
    deaf(getattr(signal, "SIG_BLOCK", 0), FOR_THE_PARENT)
    main = vars(sys.modules["__main__"])
    kept: dict[str, Any] = {name: main[name] for name in ("__file__", "__spec__") if name in main}
    main.update(__file__=None, __spec__=None)
    try:
        yield
    finally:
        del main["__file__"]  # a kernel's has none
        main |= kept
        deaf(getattr(signal, "SIG_UNBLOCK", 0), FOR_THE_PARENT)


def in_processes(configs: Iterator[Config], work: Work) -> Iterator[tuple[Config, Outcome]]:
    """Perform several runs at once, each in a process of one thread.

    What came of a run whose process was killed is `KILLED`; it costs no other run. Where this
    process is killed, the others stop as if they were told to.
    """
    context = multiprocessing.get_context("spawn")
    started, stopped = [], False
    free: list[Connection] = []
    busy: dict[Any, Config] = {}  # by the pipe to its process
    try:
        while True:
            while len(busy) < work.jobs and (config := next(configs, None)) is not None:
                if not free:
                    here, there = context.Pipe()
                    started.append(context.Process(target=_worker, args=(there,)))
                    with _no_main():
                        started[-1].start()
                    there.close()  # so that its end is heard here
                    free.append(here)
                pipe = free.pop()
                busy[pipe] = config
                with contextlib.suppress(OSError):  # it was killed, as is heard below
                    pipe.send((config, work.perform))
            if not busy:
                return
            if not stopped and work.stop():
                stopped = True
                for pipe in busy:
                    with contextlib.suppress(OSError):
                        pipe.send(None)
            heard: list[Any] = wait(list(busy), timeout=0.2)
            for pipe in heard:
                try:
                    said = pipe.recv()
                except (EOFError, OSError):
                    yield busy.pop(pipe), KILLED
                    continue
                if isinstance(said, tuple):
                    work.tell(busy[pipe], *said)
                else:
                    free.append(pipe)
                    yield busy.pop(pipe), said
    except KeyboardInterrupt:  # the second one, which is to end it at once
        for process in started:
            process.kill()
        raise
    finally:
        for pipe in [*free, *busy]:
            pipe.close()
        for process in started:
            process.join()


def by_torchrun(
    where: torch.device, configs: Iterator[Config], work: Work
) -> Iterator[tuple[Config, Outcome]]:
    """Perform one run after the other, each in all processes, as the first of them decides.

    Raises RuntimeError where a run goes wrong: torchrun then ends the processes that wait for it.
    """
    from torch import distributed

    if not distributed.is_initialized():  # once: a second group may meet the address of the first
        distributed.init_process_group("nccl" if where.type == "cuda" else "gloo")
        atexit.register(distributed.destroy_process_group)

    def of_first(said: Callable[[], Any]) -> Any:
        word = [said() if writes() else None]
        distributed.broadcast_object_list(word)
        return word[0]

    while (config := of_first(lambda: next(configs, None))) is not None:
        outcome = work.perform(config, partial(work.tell, config), lambda: of_first(work.stop))
        if isinstance(outcome, str):
            raise RuntimeError(outcome)
        yield config, outcome
