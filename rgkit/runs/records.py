"""Records in, records out: one JSON file per run, written atomically, never overwritten.

On the way between machines they are one file, an archive, a line per record.
"""

from __future__ import annotations

import base64
import contextlib
import datetime
import functools
import hashlib
import io
import json
import os
import subprocess
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from rgkit.runs.config import NUMERICS, Config, Trained, from_dict

# A run that uses no data set is filed under this fingerprint.
NO_DATA = "none"
NO_TASKS = ("repeats", "bench")  # folders of a store in which no record counts
# What a record holds, in the order of its file; the texts only of some tasks.
ORDER = ("key", "numerics", "fingerprint", "config", "status", "diverged_at", "epochs", "source")
TEXTS = ("samples", "along")


# What every record's source says.
SAID: dict[str, Any] = {
    "commit": str, "device": str, "versions": dict, "seconds": int | float, "date": str,
}  # fmt: skip


class StoreError(RuntimeError):
    """A record that cannot be read or does not fit; the message names the file."""


@dataclass(frozen=True)
class Record:
    """What one run measured and where it came from.

    ``epochs`` holds a list per metric, ``status`` is "finished" or "diverged"; ``source`` holds
    commit, device, processor, arithmetic, versions, seconds and date, which are recorded but do
    not enter the key;
    ``samples`` holds what a network made of a few pictures at the end, see `rgkit.runs.records`,
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
        epochs = {n: [float(f"{v:.7g}") for v in values] for n, values in self.epochs.items()}
        plain = {name: getattr(self, name) for name in ORDER}
        plain |= {"config": self.config.as_dict(), "epochs": epochs}
        plain |= {name: texts for name in TEXTS if (texts := getattr(self, name))}
        return plain | {"digest": digest(plain)}


def digest(plain: Mapping[str, Any]) -> str:
    """Return 16 hex digits of all that a record says but for its own digest.

    >>> digest({"status": "finished"}) == digest({"digest": "0", "status": "finished"})
    True
    """
    text = json.dumps({n: v for n, v in plain.items() if n != "digest"}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def fingerprint_of(config: Config) -> str:
    """Return the fingerprint of the data that a config trains on, without loading them."""
    return config.fingerprint() if isinstance(config, Trained) else NO_DATA


def read(text: str | bytes, strict: bool = False) -> Record:
    """Return the record in a text; ValueError says why it is none.

    Parameters
    ----------
    strict : bool
        Whether it has to be whole, of this version and of the data that are here: what may be
        merged.
    """
    try:
        found = json.loads(text)
        given, numerics, mark = (found[name] for name in ("config", "numerics", "fingerprint"))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"not a whole record ({error})") from None
    if found.get("digest", known := digest(found)) != known:  # older records have none
        raise ValueError(f"its digest is {found['digest']}, but what it says has {known}")
    if strict and numerics != NUMERICS:
        raise ValueError(f"numerics version {numerics}, this is version {NUMERICS}")
    try:
        config = from_dict(given)
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"its config cannot be run here: {error}") from None
    if strict and mark != (here := fingerprint_of(config)):
        raise ValueError(f"data fingerprint {mark}, here the data have {here}")
    key, status, epochs, where = (found.get(n) for n in ("key", "status", "epochs", "source"))
    if numerics == NUMERICS and key != config.key(mark):
        raise ValueError(f"its key {key} is not that of its config")
    if status not in ("finished", "diverged"):
        raise ValueError(f"status {status!r}; finished or diverged can be merged")
    if not isinstance(epochs, dict) or not isinstance(where, dict):
        raise ValueError("it does not say what was measured and where")
    if bad := [name for name, kind in SAID.items() if not isinstance(where.get(name), kind)]:
        raise ValueError(f"its source does not say the {bad[0]}, or not as it should")
    try:
        lengths = {len([float(x + 0) for x in values]) for values in epochs.values()}
    except (TypeError, OverflowError):
        raise ValueError("its epochs are not lists of numbers") from None
    if isinstance(config, Trained) and status == "finished":
        if config.measure not in epochs:
            raise ValueError(f"finished, but without {config.measure}")
        if strict and lengths != {config.epochs}:
            raise ValueError(f"finished, but with {sorted(lengths)} epochs of {config.epochs}")
    at = found.get("diverged_at")
    if not isinstance(at, int | None):
        raise ValueError(f"diverged_at {at!r}; a step, or null")
    texts = {name: found.get(name, []) for name in TEXTS}  # older records have none
    for name, kept in texts.items():
        if not isinstance(kept, list) or not all(isinstance(text, str) for text in kept):
            raise ValueError(f"its {name} are not a list of texts")
    return Record(key, config, mark, status, epochs, where, at, numerics, **texts)


@contextlib.contextmanager
def beside(path: Path) -> Iterator[Path]:
    """Yield a new name beside a path, for what takes its place once it is whole; no part is left.

    Raises OSError where nothing can be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.stem}-{uuid.uuid4().hex[:8]}.part")
    try:
        yield part
    finally:
        part.unlink(missing_ok=True)


