"""Warm kernels: this process imports once, then forks a kernel for every notebook.

Beside each kernel it forks a worker, which runs papermill and talks to the kernel. Every process
ends with its parent, whatever ended that; so when the build is gone, all of them are.
"""

from __future__ import annotations

import contextlib
import gc
import io
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from multiprocessing.connection import Connection, Pipe, wait
from typing import cast

from rgkit.book.kernels import Task, execute, no_cell

IMPORTS = (
    "papermill", "ipykernel.kernelapp", "ipykernel.debugger", "IPython.core.pylabtools", "yaml",
    "matplotlib.backends.backend_agg", "contourpy", "pandas.io.formats.html",
    "rgkit.stats.compare", "rgkit.book.describe", "rgkit.models.names", "rgkit.runs.profiles",
    "rgkit.chapters.quadratic_plots", "rgkit.figures.plots", "rgkit.book.report",
    "rgkit.stats.tuning",
)  # fmt: skip
TRAINING_IMPORTS = (
    "rgkit.train.loop",
    "rgkit.train.pool",
    "rgkit.tasks.classification",
)  # with torch, which records do not need


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
    """Import modules, and draw once, which takes longest the first time."""
    gc.disable()
    # A grammar that jsonschema takes a second to import, and that nothing here checks.
    sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]
    for name in modules:
        with contextlib.suppress(ImportError):  # whoever needs it will say so
            import_module(name)
    del sys.modules["rfc3987_syntax"]
    _draw()
    gc.collect()
    gc.freeze()  # all this stays: kernels need neither search it nor copy it by searching
    gc.enable()


def _draw() -> None:
    """Draw a figure in the book's style that nobody sees: matplotlib keeps fonts and glyphs."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context():
        with contextlib.suppress(ImportError):
            import_module("rgkit.figures.plots").use_style()
        figure = Figure(layout="constrained")  # not one of pyplot's, whose state it would change
        axes = figure.subplots(1, 2)
        for place in axes:
            place.plot([1e-3, 1e3], [0, 1], "o-", label="label")
            place.set(title="title", xlabel="$10^{1}$", ylabel="label", xscale="log")
            place.legend(title="title")
        figure.savefig(io.BytesIO(), format="png", dpi=200)


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
    from rgkit.book.provisioner import manager

    try:
        message = execute(task, manager(kernel, writer.send))
    except Exception as error:
        message = no_cell(error)
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
    # With a parent it does not print how to connect to it. It is not to watch this one (as it would
    # any but 1): it might notice the end first and leave without those it started.
    arguments += ["--IPKernelApp.parent_handle=1"]
    IPKernelApp.launch_instance(arguments)
