"""The plan: which runs the book needs, which are recorded, and training what is missing."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

from rgkit.book.notebook import UsageError, check_parameters, find, grid
from rgkit.runs.config import Config, Trained
from rgkit.runs.grid import Grid, blocks, in_order
from rgkit.runs.records import Merged, Store
from rgkit.train.engines import misplaced, writes
from rgkit.train.execute import Pool
from rgkit.train.progress import Estimator, clock

LINE = "{notebook:<28}{profile:<12}{runs:>6}{recorded:>10}{missing:>9} "  # of the plan
ELSEWHERE = (
    " to another machine: the other arms of their seeds were trained in an arithmetic that this "
    "one would not use"
)


def notebooks(pattern: str) -> list[Path]:
    """Return the notebooks with `pattern` in their name; UsageError lists them if none has."""
    every = find()
    found = [path for path in every if pattern in path.stem]
    if not found:
        names = ", ".join(path.stem for path in every)
        raise UsageError(f"--only {pattern!r} fits no notebook; there are: {names}")
    return found


def rows(given: Mapping[Path, Mapping[str, Any]], store: Store) -> list[dict[str, Any]]:
    """Return a row for each notebook with its parameters: its runs, recorded, missing, the cost."""
    found, estimate = list[dict[str, Any]](), Estimator(store)
    for path, parameters in given.items():
        runs = grid(path, parameters)
        configs = {store.path(cell.config): cell.config for cell in runs}
        missing = {file: c for file, c in configs.items() if not store.has(c)}
        costs = [estimate.seconds(c) for c in missing.values()]
        found.append(
            {
                "notebook": path.stem,
                "profile": runs.profile,
                "priority": min((cell.priority for cell in runs), default=None),
                "data": sorted({c.data for c in configs.values() if isinstance(c, Trained)}),
                "runs": len(configs),
                "recorded": len(configs) - len(missing),
                "missing": len(missing),
                "seconds": None if None in costs else sum(filter(None, costs)),
                "note": runs.note,
                "keys_missing": [file.stem for file in missing],
            }
        )
    return found


def show(args: argparse.Namespace) -> int:
    """List the runs of every notebook: recorded, missing, and what the missing will cost."""
    table = rows({path: {"profile": args.profile} for path in notebooks(args.only)}, Store())
    if args.json:
        print(json.dumps(table, indent=1))
        return 0
    print(LINE.format_map({name: name for name in table[0]}), "one core/GPU")
    for row in table:
        print(LINE.format_map(row), clock(row["seconds"]) if row["missing"] else "—")
        if row["note"]:
            print(f"  {row['note']}")
    return 0


def outlook(path: Path, parameters: Mapping[str, Any]) -> str:
    """Return in one line what a notebook will do: its runs, the data, what is missing, the cost."""
    (row,) = rows({path: parameters}, Store())
    if not row["runs"]:
        return f"{path.stem}: nothing is trained"
    data = f" on {', '.join(row['data'])}" if row["data"] else ""
    line = f"{path.stem}, profile {row['profile']}: {row['runs']} runs{data}, "
    # A smoke test trains every time and keeps nothing.
    missing = row["runs"] if row["profile"] == "smoke" else row["missing"]
    line += f"{row['runs'] - missing} from records, {missing} to be trained"
    cost = f", about {clock(row['seconds'])} of one core or GPU" if row["seconds"] else ""
    return line + cost * bool(missing) + (f"; {row['note']}" if row["note"] else "")


@contextlib.contextmanager
def _interruptible() -> Iterator[list[signal.Signals]]:
    """Collect the first Ctrl-C or SIGTERM instead of dying of it; the second one is obeyed.

    Some programs, such as `timeout`, send it twice at once, to the process and to its group.
    """
    asked: list[signal.Signals] = []
    first = 0.0

    def ask(number: int, frame: FrameType | None) -> None:
        nonlocal first
        if asked and time.monotonic() - first > 1:
            before.close()
            signal.raise_signal(number)
        elif not asked:
            asked.append(signal.Signals(number))
            first = time.monotonic()
            print(
                f"\n{asked[0].name}: stopping after the epochs under way, which are checkpointed; "
                "once more to stop at once",
                file=sys.stderr,
            )

    with contextlib.ExitStack() as before:
        for one in (signal.SIGINT, signal.SIGTERM):
            before.callback(signal.signal, one, signal.signal(one, ask))
        yield asked


def _writable(name: str) -> Path:
    """Return an archive's path if it can be written; UsageError says why not."""
    path = Path(name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab+") as file:
            file.seek(0)
            alone = not path.resolve().is_relative_to(Store().root.resolve())
            if alone and file.read(2) in (b"", b'{"'):
                return path
            wanted = "a new file, or an archive that --out has made, outside the records"
            raise UsageError(f"--out {name!r} given; {wanted}")
    except OSError as error:
        raise UsageError(f"--out {name!r} given; it cannot be written: {error.strerror}") from None


def run(args: argparse.Namespace, values: Mapping[str, str]) -> int:
    """Train the missing runs in order of priority; return 1 if one failed, 130 after Ctrl-C.

    Those of a smoke test go away again unless $RGKIT_RESULTS names a place for them.

    Parameters
    ----------
    args : of ``rgkit run --plan``
    values : of parameters of the notebooks, as text
    """
    kept = args.profile != "smoke" or "RGKIT_RESULTS" in os.environ
    with tempfile.TemporaryDirectory(prefix="rgkit-smoke-") as folder:
        return _run(args, values, Store(None if kept else folder))


def begun_otherwise(grids: list[Grid], store: Store, here: Callable[[Trained], str]) -> set[Path]:
    """Return the missing runs whose seed was begun in another arithmetic than would be used here.

    The arms of a seed are compared with each other, so they are to round alike.
    """
    found = set[Path]()
    for block in blocks(grids):
        begun = {record.arithmetic for config in block if (record := store.get(config))}
        missing = [c for c in block if isinstance(c, Trained) and not store.has(c)]
        found |= {store.path(c) for c in missing if begun and here(c) not in begun}
    return found


def first_search(configs: list[Config], grids: list[Grid], store: Store) -> int | None:
    """Return how many of the configs it takes until the first search for a rate is over.

    A grid may grow as records arrive: that of an arm at its own best rate is known only when the
    rate has been chosen. So the plan is asked again after each search for a rate.
    """
    cells = sorted((cell for one in grids for cell in one), key=lambda cell: -cell.priority)
    priority = {store.path(cell.config): cell.priority for cell in cells}  # the first that it has
    ends: dict[int, int] = {}
    for place, config in enumerate(configs, 1):
        if isinstance(config, Trained) and config.validation and not store.has(config):
            ends[priority[store.path(config)]] = place
    return min(ends.values(), default=None)


def _run(args: argparse.Namespace, values: Mapping[str, str], store: Store) -> int:
    given: dict[Path, dict[str, Any]] = {p: {"profile": args.profile} for p in notebooks(args.only)}
    for path in given if values else ():
        given[path] |= check_parameters(path, values)
    try:
        pool = Pool(store, args.device, args.step, args.jobs, args.time_limit)
    except ValueError as error:
        raise UsageError(f"--device: {error}") from None
    pool.out = _writable(args.out) if args.out else None
    every, recorded = set[Path](), 0
    with _interruptible() as asked:
        pool.stop = lambda: bool(asked)
        while True:
            grids = [grid(path, settings) for path, settings in given.items()]
            plan = {store.path(c): c for c in in_order(grids)}
            missing = {path: c for path, c in plan.items() if not store.has(c)}
            alone = {path: misplaced(config) for path, config in missing.items()}
            left = {path: f": {why}" for path, why in alone.items() if why}
            left |= dict.fromkeys(begun_otherwise(grids, store, pool.how.arithmetic), ELSEWHERE)
            new = [plan[path] for path in plan if path not in every and path not in left]
            new = new[: first_search(new, grids, store)]
            if not new:
                break
            recorded += sum(store.path(c) not in missing for c in new)
            every |= {store.path(c) for c in new}
            pool.run(new)
    if not writes():
        return 0
    diverged = [r for c in pool.finished if (r := store.get(c)) and r.status == "diverged"]
    print(
        f"{len(every)} runs: {recorded} were recorded, {len(pool.finished)} trained now "
        f"({len(diverged)} of them diverged), {len(pool.stopped)} stopped at a checkpoint, "
        f"{len(pool.left)} not begun, {len(pool.failed)} failed"
    )
    for why, count in Counter(left.values()).items():
        print(f"{count} more are left{why}")
    if pool.left and not (pool.finished or pool.stopped or asked):
        shortest = clock(min(filter(None, map(pool.estimate.seconds, pool.left)), default=None))
        print(f"none would end within {clock(args.time_limit)}: the shortest takes {shortest}")
    for config, reason in pool.failed.items():
        print(f"FAILED {config.brief()}: {reason}", file=sys.stderr)
    return 128 + asked[0] if asked else int(bool(pool.failed))


def merge(args: argparse.Namespace) -> int:
    """Bring records from other machines into the store; return 1 if some were refused."""
    store, refused = Store(), 0
    for name in args.archives:
        path = Path(name)
        if not path.exists():
            raise UsageError(f"{name}: there is no such archive or folder")
        merged = store.merge(path)
        if merged == Merged():
            raise UsageError(f"{name}: it holds no record")
        refused += len(merged.refused)
        print(
            f"{name}: {merged.added} records added, {merged.known} known, {merged.repeats} with "
            f"other numbers kept among the repeats, {len(merged.refused)} refused"
        )
        for reason in merged.refused:
            print(f"REFUSED {reason}", file=sys.stderr)
    return 1 if refused else 0
