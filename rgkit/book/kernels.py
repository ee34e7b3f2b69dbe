"""Notebooks through papermill: each on a kernel of its own, forked warm where the system can fork.

A fresh kernel spends most of its life importing. So multiprocessing's fork server imports once what
the notebooks need (`rgkit.book.warm`). For each notebook it forks a worker, which runs papermill,
and that forks the kernel it talks to. Worker, kernel and whatever a kernel starts are one process
group: it is killed when the worker ends, and when the build is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, cast

# macOS has fork, but its system libraries do not survive it.
CAN_FORK = hasattr(os, "fork") and sys.platform != "darwin"
WITH_TORCH = ("rgkit.train.execute", "rgkit.tasks.classification")  # which records do not need


@dataclass(frozen=True)
class Task:
    """A notebook to execute: its page, its path, where the executed copy goes, its parameters."""

    page: str
    path: Path
    output: Path
    parameters: Mapping[str, Any]
    cell_timeout: int = 86_400  # seconds, for one cell

    @property
    def stamp(self) -> Path:
        """The file that says what the page was made of."""
        return self.output.with_suffix(".inputs.json")


def execute(task: Task, manager: type | None = None) -> str:
    """Execute one notebook through papermill; return "" or what failed, with the cell.

    The executed copy is written in either case; a failed one shows where. Without a kernel
    manager papermill starts a fresh kernel.
    """
    import papermill
    from nbclient.exceptions import CellTimeoutError, DeadKernelError
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
            execution_timeout=task.cell_timeout,
            shutdown_kernel="immediate",  # a graceful one costs a second and has nothing to save
            config=Config(KernelManager={"transport_encryption": "auto"}),  # else kernels warn
            **({"kernel_manager_class": manager} if manager else {}),
        )
    except CellTimeoutError as error:
        cell = str(error).partition("-------------------\n")[2].partition("\n")[0]
        return f"cell `{cell}`: it ran for more than {task.cell_timeout} s, see --cell-timeout"
    except DeadKernelError:
        return (
            "its kernel died, perhaps for want of memory; what was trained is recorded: run again"
        )
    except PapermillExecutionError as error:
        first = next((s for s in error.source.splitlines() if s.strip()), "")
        return f"cell {error.cell_index} (`{first.strip()}`): {error.ename}: {error.evalue}"
    except Exception as error:  # the kernel died or never came up
        return f"no cell: {type(error).__name__}: {error}"
    return ""


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
    waiting, running = list(tasks), dict[Connection, tuple[Task, BaseProcess]]()
    context: Any = multiprocessing.get_context("forkserver" if warm else "spawn")
    if warm:
        context.set_forkserver_preload(["rgkit.book.warm", *(WITH_TORCH if train else ())])
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                task = waiting.pop(0)
                result, sender = Pipe(duplex=False)
                words = (task, sender, warm, dict(os.environ))
                worker = context.Process(target=_work, args=words)
                worker.start()
                sender.close()  # so that the end of the worker's is seen here
                running[result] = task, worker
            for ready in cast(list[Connection], wait(list(running))):
                task, ended = running.pop(ready)
                try:
                    message = ready.recv()
                except EOFError:
                    message = "no cell: the process that runs papermill died"
                _end(ended)
                yield task.page, message
    finally:
        for _, left in running.values():
            _end(left)


def _end(worker: BaseProcess) -> None:
    """Kill a worker and what is left of its process group."""
    worker.kill()
    if CAN_FORK:
        with contextlib.suppress(ProcessLookupError):  # nothing is left, or it was a fresh kernel's
            os.killpg(cast(int, worker.pid), signal.SIGKILL)
    worker.join()


# --- a worker and its kernel ------------------------------------------------------------------


def _work(task: Task, result: Connection, warm: bool, environment: dict[str, str]) -> None:
    """Execute one notebook; a warm kernel is forked before any thread is started here."""
    manager = None
    if warm:
        os.setsid()  # Ctrl-C is for the build, whose end is then everybody's
        os.environ.update(environment)  # the server may be older
        gc.freeze()  # what is imported stays: kernels need neither search nor copy it
        reader, writer = Pipe(duplex=False)
        kernel = multiprocessing.get_context("fork").Process(target=_kernel, args=(reader, result))
        kernel.start()
        manager = _manager(kernel, writer)
        threading.Thread(target=_end_with_the_build, daemon=True).start()
    result.send(execute(task, manager))


def _end_with_the_build() -> None:
    """Kill this process group once the build is gone."""
    cast(BaseProcess, multiprocessing.parent_process()).join()
    os.killpg(0, signal.SIGKILL)


def _kernel(reader: Connection, result: Connection) -> None:
    """Wait for a connection file; then be the kernel."""
    result.close()  # the worker's: its end is to be seen although this process lives
    arguments, folder, environment = reader.recv()
    import numpy as np
    from ipykernel.kernelapp import IPKernelApp

    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    # As in every fresh process: the first of its kind, with random numbers of its own.
    multiprocessing.current_process().name = "MainProcess"
    multiprocessing.process._parent_process = None  # type: ignore[attr-defined]
    np.random.seed()  # noqa: NPY002
    sys.argv = ["ipykernel_launcher", *arguments]
    # With a parent it does not print how to connect to it. It is not to watch this one (as it would
    # any but 1): it might notice the end first and leave without those it started.
    IPKernelApp.launch_instance([*arguments, "--IPKernelApp.parent_handle=1"])


def _manager(kernel: BaseProcess, writer: Connection) -> type:
    """Return a class of Jupyter's kernel managers for one process that waits to be a kernel."""
    from jupyter_client.manager import AsyncKernelManager
    from jupyter_client.provisioning.local_provisioner import LocalProvisioner

    class Provisioner(LocalProvisioner):
        async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> Any:
            after = cmd.index("ipykernel_launcher") + 1  # python -m ipykernel_launcher -f file
            writer.send((cmd[after:], kwargs.get("cwd") or os.getcwd(), dict(kwargs["env"])))
            self.process = cast(Any, kernel)
            return self.connection_info

        async def poll(self) -> int | None:
            return kernel.exitcode

        async def wait(self) -> int | None:
            while kernel.exitcode is None:
                await asyncio.sleep(0.01)
            self.process = None
            return kernel.exitcode

        async def send_signal(self, signum: int) -> None:
            if kernel.exitcode is None:
                os.kill(cast(int, kernel.pid), signum)

    class Manager(AsyncKernelManager):
        def __init__(self, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.provisioner = Provisioner(
                kernel_id=str(kernel.pid), kernel_spec=self.kernel_spec, parent=self
            )

    return Manager
