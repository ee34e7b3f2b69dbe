"""Seconds to load records and to build the book from them, against papermill in a row."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from rgkit.book import build as ours
from rgkit.runs.kinds import Classification
from rgkit.runs.records import Record, Store, fingerprint_of, source


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


def _seconds(build: Callable[[Path], int], output: Path) -> float:
    start = time.perf_counter()
    with redirect_stdout(sys.stderr):
        status = build(output)
    if status:
        raise RuntimeError("the book could not be built; run `make book` to see why")
    return time.perf_counter() - start


def book() -> dict[str, Any]:
    """Seconds to build the book from records: cold, warm, one notebook changed, sequentially."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder, "_build")
        found: dict[str, Any] = {"notebooks": len(ours.book_notebooks())}
        found["cold"] = _seconds(ours.build, output)
        found["warm"] = _seconds(ours.build, output)
        changed = []
        for stamp in sorted((output / "executed").rglob("*.inputs.json")):
            stamp.unlink()
            changed.append(_seconds(ours.build, output))
        found["one_changed"] = max(changed)
        found["sequential"] = _seconds(sequential, Path(folder, "row", "_build"))
    say(f"the book: cold {found['cold']:.1f} s, papermill in a row {found['sequential']:.1f} s")
    return found


def sequential(output: Path) -> int:
    """Build the book as a user would without rgkit: papermill in a row, then Jupyter Book."""
    import papermill

    executed, pages = output / "executed", []
    for path in ours.book_notebooks():
        pages.append(ours.page_of(path))
        copy = executed / f"{pages[-1]}.ipynb"
        copy.parent.mkdir(parents=True, exist_ok=True)
        options = {"cwd": str(path.parent), "kernel_name": "python3", "progress_bar": False}
        papermill.execute_notebook(str(path), str(copy), **options)
    ours.stage(output / "source", executed, pages, {})
    return ours.html(output / "source", output)
