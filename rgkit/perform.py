"""Run one config, whatever its task, and make its record."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable

from rgkit.config import Classification, Config, StepTiming
from rgkit.store import Record, commit, fingerprint_of, source

Progress = Callable[[float], None]


def device_name(device: str = "auto") -> str:
    """Return the device in words, such as ``NVIDIA H200`` or ``x86_64 CPU``."""
    import torch

    from rgkit.train import pick_device

    where = pick_device(device)
    if where.type == "cuda":
        return torch.cuda.get_device_name(where)
    return f"{platform.machine()} CPU, one thread"


def perform(config: Config, device: str = "auto", progress: Progress = lambda part: None) -> Record:
    """Run one config, whatever its task, and return its record; nothing is written.

    `progress` is called with the part of the run that is done, between 0 and 1.
    """
    start = time.perf_counter()
    commit()  # before the run, so that it names the code that ran
    if isinstance(config, Classification):
        from rgkit.train import train

        outcome = train(config, device, lambda epoch: progress(epoch / config.epochs))
    elif isinstance(config, StepTiming):
        from rgkit.timing import time_steps

        outcome = time_steps(config, device, progress)
    else:
        raise NotImplementedError(f"no code runs the task {config.task!r}")
    fingerprint = fingerprint_of(config)
    return Record(
        key=config.key(fingerprint),
        config=config,
        fingerprint=fingerprint,
        status=outcome.status,
        diverged_at=outcome.diverged_at,
        epochs=outcome.epochs,
        source=source(device_name(device), time.perf_counter() - start),
    )
