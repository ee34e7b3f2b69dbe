"""Notebooks through papermill: each on a kernel of its own, forked warm where the system can fork.

A fresh kernel spends most of its life importing. So a build starts one server process, which
imports what the notebooks need and then forks, for every notebook, a worker that runs papermill
and the kernel that it talks to. Every process ends with its parent, whatever ended that.
"""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from typing import Any, cast

# macOS has fork, but its system libraries do not survive it.
CAN_FORK = hasattr(os, "fork") and sys.platform != "darwin"
IMPORTS = (
    "papermill", "ipykernel.kernelapp", "ipykernel.debugger", "IPython.core.pylabtools", "yaml",
    "matplotlib.backends.backend_agg", "contourpy", "pandas.io.formats.html",
    "rgkit.models.names", "rgkit.plots", "rgkit.profiles", "rgkit.quadratic_plots", "rgkit.report",
    "rgkit.stats",
)  # fmt: skip
TRAINING_IMPORTS = ("rgkit.train", "rgkit.timing")  # with torch, which records do not need
START = "import sys; from rgkit.kernels import serve; serve(int(sys.argv[1]))"


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


def _no_cell(error: BaseException) -> str:
    """Say what failed where it was no cell: the kernel died or never came up."""
    return f"no cell: {type(error).__name__}: {error}"


def execute_all(
    tasks: Sequence[Task], jobs: int, *, train: bool = False, warm: bool = CAN_FORK
) -> Iterator[tuple[str, str]]:
    """Execute notebooks in parallel; yield each page as it ends, with "" or what failed.

    Parameters
    ----------
    tasks : sequence of Task
        In the order in which they are started.
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
                yield futures[future], _no_cell(error) if error else future.result()
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


# --- the processes below the build ----------------------------------------------------------


def _fork(body: Callable[[], None]) -> int:
    """Run a function in a new process, which leads a session, and return its process id."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        os.setsid()
        body()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)  # nothing of the parent's is finished here a second time


def _end_with(parent: int) -> None:
    """Watch a parent; when it is gone, kill this process and those it started."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.2)
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


def warm_up(modules: Sequence[str]) -> None:
    """Import modules, and draw a figure that nobody sees, which finds the fonts."""
    sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]  # see `rgkit.book.WAITING`
    for name in modules:
        import_module(name)
    del sys.modules["rfc3987_syntax"]
    from matplotlib.figure import Figure

    figure = Figure()  # not one of pyplot's, whose state it would change
    figure.subplots().set(title="title", xlabel="$10^{1}$")
    figure.savefig(io.BytesIO(), format="png")


def serve(channel: int) -> None:
    """Import what notebooks need, then execute tasks in forked workers; end with the build.

    This process has one thread, no event loop and no sockets of ZeroMQ, which no fork survives.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    # Chosen when matplotlib is imported, which is before ipykernel could choose it. The backend
    # itself is not imported here: it looks for the shell that it shows figures in, once.
    inline = "module://matplotlib_inline.backend_inline"
    os.environ["MPLBACKEND"] = os.environ.get("MPLBACKEND") or inline
    sys.path[:] = [place for place in sys.path if place]  # kernels add their own folder
    build, me = Connection(channel), os.getpid()
    tasks, jobs, train = build.recv()
    warm_up((*IMPORTS, *(TRAINING_IMPORTS if train else ())))
    waiting, running = list(tasks), dict[Connection, tuple[Task, int]]()
    while True:
        while waiting and len(running) < jobs:
            task = waiting.pop(0)
            result, sender = Pipe(duplex=False)
            pid = _fork(partial(_work, task, sender, me))
            sender.close()
            running[result] = task, pid
        for ready in cast(list[Connection], wait([build, *running])):
            if ready is build:
                return  # the build has all it wanted, or is gone
            task, pid = running.pop(ready)
            try:
                message = ready.recv()
            except EOFError:
                message = "no cell: the process that runs papermill died"
            os.waitpid(pid, 0)
            build.send((task.page, message))


def _work(task: Task, result: Connection, parent: int) -> None:
    """Execute one notebook on a kernel that is forked before any thread is started here."""
    reader, writer = Pipe(duplex=False)
    me = os.getpid()
    kernel = _fork(partial(_kernel, reader, me))
    _end_with(parent)
    from rgkit.provisioner import manager

    try:
        message = execute(task, manager(kernel, writer.send))
    except Exception as error:
        message = _no_cell(error)
    result.send(message)


def _kernel(reader: Connection, parent: int) -> None:
    """Wait for a connection file; then be the kernel."""
    _end_with(parent)
    arguments, folder, environment = reader.recv()
    import numpy as np
    from ipykernel.kernelapp import IPKernelApp

    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    np.random.seed()  # noqa: NPY002  as every fresh process; else all draw the same numbers
    sys.argv = ["ipykernel_launcher", *arguments]
    arguments += [f"--IPKernelApp.parent_handle={parent}"]  # else it prints how to connect to it
    IPKernelApp.launch_instance(arguments)
