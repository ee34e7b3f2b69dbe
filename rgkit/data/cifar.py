"""CIFAR-10 (Krizhevsky 2009) in both official layouts, binary and Python."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from rgkit.data import Bytes, DataError, Dataset, Labels

# Per-channel mean and deviation as RG's published code has them.
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
BINARY, PYTHON = "cifar-10-batches-bin", "cifar-10-batches-py"
TRAIN = [f"data_batch_{i}.bin" for i in range(1, 6)]
IMAGES_PER_FILE, ROW = 10_000, 1 + 3 * 32 * 32


def find(folder: Path) -> Path | None:
    """Return the folder of a layout that lies in `folder`, the binary one first, or None."""
    return next((folder / n for n in (BINARY, PYTHON) if (folder / n).is_dir()), None)


def _read_binary(path: Path) -> tuple[Bytes, Labels]:
    if not path.is_file():
        raise DataError(f"{path.parent.name}/{path.name} is missing; copy CIFAR-10 again")
    raw = np.fromfile(path, np.uint8)
    if raw.size != IMAGES_PER_FILE * ROW:
        raise DataError(
            f"{path.parent.name}/{path.name} has {raw.size:,} bytes, not "
            f"{IMAGES_PER_FILE * ROW:,}; copy CIFAR-10 again"
        )
    rows = raw.reshape(IMAGES_PER_FILE, ROW)
    return rows[:, 1:].reshape(-1, 3, 32, 32), rows[:, 0].astype(np.int64)


def _read_python(folder: Path, train: bool) -> tuple[Bytes, Labels]:
    """Through torchvision, which checks every file's md5 before it unpickles it."""
    from rgkit._torchvision import import_torchvision

    datasets = import_torchvision().datasets
    try:
        split = datasets.CIFAR10(str(folder), train=train, download=False)
    except RuntimeError as error:
        raise DataError(f"{PYTHON}: {error}; copy CIFAR-10 again") from error
    return split.data.transpose(0, 3, 1, 2), np.asarray(split.targets, np.int64)


def load(folder: Path) -> Dataset:
    """Read CIFAR-10 from whichever official layout lies in `folder`."""
    layout = find(folder)
    if layout is None:
        raise DataError(
            f"CIFAR-10 is not in {folder} (looked for {BINARY} and {PYTHON}); set RGKIT_DATA "
            "to the folder that holds one of them, or download it with: rgkit data get cifar10"
        )
    if layout.name == BINARY:
        parts = [_read_binary(layout / name) for name in TRAIN]
        train = (np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts]))
        test = _read_binary(layout / "test_batch.bin")
    else:
        train, test = _read_python(folder, True), _read_python(folder, False)
    return Dataset("cifar10", *train, *test, MEAN, STD, padding=4)


def download(folder: Path) -> None:
    """Fetch CIFAR-10 in its Python layout through torchvision, checksums and all."""
    from rgkit._torchvision import import_torchvision

    folder.mkdir(parents=True, exist_ok=True)
    try:
        import_torchvision().datasets.CIFAR10(str(folder), download=True)
    except OSError as error:  # urllib's errors are among these
        raise DataError(
            f"CIFAR-10 could not be downloaded to {folder} ({error}); without a network, copy "
            f"{BINARY} or {PYTHON} from elsewhere and set RGKIT_DATA to the folder it lies in"
        ) from error
