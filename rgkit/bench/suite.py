"""What `make bench` measures, in one run, and the file that it writes."""

from __future__ import annotations

import json
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from statistics import median
from typing import Any

from rgkit.bench import blocks
from rgkit.bench.blocks import MASKS, Case, interleaved, ours, ratio
from rgkit.book import build
from rgkit.models.classification import cost
from rgkit.runs.config import Classification
from rgkit.runs.records import Record, Store, fingerprint_of, source
from rgkit.train.device import cores, device_name, pick_device, processor

MODELS = ("resnet8(16)", "resnet18", "resnet34")
SMALL = ("resnet8(16)", "airbench(16)", "small_densenet", "small_mobilenetv2")
# A run of 30 epochs over all of CIFAR-10, its tests counted as a third of a step.
RUN_IMAGES = 30 * (50_000 + 10_000 / 3)
# Of a block on a CPU: some seconds of work on two cores. On a GPU 100 are enough for an epoch.
STEPS = {"resnet8(16)": 60, "resnet18": 3, "resnet34": 2}
PRECISIONS = ("float32", "bfloat16")
Rows = list[dict[str, Any]]


def _gpu(device: str) -> bool:
    return pick_device(device).type == "cuda"


def _of(model: str) -> Case:
    return Classification(model=model, batch=128)


def _usual(device: str) -> tuple[Case, int]:
    """The network whose step is looked at closely, and the steps of a block."""
    model = "resnet34" if _gpu(device) else "resnet8(16)"
    return _of(model), 100 if _gpu(device) else STEPS[model]


def say(text: str) -> None:
    """Tell whoever waits how far the measurement is."""
    print(text, file=sys.stderr, flush=True)


def loading() -> list[dict[str, Any]]:
    """Seconds to load a store of 100, 1,000 and 10,000 records of 100 epochs."""
    rows: list[dict[str, Any]] = []
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


def _seconds(make: Callable[[Path], int], output: Path) -> float:
    start = time.perf_counter()
    with redirect_stdout(sys.stderr):
        status = make(output)
    if status:
        raise RuntimeError("the book could not be built; run `make book` to see why")
    return time.perf_counter() - start


