"""What `make bench` measures, in one run, and the file that it writes."""

from __future__ import annotations

import json
import re
import shutil
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

from rgkit.bench import blocks
from rgkit.bench.blocks import Block, interleaved, ours, ratio
from rgkit.bench.book import book, loading, say
from rgkit.bench.pictures import MASKS, Case
from rgkit.models.classification import cost
from rgkit.runs.kinds import Classification
from rgkit.runs.records import Store, source
from rgkit.train.device import cores, device_name, pick_device, processor

MODELS = ("resnet8(16)", "resnet18", "resnet34")
SMALL = ("resnet8(16)", "airbench(16)", "small_densenet", "small_mobilenetv2")
# A run of 30 epochs over all of CIFAR-10, its tests counted as a third of a step.
RUN_IMAGES = 30 * (50_000 + 10_000 / 3)
# Of a block on a CPU: some seconds of work on two cores. On a GPU 100 are enough for an epoch.
STEPS = {"resnet8(16)": 60, "resnet18": 3, "resnet34": 2}
Rows = list[dict[str, Any]]


def _gpu(device: str) -> bool:
    return pick_device(device).type == "cuda"


def _of(model: str) -> Case:
    return Classification(model=model, batch=128)


def _usual(device: str) -> tuple[Case, int]:
    """The network whose step is looked at closely, and the steps of a block."""
    if _gpu(device):
        return _of("resnet34"), 100
    return _of("resnet8(16)"), STEPS["resnet8(16)"]


def throughput(rounds: int, device: str) -> Rows:
    """Images per second against the paper-style loop, a row a network.

    On a CPU the machine is full with a process a core; on a GPU with one run.
    """
    gpu = _gpu(device)
    jobs = 1 if gpu else cores()
    peak, rows = blocks.matrix_rate(device), []
    for model in MODELS:
        config = _of(model)
        steps = 100 if gpu else STEPS[model]
        yardstick = blocks.paper_style(config, steps, device)
        found = interleaved({"paper": yardstick, "alone": ours(config, steps, device)}, rounds)
        found["together"] = found["alone"]
        if jobs > 1:
            found["together"] = blocks.in_processes(config, steps, jobs, device, rounds)
        row = {"model": model, "jobs": jobs} | found
        for name in ("alone", "together"):
            row[f"ratio_{name}"] = ratio(found[name], found["paper"])
        row["runs_per_hour"] = 3600 * median(found["together"]) / RUN_IMAGES
        # A step is three passes of two operations for each multiply-accumulate.
        row["share_of_matrix_rate"] = median(found["alone"]) * 6 * cost(model).macs / peak
        rows.append(row)
        speeds = (f"{median(found[name]):.0f}" for name in ("together", "paper"))
        say("{}: {} images/s, the paper-style loop {}".format(model, *speeds))
    return rows


def masked(rounds: int, device: str) -> Rows:
    """Images per second of a network that labels pixels, against the paper-style loop."""
    steps = 100 if _gpu(device) else 8
    yardstick = blocks.paper_style(MASKS, steps, device)
    found = interleaved({"paper": yardstick, "alone": ours(MASKS, steps, device)}, rounds)
    say(f"{MASKS.model}: {median(found['alone']):.0f} images/s")
    compared = {"ratio_alone": ratio(found["alone"], found["paper"])}
    return [{"model": MASKS.model} | found | compared]


def arithmetics(rounds: int, device: str) -> Rows:
    """Our step against the same written out in plain PyTorch in either precision, a row a network.

    The ratio is of the time for an image, ours to that of the faster of the two.
    """
    rows, both = [], ("float32", "bfloat16")
    for config in (*map(_of, SMALL), MASKS):
        steps = 100 if _gpu(device) or config is MASKS else 20
        timed = {precision: blocks.plain(config, device, precision) for precision in both}
        found = interleaved(timed | {"ours": ours(config, steps, device)}, rounds)
        faster = max(both, key=lambda precision: median(found[precision]))
        times = ratio(found[faster], found["ours"])
        rows.append({"model": config.model} | found | {"faster": faster, "ratio": times})
        say(f"{config.model}: {times[0]:.2f} times as long as the faster, {faster}")
    return rows


def ways(rounds: int, device: str) -> Rows:
    """Several runs at once on one device, a row a way: what `jobs` should be, and how."""
    config, steps = _usual(device)
    rows: Rows = []

    def add(way: str, jobs: int, values: list[float]) -> None:
        rows.append({"model": config.model, "way": way, "jobs": jobs, "images_per_s": values})
        say(f"{way}, {jobs}: {median(values):.0f} images/s")

    jobs = (2, 4, 8) if _gpu(device) else (2, 4)
    # A quarter of the steps of a way that is slow show it.
    timed = {str(many): blocks.stacked(config, -(-steps // 4), many, device) for many in jobs}
    found = interleaved(timed | {"1": ours(config, steps, device)}, rounds)
    add("one run", 1, found["1"])
    for many in jobs:
        add("a process each", many, blocks.in_processes(config, steps, many, device, rounds))
        add("stacked with torch.func", many, found[str(many)])
    return rows


def choices(rounds: int, device: str) -> Rows:
    """What one run's step is made of: precision, memory format, threads; on a GPU, its capture."""
    config, steps = _usual(device)
    timed: dict[str, Block] = {}
    for precision in ("float32", "bfloat16"):
        options: dict[str, dict[str, Any]] = {
            "channels last, 1 thread": {},
            "contiguous, 1 thread": {"channels_last": False},
            "channels last, 2 threads": {"threads": 2},
        }
        if _gpu(device):
            kinds = ("plain", "captured", "compiled")
            options = {f"{kind} step": {"kind": kind} for kind in kinds}
        for name, option in options.items():
            named = f"{precision}, {name}"
            timed[named] = ours(config, steps, device, precision=precision, **option)
    found = interleaved(timed, rounds)
    return [{"model": config.model, "choice": n, "images_per_s": v} for n, v in found.items()]


def overhead(device: str, pairs: int) -> Rows:
    """The cost of Random Gradient per step, paired and interleaved, in percent with interval."""
    config, _ = _usual(device)
    take = blocks.by_hand(config, device)
    steps = 20 if _gpu(device) else 10
    timed = {
        "plain": blocks.timed(lambda: take(steps, False), steps),
        "RG": blocks.timed(lambda: take(steps, True), steps),
    }
    found = interleaved(timed, pairs)
    percent = [100 * (value - 1) for value in ratio(found["plain"], found["RG"])]
    middle, low, high = percent
    say(f"{config.model}: RG costs {middle:+.2f} % of a step [{low:+.2f}, {high:+.2f}]")
    return [{"model": config.model, "pairs": pairs, "percent": percent}]


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
        found["book"] = book()
    found["cores"] = cores()
    found["source"] = source(name, time.perf_counter() - start)
    found["source"]["processor"] = processor(pick_device(device))
    folder = folder or Store().root / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    path = folder / f"{slug}.{1 + len(list(folder.glob(f'{slug}.*.json')))}.json"
    with path.open("x") as file:
        # Six digits are more than a clock is worth.
        rounded = json.loads(
            json.dumps(found), parse_float=lambda text: float(f"{float(text):.6g}")
        )
        json.dump(rounded, file, indent=1)
        file.write("\n")
    return path
