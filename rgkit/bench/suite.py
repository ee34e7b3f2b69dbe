"""What `make bench` measures, in one run, and the file that it writes."""

from __future__ import annotations

import json
import math
import re
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from rgkit.bench import blocks, pictures
from rgkit.bench.book import book, loading, say
from rgkit.bench.paper_style import Block, paper_style
from rgkit.chapters.step_timing import StepTiming
from rgkit.runs.records import Store, source
from rgkit.stats.differences import Difference, difference
from rgkit.train.device import cores, default_jobs, device_name, pick_device, processor

MODELS = ("resnet8(16)", "resnet18", "resnet34")
SMALL = ("resnet8(16)", "airbench(16)", "small_densenet", "small_mobilenetv2")
# A run of 30 epochs over all of CIFAR-10, its tests counted as a third of a step.
RUN_IMAGES = 30 * (50_000 + 10_000 / 3)
Rows = list[dict[str, Any]]


def _steps(model: str, gpu: bool) -> int:
    """Steps in a block: some seconds of work on two cores, enough for an epoch on a GPU."""
    if gpu:
        return 100
    return {"resnet8(16)": 60, "resnet18": 3, "resnet34": 2}[model]


def _ratio(above: list[float], below: list[float]) -> Difference:
    """The paired ratio of two speeds, on a logarithmic scale, as a difference."""
    return difference(np.log(above) - np.log(below))


def _bounds(found: Difference) -> list[float]:
    """The ratio itself and its 95 % interval."""
    return [math.exp(v) for v in (found.mean, *found.interval())]


def throughput(rounds: int, device: str) -> Rows:
    """Images per second against the paper-style loop, a row a network; see `rgkit.bench.blocks`."""
    gpu, jobs = pick_device(device).type == "cuda", max(2, default_jobs(pick_device(device)))
    peak, rows = blocks.matrix_rate(device), []
    for model in MODELS:
        steps = _steps(model, gpu)
        timed = {
            "paper": paper_style(model, steps, device),
            "alone": blocks.ours(model, steps, device),
        }
        if gpu:
            timed["together"] = blocks.in_streams(model, steps, jobs, device)
        found = blocks.interleaved(timed, rounds)
        if not gpu:
            found["together"] = blocks.in_processes(model, steps, jobs, device, rounds)
        flops = blocks.training_flops(model)
        best = median(found["together"])
        rows.append(
            {
                "model": model,
                "jobs": jobs,
                **found,
                "ratio_alone": _bounds(_ratio(found["alone"], found["paper"])),
                "ratio_together": _bounds(_ratio(found["together"], found["paper"])),
                "runs_per_hour": 3600 * best / RUN_IMAGES,
                "share_of_matrix_rate": median(found["alone"]) * flops / peak,
            }
        )
        say(f"{model}: {best:.0f} images/s, the paper-style loop {median(found['paper']):.0f}")
    return rows


def masked(rounds: int, device: str) -> Rows:
    """Images per second of a network that labels pixels; see `rgkit.bench.pictures`."""
    steps = 100 if pick_device(device).type == "cuda" else 8
    timed = {
        "paper": pictures.paper_style(steps, device),
        "alone": pictures.ours(steps, device),
    }
    found = blocks.interleaved(timed, rounds)
    row = {"model": pictures.MODEL, **found}
    row["ratio_alone"] = _bounds(_ratio(found["alone"], found["paper"]))
    say(f"{pictures.MODEL}: {median(found['alone']):.0f} images/s")
    return [row]


def arithmetics(rounds: int, device: str) -> Rows:
    """Our step against the same written out in plain PyTorch in either precision, a row a network.

    The ratio is of the time for an image, ours to that of the faster of the two.
    """
    gpu, rows = pick_device(device).type == "cuda", list[dict[str, Any]]()
    for model in (*SMALL, pictures.MODEL):
        masks = model == pictures.MODEL
        steps = 100 if gpu or masks else 20
        timed = {
            precision: pictures.plain(device, precision)
            if masks
            else blocks.plain(model, device, precision)
            for precision in ("float32", "bfloat16")
        }
        timed["ours"] = pictures.ours(steps, device) if masks else blocks.ours(model, steps, device)
        found = blocks.interleaved(timed, rounds)
        faster = max(("float32", "bfloat16"), key=lambda precision: median(found[precision]))
        ratio = _bounds(_ratio(found[faster], found["ours"]))
        rows.append({"model": model, **found, "faster": faster, "ratio": ratio})
        say(f"{model}: {ratio[0]:.2f} times as long as the faster, {faster}")
    return rows


