"""A kernel manager of Jupyter whose kernel is there already, waiting for its connection file."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any, cast

from jupyter_client.manager import AsyncKernelManager
from jupyter_client.provisioning.local_provisioner import LocalProvisioner


class Child:
    """A forked process, with as much of `subprocess.Popen` as Jupyter uses."""

    stdin = stdout = stderr = None

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def _reap(self, options: int) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, options)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def poll(self) -> int | None:
        """Return the exit status, or None while the process runs."""
        return self._reap(os.WNOHANG)

    def wait(self) -> int | None:
        """Return the exit status when there is one."""
        return self._reap(0)

    def send_signal(self, number: int) -> None:
        """Send a signal to the process unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask the process to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End the process."""
        self.send_signal(signal.SIGKILL)


def manager(pid: int, tell: Callable[[Any], None]) -> type[AsyncKernelManager]:
    """Return a class of kernel managers for one forked process that waits to be a kernel.

    Parameters
    ----------
    pid : int
        The process; it leads a process group.
    tell : callable
        Hands it (arguments, folder, environment) of the kernel that it is to be.
    """

    class WarmProvisioner(LocalProvisioner):
        async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> Any:
            after = cmd.index("ipykernel_launcher") + 1  # python -m ipykernel_launcher -f file
            tell((cmd[after:], kwargs.get("cwd") or os.getcwd(), dict(kwargs["env"])))
            self.process, self.pid, self.pgid = cast(Any, Child(pid)), pid, pid
            self.cwd = kwargs.get("cwd")
            return self.connection_info

    class WarmManager(AsyncKernelManager):
        def __init__(self, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.provisioner = WarmProvisioner(
                kernel_id=str(pid), kernel_spec=self.kernel_spec, parent=self
            )

    return WarmManager
