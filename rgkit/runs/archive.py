"""Records on the way between machines: one file, a line per record, written as runs finish."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from rgkit.runs.records import Record, Store, read


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
        for path in [*sorted(archive.glob("*.json")), *Store(archive).files()]:
            yield str(path), path.read_text()
        return
    with archive.open() as file:
        for number, line in enumerate(file, 1):
            yield f"{archive}: line {number}", line


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
            record = read(text, strict=True)
        except ValueError as error:
            merged.refused.append(f"{where}: {error}")
            continue
        first = store.has(record.config)
        before = store.repeats(record.config)
        now = store.put(record)
        if not first:
            merged.added += 1
        elif now in before or now == store.path(record.config):
            merged.known += 1
        else:
            merged.repeats += 1
    return merged
