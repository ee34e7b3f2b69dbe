"""Labelled images: CIFAR-10 and CIFAR-100 in both official layouts, and two embedded sets."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rgkit.data import source
from rgkit.data.scenes import CLASSES, FINGERPRINT
from rgkit.data.source import Bytes, DataError, Dataset, Row, Source, Split

PIXELS = 3 * 32 * 32  # bytes of an image of CIFAR


def numbered(count: int) -> tuple[str, ...]:
    """Return names for classes that are told apart by their numbers.

    >>> numbered(2)
    ('class0', 'class1')
    """
    return tuple(f"class{k}" for k in range(count))


class Cifar(Source):
    """One of the two sets of Krizhevsky 2009, as it is shipped.

    Attributes
    ----------
    title : what people call it
    binary, python : the folders of the two layouts
    train, test : files of the binary layout; those of the Python layout lack the suffix
    labels : bytes before the pixels of an image; the last is its class, one before it a superclass
    """

    title: str = ""
    binary: str = ""
    python: str = ""
    train: tuple[str, ...] = ()
    test: str = ""
    labels: int = 1

    def find(self, folder: Path) -> Path:
        """Return the folder of a layout that lies whole in `folder`, the binary one first."""
        broken = []
        for layout in (folder / self.binary, folder / self.python):
            if layout.is_dir():
                if not (why := self._broken(layout)):
                    return layout
                broken.append(f"{layout.name}/{why}")
        remedy = f"download it with: rgkit data get {self.title.replace('-', '').lower()}"
        if broken:
            raise DataError(f"{'; '.join(broken)}; copy {self.title} again, or {remedy}")
        raise DataError(
            f"{self.title} is not in {folder} (looked for {self.binary} and {self.python}); set "
            f"RGKIT_DATA to the folder that holds one of them, or {remedy}"
        )

    def _broken(self, layout: Path) -> str:
        """Say which file of a layout is missing or not as long as the set's; "" for none."""
        counts = [self.sizes[0] // len(self.train)] * len(self.train)
        for name, count in zip((*self.train, self.test), [*counts, self.sizes[1]], strict=True):
            pickled = layout.name == self.python
            path = layout / (name.removesuffix(".bin") if pickled else name)
            if not path.is_file():
                return f"{path.name} is missing"
            size, wanted = path.stat().st_size, count * (self.labels + PIXELS)
            if size != wanted and not pickled:  # torchvision checks what is pickled
                return f"{path.name} has {size:,} bytes, not {wanted:,}"
        return ""

    def lines(self, folder: Path) -> list[str]:
        """Return what names the files; the two layouts have different ones."""
        layout = self.find(folder)
        suffix = ".bin" if layout.name == self.binary else ""
        names = [file.removesuffix(".bin") + suffix for file in (*self.train, self.test)]
        return [f"{name} {(layout / name).stat().st_size}" for name in names]

    def read(self, folder: Path) -> tuple[Split, Split]:
        """Return the images and labels to train on and to test on, of CIFAR-100 the fine labels."""
        layout = self.find(folder)
        if layout.name == self.python:
            return self._unpickled(folder, True), self._unpickled(folder, False)
        parts = [self._binary(layout / file) for file in self.train]
        train = Split(*map(np.concatenate, zip(*parts, strict=True)))
        return train, self._binary(layout / self.test)

    def _binary(self, path: Path) -> Split:
        rows = np.fromfile(path, np.uint8).reshape(-1, self.labels + PIXELS)
        labels, last = rows[:, self.labels - 1].astype(np.int64), len(self.classes) - 1
        if labels.max() > last:
            words = f"{path.parent.name}/{path.name} has a label {labels.max()}, not 0 to {last}"
            raise DataError(f"{words}; copy {self.title} again")
        return Split(rows[:, self.labels :].reshape(-1, 3, 32, 32), labels)

    def _unpickled(self, folder: Path, train: bool) -> Split:
        """Through torchvision, which checks every file's md5 before it unpickles it."""
        try:
            split = self.torchvision()(str(folder), train=train, download=False)
        except RuntimeError as error:
            raise DataError(f"{self.python}: {error}; copy {self.title} again") from error
        return Split(split.data.transpose(0, 3, 1, 2), np.asarray(split.targets, np.int64))

    def torchvision(self) -> Any:
        """Return torchvision's class for the set."""
        from rgkit.data.compat import import_torchvision

        return getattr(import_torchvision().datasets, self.title.replace("-", ""))

    def download(self, folder: Path) -> None:
        """Fetch the set in its Python layout through torchvision, checksums and all."""
        folder.mkdir(parents=True, exist_ok=True)
        try:
            self.torchvision()(str(folder), download=True)
        except OSError as error:  # urllib's errors are among these
            raise DataError(
                f"{self.title} could not be downloaded to {folder} ({error}); without a network, "
                f"copy {self.binary} or {self.python} from elsewhere and set RGKIT_DATA to the "
                "folder it lies in"
            ) from error


def _digits(count: int) -> tuple[Split, Split]:
    """Return scikit-learn's copy of the UCI set, 8x8, the first `count` to train on.

    It is read from its file: to import scikit-learn takes longer than a run of the tests' size.
    """
    file = distribution("scikit-learn").locate_file("sklearn/datasets/data/digits.csv.gz")
    table = np.loadtxt(str(file), delimiter=",")
    gray = np.round(table[:, :-1].reshape(-1, 1, 8, 8) * (255 / 16)).astype(np.uint8)
    images, labels = np.repeat(gray, 3, axis=1), table[:, -1].astype(np.int64)
    return Split(images[:count], labels[:count]), Split(images[count:], labels[count:])


SOURCES: dict[str, Source] = {
    "cifar10": Cifar(
        (50_000, 10_000), numbered(10), "829383a3be7af59e", padding=4,
        # As RG's published code has them.
        mean=(0.4914, 0.4822, 0.4465), std=(0.2023, 0.1994, 0.2010),
        title="CIFAR-10", binary="cifar-10-batches-bin", python="cifar-10-batches-py",
        train=tuple(f"data_batch_{i}.bin" for i in range(1, 6)), test="test_batch.bin",
    ),
    "cifar100": Cifar(
        (50_000, 10_000), numbered(100), padding=4,
        mean=(0.5071, 0.4865, 0.4409), std=(0.2673, 0.2564, 0.2762),
        title="CIFAR-100", binary="cifar-100-binary", python="cifar-100-python",
        train=("train.bin",), test="test.bin", labels=2,
    ),
    # Real handwritten digits.
    "digits": Source(
        (1_500, 297), numbered(10), "a7b2ba833860fcc9", True, padding=1, mean=(0.305,) * 3,
        std=(0.376,) * 3,
    ),
    # Labelled by their main shape.
    "scenes": Source(
        (5_000, 1_000), CLASSES, FINGERPRINT, True, padding=4, mean=(0.5,) * 3, std=(0.295,) * 3
    ),
}  # fmt: skip


def hashed(images: Bytes, labels: NDArray[np.int64]) -> Iterator[Row]:
    """Yield each image and its label after the SHA-256 of the label's byte and the pixels."""
    for image, label in zip(images, labels, strict=True):
        yield hashlib.sha256(bytes([label]) + image.tobytes()).digest(), image, label


@functools.cache
def _load(name: str, folder: Path) -> Dataset:
    found = SOURCES[name]
    if name == "digits":
        splits = _digits(found.sizes[0])
    else:
        splits = source.drawn(found, "labels", 32) if found.embedded else found.read(folder)
    return source.checked(SOURCES, name, (hashed(*split) for split in splits))


def load(name: str) -> Dataset:
    """Load a data set by name, checked against its fingerprint and in canonical order.

    Raises
    ------
    DataError
        If the files are missing, cut short, or hold other images than the name says.

    Examples
    --------
    >>> load("digits").train.images.shape
    (1500, 3, 8, 8)
    """
    source.named(SOURCES, name)
    return _load(name, source.root())
