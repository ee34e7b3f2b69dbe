"""Where a run takes place, and what must be fixed there so that it can be repeated."""

from __future__ import annotations

import contextlib
import functools
import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch

# Weights are kept in these; bfloat16 is autocast around the forward pass.
DTYPES = {"float32": torch.float32, "bfloat16": torch.float32, "float64": torch.float64}


def pick_device(name: str = "auto") -> torch.device:
    """Return the device of that name; ``auto`` is the GPU if there is one.

    >>> pick_device("cpu")
    device(type='cpu')
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    wrong = f"device={name!r} given; it is auto, cpu, cuda or cuda:N"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(wrong) from None
    if device.type not in ("cpu", "cuda"):
        raise ValueError(wrong)
    if device.type == "cuda":
        found = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= found:
            here = f"{found} GPUs, counted from 0" if found else "no GPU; use auto or cpu"
            raise ValueError(f"device={name!r} given, but torch sees {here}")
        if device.index is not None:
            torch.cuda.set_device(device)  # streams and captures are made on the current one
    return device


def cores() -> int:
    """Return the number of cores that this process may use."""
    allowed = getattr(os, "sched_getaffinity", None)  # not on every system
    return len(allowed(0)) if allowed else os.cpu_count() or 1


def default_jobs(where: torch.device) -> int:
    """Return how many runs at a time are best: a core each on a CPU, one on a GPU."""
    return 1 if where.type == "cuda" else cores()


@functools.cache
def device_name(device: str = "auto") -> str:
    """Return the device in words, a GPU by its own name or ``x86_64 CPU, one thread``."""
    where = pick_device(device)
    if where.type == "cuda":
        return torch.cuda.get_device_name(where)
    return f"{platform.machine()} CPU, one thread"


@contextlib.contextmanager
def reproducible(seed: int) -> Iterator[None]:
    """On a CPU the same config gives the same numbers, whatever ran before; all is set back after.

    A CPU run uses one thread: the order of additions is then fixed, and two runs of one thread
    each are faster than one run of two.
    """
    threads, cudnn = torch.get_num_threads(), torch.backends.cudnn
    flags = cudnn.deterministic, cudnn.benchmark
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=list(devices)):
        torch.manual_seed(seed)
        torch.set_num_threads(1)
        cudnn.deterministic, cudnn.benchmark = True, False
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            cudnn.deterministic, cudnn.benchmark = flags


@contextlib.contextmanager
def turn(device: torch.device) -> Iterator[None]:
    """Wait until no other process of this user trains on the GPU; a CPU needs no turns.

    Notebooks execute side by side; two that train on one GPU would share its memory and spoil each
    other's seconds.
    """
    if device.type != "cuda":
        yield
        return
    import fcntl  # late: where there is no fcntl (Windows) a CPU run still works

    path = Path(tempfile.gettempdir(), f"rgkit-gpu-{os.getuid()}-{_which(device)}.lock")
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("waiting for another process that trains on this GPU", file=sys.stderr)
            fcntl.flock(file, fcntl.LOCK_EX)  # given back when the file is closed, come what may
        yield


def _which(device: torch.device) -> str:
    """Name a GPU, whatever number it has in this process: CUDA_VISIBLE_DEVICES renumbers them."""
    if not torch.cuda.is_available():
        return str(device.index or 0)
    index = torch.cuda.current_device() if device.index is None else device.index
    return str(getattr(torch.cuda.get_device_properties(index), "uuid", index))
