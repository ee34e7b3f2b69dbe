"""What a data set is: its files, sizes, classes and fingerprint, said once in a row of a table.

`rgkit.data.images` has a table of labelled images, `rgkit.data.pictures` one of pictures with masks
and one of pairs; a new set is a new row. Pictures are put into an order by the hash of their
pixels, so that the first 20,000 of a set are the same, and one seed gives the same batches,
whatever the files are called.
"""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rgkit.data.scenes import SPLITS, scenes
from rgkit.method.spec import Checked, nearest

Bytes = NDArray[np.uint8]
Item = tuple[Path, ...]  # the files of one picture
Row = tuple[bytes, Bytes, Any]  # the hash of a picture, its pixels, and what belongs to it

# Mean and deviation of each colour, of pixels from 0 to 1, as the published code has them.
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class DataError(RuntimeError):
    """Data that are missing, damaged or not what their name says; the message tells the remedy."""


def root() -> Path:
    """Return the folder of real data: $RGKIT_DATA, or rgkit's folder in the user's cache."""
    given = os.environ.get("RGKIT_DATA")
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    return Path(given).expanduser() if given else cache / "rgkit"


class Source(Checked):
    """Where the data of a set come from, and what is known of them without reading them.

    Attributes
    ----------
    sizes : images to train on and to test on
    classes : their names, in the order of the labels
    known : the fingerprint of the pixels, for sets whose records are committed, so that the key of
        a run can be computed where the data are not; "" where the files name the set
    embedded : whether the set needs no files
    files : from the folder of all data and "train" or "test" to the files of each picture; raises
        DataError or OSError where they are missing
    mean, std : per channel, of pixels scaled to 0..1
    padding : zero pixels added on each side before a random crop

    Examples
    --------
    >>> Source((600, 200), embedded=True).available(), Source((600, 200)).available()
    (True, False)
    """

    sizes: tuple[int, int]
    classes: tuple[str, ...] = ()
    known: str = ""
    embedded: bool = False
    files: Callable[[Path, str], list[Item]] = lambda folder, split: []
    mean: tuple[float, ...] = IMAGENET[0]
    std: tuple[float, ...] = IMAGENET[1]
    padding: int = 0

    def lines(self, folder: Path) -> list[str]:
        """Return what names the files: a line each, with its size.

        Raises DataError or OSError where one is missing or there are more or fewer.
        """
        parts = [self.files(folder, split) for split in SPLITS]
        if tuple(map(len, parts)) != self.sizes:
            raise DataError(f"{folder} has more or fewer pictures than the set")
        paths = [(s, p) for s, part in zip(SPLITS, parts, strict=True) for i in part for p in i]
        return sorted(f"{split} {path.name} {path.stat().st_size}" for split, path in paths)

    def read(self, folder: Path) -> tuple[Split, Split]:
        """Return images and labels from the files, of a set that is read as a whole."""
        raise DataError("its row does not say how its files are read, as rgkit.data.images.Cifar")

    def available(self) -> bool:
        """Say whether the set can be loaded here without a network."""
        try:
            return self.embedded or bool(self.lines(root()))
        except (DataError, OSError):
            return False

    def fingerprint(self) -> str:
        """Return what names the data without reading their pixels; "absent" without files."""
        try:
            return self.known or _of_files(self, root())
        except (DataError, OSError):
            return "absent"


@functools.lru_cache
def _of_files(source: Source, folder: Path) -> str:
    return hashlib.sha256("\n".join(source.lines(folder)).encode()).hexdigest()[:16]


def opened(path: Path) -> Image.Image:
    """Read a picture from a file; DataError names one that is missing or cannot be read."""
    try:
        image = Image.open(path)
        image.load()
    except FileNotFoundError:
        raise DataError(f"{path} is not there; copy the data set again") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error}); copy the data set again") from error
    return image


def check_file(path: Path, digits: str, again: str) -> None:
    """Require that a file's SHA-256 begins so; DataError names it and says how to get it `again`.

    >>> check_file(Path(__file__), "", "check it out again")
    """
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if not found.startswith(digits):
        raise DataError(f"{path} has the SHA-256 {found[:16]}…, not {digits}…; {again}")