def _write(path: Path, text: str) -> bool:
    """Write a new file, whole or not at all; return whether there was none."""
    with beside(path) as part:
        with part.open("x", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(part, path)  # atomic, and fails where os.replace would overwrite
        except FileExistsError:
            return False
        except OSError:  # a file system without links
            if path.exists():
                return False
            os.replace(part, path)
    return True


def append(archive: Path, record: Record) -> None:
    """Add a record as one line; the lines before it survive whatever happens meanwhile."""
    line = (json.dumps(record.as_dict()) + "\n").encode()
    archive.parent.mkdir(parents=True, exist_ok=True)
    with archive.open("ab+", buffering=0) as file:
        if file.tell():  # a writer that was killed may have left half a line
            file.seek(-1, os.SEEK_END)
            line = line if file.read(1) == b"\n" else b"\n" + line
        while line:  # at once, so that several may append, unless the system takes a part only
            line = line[file.write(line) or 0 :]
        os.fsync(file.fileno())


@dataclass
class Merged:
    """What became of the records of an archive, and why some were refused."""

    added: int = 0
    known: int = 0
    repeats: int = 0
    refused: list[str] = field(default_factory=list)


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
    >>> from rgkit.runs.config import Classification
    >>> Store(tempfile.mkdtemp()).get(Classification()) is None
    True
    """

    def __init__(self, root: str | Path | None = None) -> None:
        self.root = Path(root) if root is not None else default_root()

    def path(self, config: Config) -> Path:
        """Return where the record of a config lies or would lie."""
        return self.root / config.task / f"{config.key(fingerprint_of(config))}.json"

    def get(self, config: Config) -> Record | None:
        """Return the record of a config, None if it has not been run; for StoreError see `read`."""
        path = self.path(config)
        record = self.read(path) if path.is_file() else None
        if record and record.numerics != NUMERICS:
            raise StoreError(f"{path}: its numerics are version {record.numerics}; move it away")
        return record

    def has(self, config: Config) -> bool:
        """Return whether a config has been run; for StoreError see `read`."""
        return self.get(config) is not None

    def repeats(self, config: Config) -> list[Path]:
        """Return the files of a config's later runs, whose numbers differ from the first one's."""
        return sorted(self.root.glob(f"repeats/{self.path(config).stem}-*.json"))

    def read(self, path: Path) -> Record:
        """Read one record; StoreError names a file that is no record, or was changed or renamed."""
        about = path.stat()
        return _read(path, about.st_mtime_ns, about.st_size)

    def put(self, record: Record) -> Path:
        """Write a record; the first one wins, and another with other numbers is kept beside it.

        Two machines may round differently: the later record goes to ``repeats/``, once, and counts
        nowhere; `repeats` finds it. The path is that of the record with these numbers.
        """
        path, plain = self.path(record.config), record.as_dict()
        body = [f"{json.dumps(k)}: {json.dumps(v)}" for k, v in plain.items()]
        text = "{\n" + ",\n".join(body) + "\n}\n"
        if _write(path, text):
            return path
        new = json.dumps(plain["epochs"])  # as text, in which NaN is NaN
        for known in (path, *self.repeats(record.config)):
            if json.dumps(self.read(known).as_dict()["epochs"]) == new:
                return known
        again = self.root / "repeats" / f"{path.stem}-{uuid.uuid4().hex[:8]}.json"
        _write(again, text)
        return again

    def files(self) -> list[Path]:
        """Return the files of all records, sorted; repeats and benchmarks are none."""
        found = self.root.glob("*/*.json")
        return sorted(path for path in found if path.parent.name not in NO_TASKS)

    def __iter__(self) -> Iterator[Record]:
        """Every record, in the order of the file names."""
        return map(self.read, self.files())

    def merge(self, archive: Path) -> Merged:
        """Bring in the records of an archive, of another store's folder, or of a plain folder.

        A record that is already there is counted; one with other numbers is kept among the
        repeats; one whose config, numerics version or data fingerprint disagree is refused.

        >>> import tempfile
        >>> empty = Path(tempfile.mkdtemp())
        >>> Store(empty / "results").merge(empty)
        Merged(added=0, known=0, repeats=0, refused=[])
        """
        merged = Merged()
        for where, text in _texts(archive):
            try:
                record = read(text, strict=True)
            except ValueError as error:
                merged.refused.append(f"{where}: {error}")
                continue
            first = self.path(record.config)
            before = [path for path in (first, *self.repeats(record.config)) if path.is_file()]
            now = self.put(record)
            if now in before:
                merged.known += 1
            elif now == first:
                merged.added += 1
            else:
                merged.repeats += 1
        return merged


@functools.cache  # a file as it was then: plan, estimates and pages all ask for it
def _read(path: Path, changed: int, size: int) -> Record:
    try:
        record = read(path.read_bytes())
        if record.key != path.stem.partition("-")[0]:  # a repeat has more behind it
            raise ValueError(f"it is of the run {record.key}")
    except ValueError as error:
        raise StoreError(f"{path}: {error}; move it away") from None
    return record


def _texts(archive: Path) -> Iterator[tuple[str, bytes]]:
    """Yield (where, text) of every record in an archive, in a store's folder, or in a plain one."""
    if archive.is_dir():
        for path in [*sorted(archive.glob("*.json")), *Store(archive).files()]:
            if path.is_file():
                yield str(path), path.read_bytes()
        return
    with archive.open("rb") as file:
        for number, line in enumerate(file, 1):
            yield f"{archive}: line {number}", line


# The first of the test pictures. A set's order depends on the pixels' hashes alone, so they are as
# good as drawn by lot, and nobody has chosen them.
SHOWN = 3
KEPT = 6  # of generated pictures: readers are asked to tell them apart, see `rgkit.chapters.blind`
ALONG = (0.25, 0.5, 0.75)  # parts of a run after which the first picture is kept, too
QUALITY = 90  # of pictures; what is measured is measured before


def stops(epochs: int) -> list[int]:
    """Return after which epochs of a run the first picture is kept; its end is not among them.

    >>> stops(20), stops(1)
    ([5, 10, 15], [])
    """
    found = {round(part * epochs) for part in ALONG}
    return sorted(found - {0, epochs})


def pack(image: np.ndarray[Any, Any]) -> str:
    """Return an image as a text of a few kilobytes: base64 of PNG for labels, WebP for pictures.

    Parameters
    ----------
    image : uint8, labels [height, width], kept as they are, or a picture [height, width, 3]

    >>> unpack(pack(np.eye(3, dtype=np.uint8))).tolist()
    [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    """
    from PIL import Image

    file, made = io.BytesIO(), Image.fromarray(image)
    if image.ndim == 2:
        made.save(file, format="PNG", optimize=True)
    else:
        made.save(file, format="WEBP", quality=QUALITY)
    return base64.b64encode(file.getvalue()).decode()


def unpack(text: str) -> np.ndarray[Any, Any]:
    """Return the image uint8 [height, width] or [height, width, 3] that `pack` made a text of."""
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))))
