"""Seconds to load records and to build the book from them, against papermill in a row."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from rgkit.book import build as ours
from rgkit.book.jupyterbook import html
from rgkit.book.kernels import Task, execute_all
from rgkit.runs.kinds import Classification
from rgkit.runs.records import Record, Store, fingerprint_of, source
from rgkit.train.device import cores


def say(text: str) -> None:
    """Tell whoever waits how far the measurement is."""
    print(text, file=sys.stderr, flush=True)


def loading() -> list[dict[str, Any]]:
    """Seconds to load a store of 100, 1,000 and 10,000 records of 100 epochs."""
    rows: list[dict[str, Any]] = []
    for count in (100, 1_000, 10_000):
        with tempfile.TemporaryDirectory() as folder:
            store, base = Store(folder), Classification(data="digits")
            epochs = {name: [0.123456 * n for n in range(100)] for name in "abcdefgh"}
            where = source("nowhere", 1.0)
            file = Path(folder, base.task, "x")
            file.parent.mkdir()
            for seed in range(count):
                config = base.replace(seed=seed)
                print_ = fingerprint_of(config)
                record = Record(config.key(print_), config, print_, "finished", epochs, where)
                store.path(config).write_text(json.dumps(record.as_dict()))
            start = time.perf_counter()
            assert sum(1 for _ in store) == count
            rows.append({"records": count, "seconds": time.perf_counter() - start})
    say(f"{rows[-1]['records']} records load in {rows[-1]['seconds']:.1f} s")
    return rows


def book(times: int = 5) -> dict[str, Any]:
    """Seconds to build the book from records: cold, warm, one notebook changed, sequentially.

    `times` over, its notebooks are a book of the size that this one is to have: what the start of
    one process and of Sphinx adds weighs less there.
    """

    def timed(build: Callable[[], Any]) -> float:
        start = time.perf_counter()
        with redirect_stdout(sys.stderr):
            status = build()
        if status:
            raise RuntimeError("the book could not be built; run `make book` to see why")
        return time.perf_counter() - start

    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder, "_build")
        found: dict[str, Any] = {"notebooks": len(ours.book_notebooks())}
        found["cold"] = timed(lambda: ours.build(output))
        found["warm"] = timed(lambda: ours.build(output))
        stamps = sorted((output / "executed").rglob("*.inputs.json"))
        changed: list[float] = []
        for stamp in stamps:
            stamp.unlink()
            changed.append(timed(lambda: ours.build(output)))
        found["one_changed"] = max(changed)
        found["sequential"] = timed(lambda: sequential(Path(folder, "row", "_build")))
        tasks = _several(Path(folder, "several"), times)
        many: dict[str, float] = {"notebooks": len(tasks)}
        many["cold"] = timed(lambda: [m for _, m in execute_all(tasks, cores()) if m])
        many["sequential"] = timed(lambda: _in_a_row(tasks))
        found["many"] = many
    say(f"the book: cold {found['cold']:.1f} s, papermill in a row {found['sequential']:.1f} s")
    return found


def _several(folder: Path, times: int) -> list[Task]:
    """Every notebook of the book several times, with places for the executed copies."""
    return [
        Task(f"{number}/{ours.page_of(path)}", path, folder / f"{number}" / path.name, {})
        for number in range(times)
        for path in ours.book_notebooks()
    ]


def _in_a_row(tasks: list[Task]) -> None:
    """Execute notebooks as a user would: papermill in a row, as it is by default."""
    import papermill

    for task in tasks:
        task.output.parent.mkdir(parents=True, exist_ok=True)
        folder = str(task.path.parent)
        papermill.execute_notebook(
            str(task.path), str(task.output), cwd=folder, kernel_name="python3", progress_bar=False
        )


def sequential(output: Path) -> int:
    """Build the book as a user would without rgkit: papermill in a row, then Jupyter Book."""
    paths = ours.book_notebooks()
    pages = [ours.page_of(path) for path in paths]
    copies = [output / "executed" / f"{page}.ipynb" for page in pages]
    _in_a_row([Task(*each, {}) for each in zip(pages, paths, copies, strict=True)])
    ours.stage(output / "source", output / "executed", pages, {})
    return html(output / "source", output)
