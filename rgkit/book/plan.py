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
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from rgkit.book.notebook import UsageError, find, grid
from rgkit.runs.grid import Grid, blocks, in_order
from rgkit.runs.kinds import Config, Trained
from rgkit.runs.records import Store


def notebooks(pattern: str) -> list[Path]:
    """Return the notebooks with `pattern` in their name; UsageError lists them if none has."""
    every = find()
    found = [path for path in every if pattern in path.stem]
    if not found:
        names = ", ".join(path.stem for path in every)
        raise UsageError(f"--only {pattern!r} fits no notebook; there are: {names}")
    return found


def show(args: argparse.Namespace) -> int:
    """List the runs of every notebook: recorded, missing, and what the missing will cost."""
    from rgkit.train.progress import Estimator, clock

    store = Store()
    rows: list[dict[str, Any]] = []
    estimate = Estimator(store)
    for path in notebooks(args.only):
        found = grid(path, {"profile": args.profile})
        configs = {store.path(cell.config): cell.config for cell in found}
        missing = [c for file, c in configs.items() if not file.is_file()]
        costs = [estimate.seconds(c) for c in missing]
        known = None if None in costs else sum(c for c in costs if c is not None)
        rows.append(
            {
                "notebook": path.stem,
                "profile": found.profile,
                "priority": min((cell.priority for cell in found), default=None),
                "runs": len(configs),
                "recorded": len(configs) - len(missing),
                "missing": len(missing),
                "seconds": known,
                "note": found.note,
                "keys_missing": [store.path(c).stem for c in missing],
            }
        )
    if args.json:
        print(json.dumps(rows, indent=1))
        return 0
    print(f"{'notebook':<28}{'profile':<12}{'runs':>6}{'recorded':>10}{'missing':>9}  one core/GPU")
    for row in rows:
        cost = clock(row["seconds"]) if row["missing"] else "—"
        print(
            f"{row['notebook']:<28}{row['profile']:<12}{row['runs']:>6}{row['recorded']:>10}"
            f"{row['missing']:>9}  {cost}"
        )
        if row["note"]:
            print(f"  {row['note']}")
    return 0


