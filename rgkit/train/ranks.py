"""One run in several processes at once, a GPU each, or on a CPU."""

from __future__ import annotations

import dataclasses
import json
import pickle
import tempfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from torch import distributed

from rgkit.chapters.image_folder import ImageFolder
from rgkit.runs.records import Record
from rgkit.train.device import pick_device
from rgkit.train.perform import How, Performance, perform
from rgkit.train.processes import end_with_parent

PAUSE = 0.2  # seconds between two looks at the processes


def _rank(rank: int, config: ImageFolder, how: How, folder: str) -> None:
    """Train one share; the first process leaves the record in the folder."""
    end_with_parent()
    where = pick_device(how.device).type
    device = f"cuda:{rank}" if where == "cuda" else "cpu"
    distributed.init_process_group(
        "nccl" if where == "cuda" else "gloo",
        init_method=f"file://{folder}/meeting",
        rank=rank,
        world_size=config.processes,
    )
    # A deadline is the parent's: processes that saw it at different times would wait for ever.
    every = how.every if rank == 0 else float("inf")
    own = dataclasses.replace(how, device=device, deadline=None, every=every)

    def tell(*state: float | None) -> None:
        if rank == 0:
            Path(folder, "state").write_text(json.dumps(state))

    record = perform(config, own, tell)
    if rank == 0:
        Path(folder, "record").write_bytes(pickle.dumps(record))
    distributed.destroy_process_group()


def sharing(config: ImageFolder, how: How, stop: Callable[[], bool]) -> Performance:
    """Perform one config in as many processes as it has; see `rgkit.train.perform.Performance`.

    When it is stopped, the processes end where they are; the next call goes on from the checkpoint
    that the first of them wrote last.

    Raises ValueError, before any process starts, where there are fewer GPUs than processes.
    """
    if pick_device(how.device).type == "cuda":
        pick_device(f"cuda:{config.processes - 1}")
    with tempfile.TemporaryDirectory(prefix="rgkit-ranks-") as folder:
        spawn: Any = import_module("torch.multiprocessing.spawn")  # it is not typed
        context = spawn.spawn(_rank, (config, how, folder), config.processes, join=False)
        try:
            while not context.join(timeout=PAUSE):
                if stop() or how.late():
                    return None
                told = Path(folder, "state")
                text = told.read_text() if told.is_file() else ""
                part, loss = json.loads(text or "[0.0, null]")
                yield part, loss
        finally:
            for process in context.processes:
                process.terminate()
            for process in context.processes:
                process.join()
        found: Record | None = pickle.loads(Path(folder, "record").read_bytes())
        return found