S = TypeVar("S", bound=Source)


def named(table: Mapping[str, S], name: str) -> S:
    """Return a row of a table; DataError names the nearest right name."""
    if name not in table:
        raise DataError(f"unknown data set {name!r}{nearest(name, list(table))}")
    return table[name]


class Split(NamedTuple):
    """Pictures uint8 [N, channels, height, width], and what belongs to each.

    That is a label int64 [N], a mask uint8 [N, height, width] or another picture.
    """

    images: Bytes
    targets: NDArray[Any]


@dataclass(frozen=True)
class Dataset:
    """A data set, whole and in memory.

    Attributes
    ----------
    fingerprint : 16 hex digits that name the pixels, whatever the order of the files
    margin : real pixels on each side of the images to train on, beyond what a network sees
    """

    source: Source
    train: Split
    test: Split
    fingerprint: str
    margin: int = 0


def drawn(source: Source, what: str, size: int, margin: int = 0) -> tuple[Split, Split]:
    """Return scenes to train on and to test on, and `what` of them: labels, masks, maps or objects.

    Those to train on have so many pixels more on each side.

    >>> [(x.shape, y.shape) for x, y in drawn(Source((2, 1)), "masks", 32, 4)]
    [((2, 3, 40, 40), (2, 40, 40)), ((1, 3, 32, 32), (1, 32, 32))]
    """
    sides = size + 2 * margin, size
    found = [scenes(n, x, split=s) for n, x, s in zip(source.sizes, sides, SPLITS, strict=True)]
    train, test = (Split(part.images, getattr(part, what)) for part in found)
    return train, test


def ordered(rows: Iterable[Row]) -> tuple[bytes, Split]:
    """Return a split in the order of its hashes, and the hash of all of them."""
    hashes, images, targets = zip(*sorted(rows, key=lambda row: row[0]), strict=True)
    return hashlib.sha256(b"".join(hashes)).digest(), Split(np.stack(images), np.stack(targets))


def checked(table: Mapping[str, Source], name: str, splits: Iterable[Iterable[Row]]) -> Dataset:
    """Return the rows of both splits as a data set; DataError unless they are what the name says.

    >>> rows = [(bytes([k]), np.zeros((3, 2, 2), np.uint8), k) for k in (1, 0)]
    >>> found = checked({"two": Source((2, 2))}, "two", [rows, rows])
    >>> found.train.targets, found.fingerprint
    (array([0, 1]), 'e44255f7be3e4464')
    """
    (first, train), (second, test) = map(ordered, splits)
    found, source = hashlib.sha256(first + second).hexdigest()[:16], table[name]
    if found != (source.known or found):
        raise DataError(
            f"{name}: the pixels have fingerprint {found}, those that were measured "
            f"{source.known}; {_remedy(table, name, source.sizes)}"
        )
    return Dataset(source, train, test, found)


def read(
    table: Mapping[str, Source], name: str, folder: Path, one: Callable[[Item, str], Row]
) -> Dataset:
    """Read a set from its files, each picture by `one`, which is given its files and the split.

    Raises DataError, which names what else the files may be, where they are more or fewer than the
    set has, or other pictures than were measured.
    """
    source = table[name]
    train, test = parts = [source.files(folder, split) for split in SPLITS]
    counts = len(train), len(test)
    if counts != source.sizes:
        have, want = (f"{a:,} to train on and {b:,} to test on" for a, b in (counts, source.sizes))
        again = _remedy(table, name, counts)
        raise DataError(f"{name}: {have} are here, the set has {want}; {again}")
    rows = ([one(i, split) for i in part] for split, part in zip(SPLITS, parts, strict=True))
    return checked(table, name, rows)


def _remedy(table: Mapping[str, Source], name: str, counts: tuple[int, int]) -> str:
    """Name what else the files may be: a set of the same files and of these counts."""
    for other, source in table.items():
        alike = source.files is table[name].files is not Source.files
        if other != name and alike and source.sizes == counts:
            return f"copy the data set again, or name it as what it is: data={other!r}"
    return "copy the data set again"