def ways(rounds: int, device: str) -> Rows:
    """Several runs at once on one device, a row a way: what `jobs` should be, and how."""
    gpu = pick_device(device).type == "cuda"
    model = "resnet34" if gpu else "resnet8(16)"
    steps, many = _steps(model, gpu), (2, 4, 8) if gpu else (2, 4)
    rows: Rows = []

    def add(way: str, jobs: int, values: list[float]) -> None:
        rows.append({"model": model, "way": way, "jobs": jobs, "images_per_s": values})
        say(f"{way}, {jobs}: {median(values):.0f} images/s")

    def timed(block: Callable[[], float]) -> list[float]:
        return [block() for _ in range(rounds)]

    few = -(-steps // 4)  # for the way that is slow, as a few steps show
    add("one run", 1, timed(blocks.ours(model, steps, device)))
    for jobs in many:
        name = "one process, a stream each" if gpu else "one process, in turn"
        add(name, jobs, timed(blocks.in_streams(model, steps, jobs, device)))
        add("a process each", jobs, blocks.in_processes(model, steps, jobs, device, rounds))
        add("stacked with torch.func", jobs, timed(blocks.stacked(model, few, jobs, device)))
    return rows


def choices(rounds: int, device: str) -> Rows:
    """What one run's step is made of: precision, memory format, threads; on a GPU, its capture."""
    gpu = pick_device(device).type == "cuda"
    model = "resnet34" if gpu else "resnet8(16)"
    steps, kinds = _steps(model, gpu), ("plain", "captured", "compiled") if gpu else ("plain",)
    timed: dict[str, Block] = {}
    for precision in ("float32", "bfloat16"):
        for kind in kinds:
            name = f"{precision}, {kind} step" if gpu else f"{precision}, channels last, 1 thread"
            timed[name] = blocks.ours(model, steps, device, kind, precision=precision)
    if not gpu:
        for precision in ("float32", "bfloat16"):
            timed[f"{precision}, contiguous, 1 thread"] = blocks.ours(
                model, steps, device, precision=precision, channels_last=False
            )
        timed["bfloat16, channels last, 2 threads"] = blocks.ours(model, steps, device, threads=2)
    found = blocks.interleaved(timed, rounds)
    return [{"model": model, "choice": name, "images_per_s": v} for name, v in found.items()]


def overhead(device: str, pairs: int) -> Rows:
    """The cost of Random Gradient per step, paired and interleaved, in percent with interval."""
    from rgkit.chapters.step_timing.task import measure as time_steps

    gpu, rows = pick_device(device).type == "cuda", []
    for model in ("resnet34",) if gpu else ("resnet8(16)",):
        config = StepTiming(model=model, pairs=pairs, steps=20 if gpu else 10)
        found = time_steps(config, device).epochs
        plain = np.sqrt(np.multiply(found["plain"], found["plain_again"]))
        cost = _bounds(difference(np.log(found["rg"]) - np.log(plain)))
        percent = [100 * (value - 1) for value in cost]
        rows.append({"model": model, "pairs": pairs, "percent": percent})
        middle, low, high = percent
        say(f"{model}: RG costs {middle:+.2f} % of a step [{low:+.2f}, {high:+.2f}]")
    return rows


def run(device: str = "auto", quick: bool = False, folder: Path | None = None) -> Path:
    """Measure everything and write it to ``results/bench/<device>.<n>.json``; nothing is replaced.

    Parameters
    ----------
    device : str
    quick : bool
        One short round of everything: does it run? Its numbers are no result.
    folder : Path, optional
        Instead of the store's ``bench`` folder.
    """
    start, rounds = time.perf_counter(), 1 if quick else 4
    name = device_name(device)
    folder = folder or Store().root / "bench"
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    found: dict[str, Any] = {
        "quick": quick,
        "loading": loading(),
        "throughput": throughput(rounds + 1, device),
        "masked": masked(rounds + 1, device),
        "arithmetics": arithmetics(rounds + 1, device),
        "ways": ways(rounds, device),
        "choices": choices(rounds, device),
        "overhead": overhead(device, 4 if quick else 60),
    }
    if shutil.which("jupyter-book", path=str(Path(sys.executable).parent)):
        found["book"] = book(1 if quick else 5)
    found["cores"] = cores()
    found["source"] = source(name, time.perf_counter() - start)
    found["source"]["processor"] = processor(pick_device(device))
    folder.mkdir(parents=True, exist_ok=True)
    number = 1 + len(list(folder.glob(f"{slug}.*.json")))
    path = folder / f"{slug}.{number}.json"
    with path.open("x") as file:
        # Six digits are more than a clock is worth.
        rounded = json.loads(
            json.dumps(found), parse_float=lambda text: float(f"{float(text):.6g}")
        )
        json.dump(rounded, file, indent=1)
        file.write("\n")
    return path