@contextlib.contextmanager
def _interruptible() -> Iterator[list[str]]:
    """Collect the first Ctrl-C or SIGTERM instead of dying of it; the second one is obeyed."""
    asked: list[str] = []
    before: dict[signal.Signals, Any] = {}

    def ask(number: int, frame: FrameType | None) -> None:
        asked.append(signal.Signals(number).name)
        for one, handler in before.items():
            signal.signal(one, handler)
        print(
            f"\n{asked[0]}: stopping after the epochs under way, which are checkpointed; "
            "once more to stop at once",
            file=sys.stderr,
        )

    for one in (signal.SIGINT, signal.SIGTERM):
        before[one] = signal.signal(one, ask)
    try:
        yield asked
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def _writable(name: str) -> Path:
    """Return an archive's path if it can be written; UsageError says why not."""
    path = Path(name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab"):
            return path
    except OSError as error:
        raise UsageError(f"--out {name!r} given; it cannot be written: {error.strerror}") from None


def run(args: argparse.Namespace) -> int:
    """Train the missing runs in order of priority; return 1 if one failed.

    Those of a smoke test go away again unless $RGKIT_RESULTS names a place for them.
    """
    if args.profile == "smoke" and "RGKIT_RESULTS" not in os.environ:
        with tempfile.TemporaryDirectory(prefix="rgkit-smoke-") as folder:
            return _run(args, Store(folder))
    return _run(args, Store())


def begun_otherwise(grids: list[Grid], store: Store, here: Callable[[Trained], str]) -> set[Path]:
    """Return the missing runs whose seed was begun in another arithmetic than would be used here.

    The arms of a seed are compared with each other, so they are to round alike.
    """
    found = set[Path]()
    for block in blocks(grids):
        files = {store.path(c): c for c in block}
        missing = {path: c for path, c in files.items() if not path.is_file()}
        begun = {store.read(path).arithmetic for path in files if missing and path not in missing}
        for path, config in missing.items():
            if begun and isinstance(config, Trained) and here(config) not in begun:
                found.add(path)
    return found


def _grown(
    args: argparse.Namespace, store: Store, seen: set[Path], here: Callable[[Trained], str]
) -> tuple[list[Config], set[Path]]:
    """The plan's runs that were not seen before, without those that are left to another machine.

    A grid may grow as records arrive: that of an arm at its own best rate is known only when the
    rate has been chosen. So the plan is asked again after each search for a rate.
    """
    grids = [grid(path, {"profile": args.profile}) for path in notebooks(args.only)]
    apart = begun_otherwise(grids, store, here)
    found = {store.path(c): c for c in in_order(grids)}
    new = [config for path, config in found.items() if path not in seen | apart]
    return new[: _first_search(new, grids, store)], apart


def _first_search(configs: list[Config], grids: list[Grid], store: Store) -> int | None:
    """Return how many of the configs it takes until the first search for a rate is over."""
    priority = {store.path(cell.config): cell.priority for one in grids for cell in one}
    ends: dict[int, int] = {}
    for place, config in enumerate(configs, 1):
        if isinstance(config, Trained) and config.validation and not store.path(config).is_file():
            ends[priority[store.path(config)]] = place
    return min(ends.values(), default=None)


def _run(args: argparse.Namespace, store: Store) -> int:
    from rgkit.train.device import arithmetic, pick_device
    from rgkit.train.pool import Summary, run_missing
    from rgkit.train.progress import Estimator, clock

    try:
        where = pick_device(args.device)
    except ValueError as error:
        raise UsageError(f"--device: {error}") from None

    def here(config: Trained) -> str:
        return arithmetic(config, where)

    configs, apart = _grown(args, store, set(), here)
    out = _writable(args.out) if args.out else None
    every, recorded, done = list(configs), 0, Summary()
    begun = time.monotonic()
    with _interruptible() as asked:
        while configs:
            recorded += sum(store.path(c).is_file() for c in configs)
            left = None if args.time_limit is None else args.time_limit - time.monotonic() + begun
            done += run_missing(
                configs,
                store,
                device=args.device,
                step=args.step,
                jobs=args.jobs,
                time_limit=left,
                out=out,
                stop=lambda: bool(asked),
                show="bar" if sys.stderr.isatty() else "lines",
            )
            configs, apart = _grown(args, store, {store.path(c) for c in every}, here)
            every += configs
    diverged = [r for c in done.finished if (r := store.get(c)) and r.status == "diverged"]
    print(
        f"{len(every)} runs: {recorded} were recorded, {len(done.finished)} trained now "
        f"({len(diverged)} of them diverged), {len(done.stopped)} stopped at a checkpoint, "
        f"{len(done.left)} not begun, {len(done.failed)} failed"
    )
    if apart:
        print(
            f"{len(apart)} more are left to another machine: the other arms of their seeds were "
            "trained in an arithmetic that this one would not use"
        )
    if done.left and not (done.finished or done.stopped or asked):
        estimate = Estimator(store, here=here)  # it reads every record: once
        seconds = [s for c in done.left if (s := estimate.seconds(c)) is not None]
        shortest = clock(min(seconds, default=None))
        print(f"none would end within {clock(args.time_limit)}: the shortest takes {shortest}")
    for config, reason in done.failed.items():
        print(f"FAILED {config.brief()}: {reason}", file=sys.stderr)
    return 1 if done.failed else 0


def merge(args: argparse.Namespace) -> int:
    """Bring records from other machines into the store; return 1 if some were refused."""
    from rgkit.runs import archive

    store, refused = Store(), 0
    for name in args.archives:
        path = Path(name)
        if not path.exists():
            raise UsageError(f"{name}: there is no such archive or folder")
        merged = archive.merge(path, store)
        if merged == archive.Merged():
            raise UsageError(f"{name}: it holds no record")
        refused += len(merged.refused)
        print(
            f"{name}: {merged.added} records added, {merged.known} known, {merged.repeats} with "
            f"other numbers kept among the repeats, {len(merged.refused)} refused"
        )
        for reason in merged.refused:
            print(f"REFUSED {reason}", file=sys.stderr)
    return 1 if refused else 0