def book() -> dict[str, Any]:
    """Seconds to build the book from records: cold, warm, one notebook changed, sequentially."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder, "_build")
        found: dict[str, Any] = {"notebooks": len(build.book_notebooks())}
        found["cold"] = _seconds(build.build, output)
        found["warm"] = _seconds(build.build, output)
        changed = []
        for stamp in sorted((output / "executed").rglob("*.inputs.json")):
            stamp.unlink()
            changed.append(_seconds(build.build, output))
        found["one_changed"] = max(changed)
        found["sequential"] = _seconds(sequential, Path(folder, "row", "_build"))
    say(f"the book: cold {found['cold']:.1f} s, papermill in a row {found['sequential']:.1f} s")
    return found


def sequential(output: Path) -> int:
    """Build the book as a user would without rgkit: papermill in a row, then Jupyter Book."""
    import papermill

    executed, pages = output / "executed", []
    for path in build.book_notebooks():
        pages.append(build.page_of(path))
        copy = executed / f"{pages[-1]}.ipynb"
        copy.parent.mkdir(parents=True, exist_ok=True)
        options = {"cwd": str(path.parent), "kernel_name": "python3", "progress_bar": False}
        papermill.execute_notebook(str(path), str(copy), **options)
    build.stage(output / "source", executed, pages, {})
    return build.html(output / "source", output)


def _against_paper(config: Case, steps: int, rounds: int, device: str) -> dict[str, list[float]]:
    """Images per second of the paper-style loop and of ours, and their ratio."""
    timed = {"paper": blocks.paper_style(config, steps, device)}
    found = interleaved(timed | {"alone": ours(config, steps, device)}, rounds)
    speeds = (f"{median(found[name]):.0f}" for name in ("alone", "paper"))
    say("{}: {} images/s, the paper-style loop {}".format(config.model, *speeds))
    return found | {"ratio_alone": ratio(found["alone"], found["paper"])}


def throughput(rounds: int, device: str) -> Rows:
    """Images per second against the paper-style loop, a row a network.

    On a CPU the machine is full with a process a core; on a GPU with one run.
    """
    jobs = 1 if _gpu(device) else cores()
    peak, rows = blocks.matrix_rate(device), []
    for model in MODELS:
        config, steps = _of(model), 100 if _gpu(device) else STEPS[model]
        found = _against_paper(config, steps, rounds, device)
        alone = together = found["alone"]
        if jobs > 1:
            together = blocks.in_processes(config, steps, jobs, device, rounds)
        row = {"model": model, "jobs": jobs} | found | {"together": together}
        row["ratio_together"] = ratio(together, found["paper"])
        row["runs_per_hour"] = 3600 * median(together) / RUN_IMAGES
        # A step is three passes of two operations for each multiply-accumulate.
        row["share_of_matrix_rate"] = median(alone) * 6 * cost(model).macs / peak
        rows.append(row)
    return rows


def masked(rounds: int, device: str) -> Rows:
    """Images per second of a network that labels pixels, against the paper-style loop."""
    steps = 100 if _gpu(device) else 8
    return [{"model": MASKS.model} | _against_paper(MASKS, steps, rounds, device)]


def arithmetics(rounds: int, device: str) -> Rows:
    """Our step against the same written out in plain PyTorch in either precision, a row a network.

    The ratio is of the time for an image, ours to that of the faster of the two.
    """
    rows = []
    for config in (*map(_of, SMALL), MASKS):
        steps = 100 if _gpu(device) or config is MASKS else 20
        timed = {precision: blocks.plain(config, device, precision) for precision in PRECISIONS}
        found = interleaved(timed | {"ours": ours(config, steps, device)}, rounds)
        faster = max(PRECISIONS, key=lambda precision: median(found[precision]))
        times = ratio(found[faster], found["ours"])
        rows.append({"model": config.model} | found | {"faster": faster, "ratio": times})
        say(f"{config.model}: {times[0]:.2f} times as long as the faster, {faster}")
    return rows


def ways(rounds: int, device: str) -> Rows:
    """Several runs at once on one device, a row a way: what `jobs` should be, and how."""
    config, steps = _usual(device)
    jobs = (2, 4, 8) if _gpu(device) else (2, 4)
    # A quarter of the steps of a way that is slow show it.
    timed = {many: blocks.stacked(config, -(-steps // 4), many, device) for many in jobs}
    found = interleaved(timed | {1: ours(config, steps, device)}, rounds)
    speeds = {("one run", 1): found[1]}
    for many in jobs:
        together = blocks.in_processes(config, steps, many, device, rounds)
        speeds |= {("a process each", many): together}
        speeds |= {("stacked with torch.func", many): found[many]}
        say(f"{many} runs at once: {median(together):.0f} images/s, a process each")
    names = ("model", "way", "jobs", "images_per_s")
    return [dict(zip(names, (config.model, *way, v), strict=True)) for way, v in speeds.items()]


def choices(rounds: int, device: str) -> Rows:
    """What one run's step is made of: precision, memory format, threads; on a GPU, its capture."""
    config, steps = _usual(device)
    options: dict[str, dict[str, Any]] = {
        "channels last, 1 thread": {},
        "contiguous, 1 thread": {"channels_last": False},
        "channels last, 2 threads": {"threads": 2},
    }
    if _gpu(device):
        options = {f"{kind} step": {"kind": kind} for kind in ("plain", "captured", "compiled")}
    timed = {
        f"{precision}, {name}": ours(config, steps, device, precision=precision, **option)
        for precision in PRECISIONS for name, option in options.items()
    }  # fmt: skip
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
