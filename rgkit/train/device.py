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
from typing import Protocol

import torch
from filelock import FileLock, Timeout

from rgkit.method.spec import Spec
from rgkit.models.names import model

# Weights are kept in these; bfloat16 is autocast around the forward pass.
DTYPES = {"float32": torch.float32, "bfloat16": torch.float32, "float64": torch.float64}

# What an x86 processor can do, the least first, and by which of torch.cpu's functions it is known.
CAN = {
    "SSE4.1": "", "AVX": "", "AVX2": "_is_avx2_supported", "AVX-512": "_is_avx512_supported",
    "AVX-512 BF16": "_is_avx512_bf16_supported", "AMX": "_is_amx_tile_supported",
}  # fmt: skip
# The values of $ONEDNN_MAX_CPU_ISA that limit it to less than AMX.
LIMITS = {
    "SSE41": "SSE4.1", "AVX": "AVX", "AVX2": "AVX2", "AVX2_VNNI": "AVX2", "AVX2_VNNI_2": "AVX2",
    "AVX512_CORE": "AVX-512", "AVX512_CORE_VNNI": "AVX-512", "AVX512_CORE_BF16": "AVX-512 BF16",
    "AVX512_CORE_FP16": "AVX-512 BF16", "AVX10_1_512": "AVX-512 BF16",
}  # fmt: skip
# Families of networks whose step takes longer in bfloat16 even on a CPU that multiplies it: their
# depthwise convolutions, 1.35 and 1.15 times as long as in float32 with AVX-512 BF16 (one thread,
# torch 2.13). The other families took 0.46 to 1.03 times as long. `make bench` measures some.
SLOWER = ("small_mobilenetv2", "mobilenetv2")


class Rounded(Protocol):
    """A run of a network whose numbers have a precision."""

    @property
    def precision(self) -> str:
        """At least so precise."""

    def network(self) -> Spec:
        """Return the network."""


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


@functools.cache
def device_name(device: str = "auto") -> str:
    """Return the device in words, a GPU by its own name or ``x86_64 CPU, one thread``."""
    where = pick_device(device)
    on_gpu = where.type == "cuda"
    return torch.cuda.get_device_name(where) if on_gpu else f"{platform.machine()} CPU, one thread"


def processor(where: torch.device) -> str:
    """Return what kind of processor oneDNN may use, or a GPU's capability; "" is not known.

    >>> processor(torch.device("cpu")) in [*CAN, ""]
    True
    """
    if where.type == "cuda":
        return "capability {}.{}".format(*torch.cuda.get_device_capability(where))
    can = ["", *(kind for kind, asks in CAN.items() if getattr(torch.cpu, asks, lambda: False)())]
    limit = LIMITS.get(os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper(), can[-1])
    return min(can[-1], limit, key=["", *CAN].index)


def arithmetic(config: Rounded, where: torch.device) -> str:
    """Return in which arithmetic a run takes place: the fastest of at least its precision.

    bfloat16 where the device multiplies it and the network gains by it, else float32: a processor
    that has to emulate it takes 9 to 23 times as long. Branches, copies and wider forms of a
    network follow it, so that the arms of a seed are alike.

    >>> from rgkit.runs.config import Classification
    >>> arithmetic(Classification(precision="float64"), torch.device("cpu"))
    'float64'
    """
    if config.precision != "bfloat16":
        return config.precision
    if where.type == "cuda":
        return "bfloat16" if torch.cuda.get_device_capability(where) >= (8, 0) else "float32"
    network = config.network()
    base = getattr(network, "base", "")
    family = model(base).name if base else network.name
    fast = processor(where) in ("AVX-512 BF16", "AMX") and family not in SLOWER
    return "bfloat16" if fast else "float32"


@contextlib.contextmanager
def reproducible(seed: int) -> Iterator[None]:
    """On a CPU the same config gives the same numbers, whatever ran before; all is set back after.

    A CPU run uses one thread: the order of additions is then fixed, and two runs of one thread
    each are faster than one run of two.
    """
    threads = torch.get_num_threads()
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=list(devices)), chosen_algorithms(fastest=False):
        torch.manual_seed(seed)
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)


@contextlib.contextmanager
def chosen_algorithms(fastest: bool) -> Iterator[None]:
    """Let cuDNN take what it measures to be fastest, or else what can be repeated; set back after.

    >>> with chosen_algorithms(fastest=True):
    ...     torch.backends.cudnn.benchmark
    True
    """
    cudnn = torch.backends.cudnn
    before = cudnn.deterministic, cudnn.benchmark
    cudnn.deterministic, cudnn.benchmark = not fastest, fastest
    try:
        yield
    finally:
        cudnn.deterministic, cudnn.benchmark = before


@contextlib.contextmanager
def turn(device: torch.device) -> Iterator[None]:
    """Wait until no other process of this user trains on the GPU; a CPU needs no turns.

    Notebooks execute side by side; two that train on one GPU would share its memory and spoil each
    other's seconds.
    """
    if device.type != "cuda":
        yield
        return
    user = getattr(os, "getuid", int)()  # Windows has none
    lock = FileLock(Path(tempfile.gettempdir(), f"rgkit-gpu-{user}-{_which(device)}.lock"))
    try:
        held = lock.acquire(timeout=0)
    except Timeout:
        print("waiting for another process that trains on this GPU", file=sys.stderr)
        held = lock.acquire()
    with held:  # given back when the process ends, come what may
        yield


def _which(device: torch.device) -> str:
    """Name a GPU, whatever number it has in this process: CUDA_VISIBLE_DEVICES renumbers them."""
    about = torch.cuda.get_device_properties(device) if torch.cuda.is_available() else None
    return str(getattr(about, "uuid", device.index or 0))
