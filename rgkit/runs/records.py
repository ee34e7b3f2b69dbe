"""Records in, records out: one JSON file per run, written atomically, never overwritten."""

from __future__ import annotations

import datetime
import functools
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from rgkit.runs.kinds import NUMERICS, Config, ConfigError, Trained, from_dict

# A run that uses no data set is filed under this fingerprint.
NO_DATA = "none"
NO_TASKS = ("repeats", "bench")  # folders of a store in which no record counts
TEXTS = ("samples", "along")  # of a record, which only some tasks have


class StoreError(RuntimeError):
    """A record that cannot be read or does not fit; the message names the file."""


@dataclass(frozen=True)
class Record:
    """What one run measured and where it came from.

    ``epochs`` holds a list per metric, ``status`` is "finished" or "diverged"; ``source`` holds
    commit, device, processor, arithmetic, versions, seconds and date, which are recorded but do
    not enter the key;
    ``samples`` holds what a network made of a few pictures at the end, see `rgkit.runs.samples`,
    and ``along`` what it made of the first of them on the way.
    """

    key: str
    config: Config
    fingerprint: str
    status: str
    epochs: dict[str, list[float]]
    source: dict[str, Any]
    diverged_at: int | None = None
    numerics: int = NUMERICS
    samples: list[str] = field(default_factory=list)
    along: list[str] = field(default_factory=list)

    @property
    def arithmetic(self) -> str:
        """In which arithmetic the run took place; that of its config, where it does not say."""
        return str(self.source.get("arithmetic", getattr(self.config, "precision", "")))

    def as_dict(self) -> dict[str, Any]:
        """Return the record as plain data, in the order of the file."""
        return {
            "key": self.key,
            "numerics": self.numerics,
            "fingerprint": self.fingerprint,
            "config": self.config.as_dict(),
            "status": self.status,
            "diverged_at": self.diverged_at,
            "epochs": {
                name: [float(f"{value:.7g}") for value in values]
                for name, values in self.epochs.items()
            },
            "source": self.source,
        } | {name: texts for name in TEXTS if (texts := getattr(self, name))}


def fingerprint_of(config: Config) -> str:
    """Return the fingerprint of the data that a config trains on, without loading them."""
    return config.fingerprint() if isinstance(config, Trained) else NO_DATA


@functools.cache
def commit() -> str:
    """Return the commit of this package when it was first asked for, with + if files differ."""
    here = Path(__file__).resolve().parents[1]

    def git(*words: str) -> str:
        try:
            found = subprocess.run(["git", *words], cwd=here, capture_output=True, text=True)
        except OSError:
            return ""
        return found.stdout.strip() if found.returncode == 0 else ""

    changed = git("status", "--porcelain", "--untracked-files=no", "--", str(here))
    return (git("rev-parse", "--short=12", "HEAD") or "unknown") + ("+" if changed else "")


def source(device: str, seconds: float) -> dict[str, Any]:
    """Return where numbers come from: commit, device, versions, seconds, date (UTC).

    The seconds of a run on a CPU are its processor's since 2026-11-28, before that a clock's.
    """
    return {
        "commit": commit(),
        "device": device,
        "versions": {name: metadata.version(name) for name in ("torch", "numpy")},
        "seconds": round(seconds, 3),
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
    }


def default_root() -> Path:
    """Return $RGKIT_RESULTS, or `results` of the checkout that this package lies in."""
    given = os.environ.get("RGKIT_RESULTS")
    return Path(given) if given else Path(__file__).resolve().parents[2] / "results"


class Store:
    """A folder of records, ``<root>/<task>/<key>.json``; safe with several writers.

    Examples
    --------
    >>> import tempfile
    >>> from rgkit.runs.kinds import Classification
    >>> Store(tempfile.mkdtemp()).get(Classification()) is None
    True
    """

    def __init__(self, root: str | Path | None = None) -> None:
        self.root = Path(root) if root is not None else default_root()

    def path(self, config: Config) -> Path:
        """Return where the record of a config lies or would lie."""
        return self.root / config.task / f"{config.key(fingerprint_of(config))}.json"

    def get(self, config: Config) -> Record | None:
        """Return the record of a config, or None if it has not been run."""
        path = self.path(config)
        return self.read(path) if path.is_file() else None

    def repeats(self, config: Config) -> list[Path]:
        """Return the files of a config's later runs, whose numbers differ from the first one's."""
        return sorted(self.root.glob(f"repeats/{self.path(config).stem}-*.json"))

    def read(self, path: Path) -> Record:
        """Read one record; StoreError names a file that is no record or was changed."""
        try:
            found = json.loads(path.read_text())
            config = from_dict(found["config"])
            names = ("key", "fingerprint", "status", "epochs", "source", "diverged_at", "numerics")
            texts = {name: found.get(name, []) for name in TEXTS}
            known = {name: found[name] for name in names}
            record = Record(config=config, **known, **texts)
        except (ValueError, KeyError, TypeError, ConfigError) as error:
            raise StoreError(f"{path}: not a readable record ({error}); move it away") from error
        if record.numerics == NUMERICS and record.key != config.key(record.fingerprint):
            raise StoreError(f"{path}: its config does not belong to its key; move it away")
        return record

    def put(self, record: Record) -> Path:
        """Write a record; the first one wins, and another with other numbers is kept beside it.

        Two machines may round differently: the later record goes to ``repeats/``, once, and counts
        nowhere; `repeats` finds it. The path is that of the record with these numbers.
        """
        path = self.path(record.config)
        body = [f"{json.dumps(k)}: {json.dumps(v)}" for k, v in record.as_dict().items()]
        text = "{\n" + ",\n".join(body) + "\n}\n"
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, suffix=".part", delete=False) as f:
            f.write(text)
            f.flush()
            os.fsync(f.fileno())
        part = Path(f.name)
        part.chmod(0o644)
        try:
            try:
                os.link(part, path)  # atomic, and fails where os.replace would overwrite
            except OSError as error:
                if isinstance(error, FileExistsError):
                    raise
                with path.open("x") as file:  # a file system without links
                    file.write(text)
        except FileExistsError:
            new = json.dumps(record.as_dict()["epochs"])  # as text, in which NaN is NaN
            for known in (path, *self.repeats(record.config)):
                if json.dumps(self.read(known).as_dict()["epochs"]) == new:
                    return known
            again = self.root / "repeats" / f"{path.stem}-{part.stem}.json"
            again.parent.mkdir(exist_ok=True)
            os.replace(part, again)
            return again
        finally:
            part.unlink(missing_ok=True)
        return path

    def __iter__(self) -> Iterator[Record]:
        """Every record, in the order of the file names; repeats and benchmarks are none."""
        for path in sorted(self.root.glob("*/*.json")):
            if path.parent.name not in NO_TASKS:
                yield self.read(path)
