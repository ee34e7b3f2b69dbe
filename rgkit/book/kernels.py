"""Notebooks through papermill: each on a kernel of its own, forked warm where the system can fork.

A fresh kernel spends most of its life importing. So a build starts one process that imports what
the notebooks need and then forks a kernel for each of them, see `rgkit.book.warm`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing.connection import Pipe
from pathlib import Path
from typing import Any

# macOS has fork, but its system libraries do not survive it.
CAN_FORK = hasattr(os, "fork") and sys.platform != "darwin"
START = "import sys; from rgkit.book.warm import serve; serve(int(sys.argv[1]))"


@dataclass(frozen=True)
class Task:
    """A notebook to execute: its page, its path, where the executed copy goes, its parameters."""

    page: str
    path: Path
    output: Path
    parameters: Mapping[str, Any]


def execute(task: Task, manager: type | None = None) -> str:
    """Execute one notebook through papermill; return "" or what failed, with the cell.

    The executed copy is written in either case; a failed one shows where. Without a kernel
    manager papermill starts a fresh kernel.
    """
    import papermill
    from papermill.exceptions import PapermillExecutionError
    from traitlets.config import Config

    task.output.parent.mkdir(parents=True, exist_ok=True)
    # The notebook's last cell says which notebook and parameters it was executed with.
    os.environ["RGKIT_NOTEBOOK"] = task.page
    os.environ["RGKIT_PARAMETERS"] = json.dumps(dict(task.parameters))
    # Runs use one thread anyway, and idle threads that wait in a loop slow down the other kernels.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    try:
        papermill.execute_notebook(
            str(task.path),
            str(task.output),
            dict(task.parameters),
            kernel_name="python3",
            cwd=str(task.path.parent),
            progress_bar=False,
            shutdown_kernel="immediate",  # a graceful one costs a second and has nothing to save
            config=Config(KernelManager={"transport_encryption": "auto"}),  # else kernels warn
            **({"kernel_manager_class": manager} if manager else {}),
        )
    except PapermillExecutionError as error:
        first = next((s for s in error.source.splitlines() if s.strip()), "")
        return f"cell {error.cell_index} (`{first.strip()}`): {error.ename}: {error.evalue}"
    return ""


def no_cell(error: BaseException) -> str:
    """Say what failed where it was no cell: the kernel died or never came up."""
    return f"no cell: {type(error).__name__}: {error}"


def execute_all(
    tasks: Sequence[Task], jobs: int, *, train: bool = False, warm: bool = CAN_FORK
) -> Iterator[tuple[str, str]]:
    """Execute notebooks in parallel; yield each page as it ends, with "" or what failed.

    Parameters
    ----------
    tasks : sequence of Task
        In the order in which they are started; no page twice.
    jobs : int
        Notebooks at the same time.
    train : bool
        Whether warm kernels import torch, too.
    warm : bool
        Whether kernels are forked from one process that has imported everything, or fresh ones.
    """
    if not warm:
        with ProcessPoolExecutor(min(jobs, len(tasks))) as pool:
            futures = {pool.submit(execute, task): task.page for task in tasks}
            for future in as_completed(futures):
                error = future.exception()
                yield futures[future], no_cell(error) if error else future.result()
        return
    ours, theirs = Pipe()
    # The option is that of kernels, whose debugger complains without.
    words = [sys.executable, "-Xfrozen_modules=off", "-c", START, str(theirs.fileno())]
    left = {task.page for task in tasks}
    # A session of its own: Ctrl-C is for the build, whose end is then everybody's.
    with subprocess.Popen(
        words, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()], start_new_session=True
    ):
        theirs.close()
        try:
            ours.send((tasks, jobs, train))
            while left:
                page, message = ours.recv()
                left.remove(page)
                yield page, message
        except (EOFError, OSError):
            for page in sorted(left):
                yield page, "no cell: the process that starts the kernels died"
        finally:
            ours.close()  # at which the server ends, and with it whatever is left below it
