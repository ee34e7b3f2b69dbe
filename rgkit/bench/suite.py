"""What `make bench` measures, in one run, and the file that it writes."""

from __future__ import annotations

import json
import re
import shutil
import sys
import tempfile
import time
from contextlib import redirect_stdout
from pathlib import Path
from statistics import median
from typing import Any

from joblib import cpu_count

from rgkit.bench import blocks
from rgkit.bench.blocks import interleaved, ratio
from rgkit.book import build
from rgkit.models.classification import cost
from rgkit.runs.config import Classification
from rgkit.runs.records import Record, Store, fingerprint_of, source
from rgkit.train.device import arithmetic, device_name, pick_device, processor

# A block has these steps on a CPU: some seconds of two cores. On a GPU 100 are enough.
MODELS = {"resnet8(16)": 60, "resnet18": 3, "resnet34": 2}
SMALL = ("resnet8(16)", "airbench(16)", "small_densenet", "small_mobilenetv2")
# A run of 30 epochs over all of CIFAR-10, its tests counted as a third of a step.
RUN_IMAGES = 30 * (50_000 + 10_000 / 3)
PRECISIONS = ("float32", "bfloat16")
Rows = list[dict[str, Any]]


def _gpu(device: str) -> bool:
    return pick_device(device).type == "cuda"


def _of(model: str) -> Classification:
    return Classification(model=model, batch=128)


def say(text: str) -> None:
    """Tell whoever waits how far the measurement is."""
    print(text, file=sys.stderr, flush=True)


def loading() -> Rows:
    """Seconds to load a store of 100, 1,000 and 10,000 records of 100 epochs."""
    rows: Rows = []
    epochs = {name: [0.123456 * n for n in range(100)] for name in "abcdefgh"}
    base, where = Classification(data="digits"), source("nowhere", 1.0)
    print_ = fingerprint_of(base)
    for count in (100, 1_000, 10_000):
        with tempfile.TemporaryDirectory() as folder:
            store = Store(folder)
            for config in (base.replace(seed=seed) for seed in range(count)):
                store.put(Record(config.key(print_), config, print_, "finished", epochs, where))
            start = time.perf_counter()
            assert sum(1 for _ in store) == count
            rows.append({"records": count, "seconds": time.perf_counter() - start})
    say(f"{rows[-1]['records']} records load in {rows[-1]['seconds']:.1f} s")
    return rows


def book() -> dict[str, Any]:
    """Seconds to build the book from records: from nothing, and again."""
    found: dict[str, Any] = {"notebooks": len(build.book_notebooks())}
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(sys.stderr):
        for name in ("cold", "warm"):
            start = time.perf_counter()
            if build.build(Path(folder, "_build")):
                raise RuntimeError("the book could not be built; run `make book` to see why")
            found[name] = time.perf_counter() - start
    say(f"the book: {found['cold']:.1f} s, and again {found['warm']:.1f} s")
    return found


def throughput(rounds: int, device: str) -> Rows:
    """Images per second against the paper-style loop, a row a network.

    On a CPU the machine is full with a process a core; on a GPU with one run.
    """
    jobs = 1 if _gpu(device) else cpu_count()
    peak, rows = blocks.matrix_rate(device), []
    for model, few in MODELS.items():
        config, steps = _of(model), 100 if _gpu(device) else few
        timed = {"paper": blocks.paper_style(config, steps, device)}
        found = interleaved(timed | {"alone": blocks.ours(config, steps, device)}, rounds)
        alone = together = found["alone"]
        if jobs > 1:
            together = blocks.in_processes(config, steps, jobs, device, rounds)
        row = {"model": model, "jobs": jobs} | found | {"together": together}
        row["ratio_alone"] = ratio(alone, found["paper"])
        row["ratio_together"] = ratio(together, found["paper"])
        row["runs_per_hour"] = 3600 * median(together) / RUN_IMAGES
        # A step is three passes of two operations for each multiply-accumulate.
        row["share_of_matrix_rate"] = median(alone) * 6 * cost(model).macs / peak
        rows.append(row)
        speeds = (f"{median(found[name]):.0f}" for name in ("alone", "paper"))
        say("{}: {} images/s, the paper-style loop {}".format(model, *speeds))
    return rows


def arithmetics(rounds: int, device: str) -> Rows:
    """Images per second of one run in either arithmetic, a row a network.

    The ratio is of the time for an image, in the arithmetic that the machine chooses to that in
    the faster one.
    """
    rows, steps = [], 100 if _gpu(device) else 20
    for config in map(_of, SMALL):
        timed = {name: blocks.ours(config, steps, device, name) for name in PRECISIONS}
        found = interleaved(timed, rounds)
        chosen = arithmetic(config, pick_device(device))
        faster = max(PRECISIONS, key=lambda name: median(found[name]))
        times = ratio(found[faster], found[chosen])
        rows.append({"model": config.model, "chosen": chosen} | found | {"ratio": times})
        say(f"{config.model}: {chosen} takes {times[0]:.2f} times as long as the faster, {faster}")
    return rows


def overhead(device: str, pairs: int) -> Rows:
    """The cost of Random Gradient per step, paired and interleaved, in percent with interval."""
    model, steps = ("resnet34", 20) if _gpu(device) else ("resnet8(16)", 10)
    take = blocks.training(_of(model), steps, device, kind="plain")
    timed = {
        "plain": blocks.timed(lambda: take(None), steps),
        "RG": blocks.timed(lambda: take(0.5), steps),
    }
    found = interleaved(timed, pairs)
    percent = [100 * (value - 1) for value in ratio(found["plain"], found["RG"])]
    say("{}: RG costs {:+.2f} % of a step [{:+.2f}, {:+.2f}]".format(model, *percent))
    return [{"model": model, "pairs": pairs, "percent": percent}]


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
    start, rounds = time.perf_counter(), 2 if quick else 5
    name = device_name(device)
    found: dict[str, Any] = {
        "quick": quick,
        "loading": loading(),
        "throughput": throughput(rounds, device),
        "arithmetics": arithmetics(rounds, device),
        "overhead": overhead(device, 4 if quick else 60),
    }
    if shutil.which("jupyter-book", path=str(Path(sys.executable).parent)):
        found["book"] = book()
    found["cores"] = cpu_count()
    found["source"] = source(name, time.perf_counter() - start)
    found["source"]["processor"] = processor(pick_device(device))
    folder = folder or Store().root / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    path = folder / f"{slug}.{1 + len(list(folder.glob(f'{slug}.*.json')))}.json"
    with path.open("x", encoding="utf-8") as file:
        file.write(json.dumps(found, indent=1) + "\n")
    return path
