"""Data sets for classification, with fingerprints that do not depend on the order of the images.

Images are put into a canonical order (by their hash) when they are loaded, so that the first 20,000
of CIFAR-10 are the same images, and one seed gives the same batches, whichever layout they came in.
"""

from __future__ import annotations

import functools
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Labels = NDArray[np.int64]

# Known without loading, so that the key of a run can be computed where the data are not: of sets
# whose records are committed. CIFAR-100 is none of them, see `fingerprint_of`.
FINGERPRINTS = {
    "cifar10": "829383a3be7af59e",
    "digits": "a7b2ba833860fcc9",
    "scenes": "7f9b076e3891ec76",
}
# Images to train on and to test on.
SIZES = {
    "cifar10": (50_000, 10_000),
    "cifar100": (50_000, 10_000),
    "digits": (1_500, 297),
    "scenes": (5_000, 1_000),
}
CLASSES = {"cifar10": 10, "cifar100": 100, "digits": 10, "scenes": 10}
NAMES = tuple(SIZES)
EMBEDDED = ("digits", "scenes")


class DataError(RuntimeError):
    """Data that are missing, damaged or not what their name says; the message tells the remedy."""


@dataclass(frozen=True)
class Dataset:
    """A classification data set, whole and in memory.

    Attributes
    ----------
    train_images, test_images : uint8 [N, channels, height, width]
    train_labels, test_labels : int64 [N]
    mean, std : per channel, of pixels scaled to 0..1
    padding : int
        Zero pixels added on each side before the random crop.
    """

    name: str
    train_images: Bytes
    train_labels: Labels
    test_images: Bytes
    test_labels: Labels
    mean: tuple[float, ...]
    std: tuple[float, ...]
    padding: int
    classes: int = 10


def _hashes(images: Bytes, labels: Labels) -> list[bytes]:
    """SHA-256 of each label byte followed by its pixels, channel by channel."""
    rows = np.concatenate([labels.astype(np.uint8)[:, None], images.reshape(len(images), -1)], 1)
    return [hashlib.sha256(row.tobytes()).digest() for row in rows]


def fingerprint(*splits: tuple[Bytes, Labels]) -> str:
    """Return 16 hex digits that name the images and labels of all splits, in whatever order.

    >>> x, y = np.zeros((2, 1, 2, 2), np.uint8), np.array([3, 4])
    >>> fingerprint((x, y)) == fingerprint((x[::-1], y[::-1])), fingerprint((x, y))
    (True, '577667db9608a46a')
    """
    total = hashlib.sha256()
    for images, labels in splits:
        total.update(hashlib.sha256(b"".join(sorted(_hashes(images, labels)))).digest())
    return total.hexdigest()[:16]


def canonical(images: Bytes, labels: Labels) -> tuple[Bytes, Labels]:
    """Return the images and labels sorted by their hash."""
    hashes = _hashes(images, labels)
    order = sorted(range(len(hashes)), key=hashes.__getitem__)
    return np.ascontiguousarray(images[order]), labels[order]


def root() -> Path:
    """Return the folder of real data: $RGKIT_DATA, or rgkit's folder in the user's cache."""
    given = os.environ.get("RGKIT_DATA")
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    return Path(given).expanduser() if given else cache / "rgkit"


def available(name: str) -> bool:
    """Say whether a data set can be loaded here without a network."""
    from rgkit.data import cifar

    return name in EMBEDDED or (name in cifar.SETS and cifar.find(name, root()) is not None)


def fingerprint_of(name: str) -> str:
    """Return what names the images of a set without reading them.

    Where it is not known, it is made of the names and sizes of the files; "absent" without files.

    >>> fingerprint_of("cifar10") == FINGERPRINTS["cifar10"]
    True
    """
    from rgkit.data import cifar

    return FINGERPRINTS.get(name) or cifar.listing(name, root())


@functools.cache
def _load(name: str, folder: Path) -> Dataset:
    from rgkit.data import cifar, embedded

    if name in cifar.SETS:
        found = cifar.load(name, folder)
    else:
        found = {"digits": embedded.digits, "scenes": embedded.scene_classes}[name]()
    splits = ((found.train_images, found.train_labels), (found.test_images, found.test_labels))
    actual = fingerprint(*splits)
    if actual != FINGERPRINTS.get(name, actual):
        raise DataError(
            f"{name}: the images have fingerprint {actual}, the data set of that name has "
            f"{FINGERPRINTS[name]}; restore or download it again (rgkit data get {name})"
        )
    train, test = (canonical(*s) for s in splits)
    return Dataset(name, *train, *test, found.mean, found.std, found.padding, found.classes)


def load(name: str) -> Dataset:
    """Load a data set by name, checked against its fingerprint and in canonical order.

    Raises
    ------
    DataError
        If the files are missing, cut short, or hold other images than the name says.

    Examples
    --------
    >>> load("digits").train_images.shape
    (1500, 3, 8, 8)
    """
    if name not in NAMES:
        from rgkit.method.spec import nearest

        raise DataError(f"unknown data set {name!r}{nearest(name, list(NAMES))}")
    return _load(name, root())
