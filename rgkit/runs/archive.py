"""Records on the way between machines: one file, a line per record, written as runs finish."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from rgkit.runs.kinds import NUMERICS, ConfigError, Trained, from_dict
from rgkit.runs.records import NO_TASKS, TEXTS, Record, Store, fingerprint_of


def append(archive: Path, record: Record) -> None:
    """Add a record as one line; the lines before it survive whatever happens meanwhile."""
    line = (json.dumps(record.as_dict()) + "\n").encode()
    archive.parent.mkdir(parents=True, exist_ok=True)
    with archive.open("ab+", buffering=0) as file:
        if file.tell():  # a writer that was killed may have left half a line
            file.seek(-1, os.SEEK_END)
            line = line if file.read(1) == b"\n" else b"\n" + line
        file.write(line)  # at once, so that several may append
        os.fsync(file.fileno())


def lines(archive: Path) -> Iterator[tuple[str, str]]:
    """Yield (where, text) of every record in an archive, in a store's folder, or in a plain one."""
    if archive.is_dir():
        for path in sorted([*archive.glob("*.json"), *archive.glob("*/*.json")]):
            if path.parent == archive or path.parent.name not in NO_TASKS:
                yield str(path), path.read_text()
        return
    with archive.open() as file:
        for number, line in enumerate(file, 1):
            yield f"{archive}: line {number}", line


def check(text: str) -> Record:
    """Return the record in a line of an archive; ValueError says why it is refused."""
    try:
        found = json.loads(text)
        given = found["config"]
        numerics, fingerprint = found["numerics"], found["fingerprint"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"not a whole record ({error})") from None
    if numerics != NUMERICS:
        raise ValueError(f"numerics version {numerics}, this is version {NUMERICS}")
    try:
        config = from_dict(given)
    except (ConfigError, ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"its config cannot be run here: {error}") from None
    known = fingerprint_of(config)
    if fingerprint != known:
        raise ValueError(f"data fingerprint {fingerprint}, here the data have {known}")
    if found.get("key") != config.key(known):
        raise ValueError(f"its key {found.get('key')} is not that of its config")
    status, epochs = found.get("status"), found.get("epochs")
    if status not in ("finished", "diverged"):
        raise ValueError(f"status {status!r}; finished or diverged can be merged")
    if not isinstance(epochs, dict) or not isinstance(found.get("source"), dict):
        raise ValueError("it does not say what was measured and where")
    if not all(isinstance(values, list) for values in epochs.values()):
        raise ValueError("its epochs are not lists of numbers")
    lengths = {len(values) for values in epochs.values()}
    wanted = config.epochs if isinstance(config, Trained) else None
    if status == "finished" and wanted and lengths != {wanted}:
        raise ValueError(f"finished, but with {sorted(lengths)} epochs of {wanted}")
    texts = {name: found.get(name, []) for name in TEXTS}
    for name, kept in texts.items():
        if not isinstance(kept, list) or not all(isinstance(text, str) for text in kept):
            raise ValueError(f"its {name} are not a list of texts")
    at, where = found.get("diverged_at"), found["source"]
    return Record(found["key"], config, fingerprint, status, epochs, where, at, **texts)


@dataclass
class Merged:
    """What became of the records of an archive, and why some were refused."""

    added: int = 0
    known: int = 0
    repeats: int = 0
    refused: list[str] = field(default_factory=list)


def merge(archive: Path, store: Store) -> Merged:
    """Bring the records of an archive (or of a folder of records) into the store.

    A record that is already there is counted; one with other numbers is kept among the repeats; one
    whose config, numerics version or data fingerprint disagree is refused.

    Examples
    --------
    >>> import tempfile
    >>> empty = Path(tempfile.mkdtemp())
    >>> merge(empty, Store(empty / "results"))
    Merged(added=0, known=0, repeats=0, refused=[])
    """
    merged = Merged()
    for where, text in lines(archive):
        try:
            record = check(text)
        except ValueError as error:
            merged.refused.append(f"{where}: {error}")
            continue
        path = store.path(record.config)
        before = [path] if path.is_file() else []
        before += store.repeats(record.config)
        now = store.put(record)
        if now in before:
            merged.known += 1
        elif now != path:
            merged.repeats += 1
        else:
            merged.added += 1
    return merged
