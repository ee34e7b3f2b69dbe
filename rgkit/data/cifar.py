"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009), each in both official layouts, binary and Python."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rgkit.data import CLASSES, Bytes, DataError, Dataset, Labels

PIXELS = 3 * 32 * 32  # bytes of an image


@dataclass(frozen=True)
class Official:
    """How one of the two sets is shipped.

    Attributes
    ----------
    title : what people call it
    binary, python : the folders of the two layouts
    train, test : files of the binary layout; those of the Python layout lack the suffix
    images : in each file of `train`, and in `test`
    labels : bytes before the pixels of an image; the last is its class, one before it a superclass
    mean, std : per channel, of pixels scaled to 0..1
    """

    title: str
    binary: str
    python: str
    train: tuple[str, ...]
    test: str
    images: tuple[int, int]
    labels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


SETS = {
    "cifar10": Official(
        "CIFAR-10",
        "cifar-10-batches-bin",
        "cifar-10-batches-py",
        tuple(f"data_batch_{i}.bin" for i in range(1, 6)),
        "test_batch.bin",
        (10_000, 10_000),
        1,
        (0.4914, 0.4822, 0.4465),  # as RG's published code has them, and the deviations
        (0.2023, 0.1994, 0.2010),
    ),
    "cifar100": Official(
        "CIFAR-100",
        "cifar-100-binary",
        "cifar-100-python",
        ("train.bin",),
        "test.bin",
        (50_000, 10_000),
        2,
        (0.5071, 0.4865, 0.4409),
        (0.2673, 0.2564, 0.2762),
    ),
}


def find(name: str, folder: Path) -> Path | None:
    """Return the folder of a layout that lies in `folder`, the binary one first, or None."""
    layouts = (SETS[name].binary, SETS[name].python)
    return next((folder / n for n in layouts if (folder / n).is_dir()), None)


def listing(name: str, folder: Path) -> str:
    """Return 16 hex digits of the names and sizes of a set's files, or "absent" without them.

    What names a set whose pixels nobody here has seen. The two layouts have different ones.
    """
    layout, official = find(name, folder), SETS[name]
    suffix = ".bin" if layout is not None and layout.name == official.binary else ""
    names = [file.removesuffix(".bin") + suffix for file in (*official.train, official.test)]
    try:
        said = [f"{file} {((layout or folder) / file).stat().st_size}" for file in names]
    except OSError:
        return "absent"
    return hashlib.sha256("\n".join(said).encode()).hexdigest()[:16]


def _read_binary(official: Official, path: Path, count: int) -> tuple[Bytes, Labels]:
    where, again = f"{path.parent.name}/{path.name}", f"copy {official.title} again"
    if not path.is_file():
        raise DataError(f"{where} is missing; {again}")
    raw, row = np.fromfile(path, np.uint8), official.labels + PIXELS
    if raw.size != count * row:
        raise DataError(f"{where} has {raw.size:,} bytes, not {count * row:,}; {again}")
    rows = raw.reshape(count, row)
    pixels = rows[:, official.labels :].reshape(-1, 3, 32, 32)
    return pixels, rows[:, official.labels - 1].astype(np.int64)


def _read_python(official: Official, folder: Path, train: bool) -> tuple[Bytes, Labels]:
    """Through torchvision, which checks every file's md5 before it unpickles it."""
    from rgkit.data.vision import import_torchvision

    kind = getattr(import_torchvision().datasets, official.title.replace("-", ""))
    try:
        split = kind(str(folder), train=train, download=False)
    except RuntimeError as error:
        raise DataError(f"{official.python}: {error}; copy {official.title} again") from error
    return split.data.transpose(0, 3, 1, 2), np.asarray(split.targets, np.int64)


def load(name: str, folder: Path) -> Dataset:
    """Read a set from whichever official layout lies in `folder`; of CIFAR-100 the fine labels."""
    layout, official = find(name, folder), SETS[name]
    if layout is None:
        raise DataError(
            f"{official.title} is not in {folder} (looked for {official.binary} and "
            f"{official.python}); set RGKIT_DATA to the folder that holds one of them, or "
            f"download it with: rgkit data get {name}"
        )
    if layout.name == official.binary:
        files = [layout / file for file in official.train]
        parts = [_read_binary(official, file, official.images[0]) for file in files]
        train = np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])
        test = _read_binary(official, layout / official.test, official.images[1])
    else:
        train, test = (_read_python(official, folder, split) for split in (True, False))
    largest, classes = max(int(labels.max()) for _, labels in (train, test)), CLASSES[name]
    if largest >= classes:
        raise DataError(
            f"{layout.name} has a label {largest}, {official.title} has those up to "
            f"{classes - 1}; copy it again"
        )
    return Dataset(name, *train, *test, official.mean, official.std, padding=4, classes=classes)


def download(name: str, folder: Path) -> None:
    """Fetch a set in its Python layout through torchvision, checksums and all."""
    from rgkit.data.vision import import_torchvision

    official = SETS[name]
    folder.mkdir(parents=True, exist_ok=True)
    kind = getattr(import_torchvision().datasets, official.title.replace("-", ""))
    try:
        kind(str(folder), download=True)
    except OSError as error:  # urllib's errors are among these
        raise DataError(
            f"{official.title} could not be downloaded to {folder} ({error}); without a network, "
            f"copy {official.binary} or {official.python} from elsewhere and set RGKIT_DATA to the "
            "folder it lies in"
        ) from error
