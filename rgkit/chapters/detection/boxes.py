"""Pictures with boxes around their objects: Pascal VOC 2007, embedded scenes.

All pictures of a set are brought to one square, as a whole: the overlap of two boxes does not
change where both are stretched alike, so what is measured is what it would be at full size.
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from rgkit.data.pictures import MASKS
from rgkit.data.scenes import CLASSES, FINGERPRINT
from rgkit.data.source import IMAGENET, Bytes, DataError, Source, drawn, named, opened, root
from rgkit.method.spec import nearest

SPLITS = {"train": "trainval", "test": "test"}
MOST = 60  # objects in a picture: VOC 2007 has 42 at most
_VOC = MASKS["voc2012"].classes[1:]
# Three of the names are written otherwise in the files.
VOC_NAMES = tuple({"table": "diningtable", "plant": "pottedplant", "monitor": "tvmonitor"}.get(n, n)
                  for n in _VOC)  # fmt: skip


@dataclass(frozen=True)
class Voc(Source):
    """Pascal VOC 2007, in torchvision's layout."""

    def lines(self, folder: Path) -> list[str]:
        """Return its lists, and the names and sizes of its annotations."""
        names = [f"{split} {name}" for split in SPLITS for name in sorted(_names(folder, split))]
        files = sorted((_base(folder) / "Annotations").iterdir())
        return [*names, *(f"{path.name} {path.stat().st_size}" for path in files)]


SOURCES = {
    "voc2007": Voc((5_011, 4_952), VOC_NAMES),
    "scenes": Source((600, 200), CLASSES, FINGERPRINT, True),
}


@dataclass(frozen=True)
class BoxSet:
    """Pictures of one size and their objects, whole and in memory.

    Attributes
    ----------
    train_images, test_images : uint8 [N, 3, size, size]
    train_objects, test_objects : float32 [N, most, 6]: x1, y1, x2, y2 in pixels from the upper left
        corner, class, and 1 if difficult; the class is -1 where there is no object
    classes : their names
    mean, std : per channel, of pixels scaled to 0..1
    """

    train_images: Bytes
    train_objects: NDArray[np.float32]
    test_images: Bytes
    test_objects: NDArray[np.float32]
    classes: tuple[str, ...]
    mean: tuple[float, ...] = IMAGENET[0]
    std: tuple[float, ...] = IMAGENET[1]


def read_objects(path: Path, size: int) -> NDArray[np.float32]:
    """Return the objects [n, 6] of one of VOC's annotations, on a square of `size` pixels.

    VOC counts pixels from 1 and takes both rims in, so x1 - 1 is the left rim of a box and x2 its
    right one. Raises DataError, which names the file, for one that is missing or not readable, an
    unknown class, or a box outside of the picture.
    """
    try:
        tree = ElementTree.parse(path).getroot()
        wide, high = (float(tree.findtext(f"size/{n}", "")) for n in ("width", "height"))
        rows = []
        for item in tree.iter("object"):
            name = item.findtext("name", "")
            if name not in VOC_NAMES:
                hint = nearest(name, list(VOC_NAMES))
                raise DataError(f"{path} has an object of the class {name!r}{hint}")
            ends = (item.findtext(f"bndbox/{n}", "") for n in ("xmin", "ymin", "xmax", "ymax"))
            x1, y1, x2, y2 = (float(end) for end in ends)
            if not (1 <= x1 <= x2 <= wide and 1 <= y1 <= y2 <= high):
                box = f"{x1:g}, {y1:g}, {x2:g}, {y2:g}"
                raise DataError(f"{path} has the box {box}; the picture is {wide:g}x{high:g}")
            place = (x1 - 1) / wide, (y1 - 1) / high, x2 / wide, y2 / high
            label, hard = VOC_NAMES.index(name), float(item.findtext("difficult", "0"))
            rows.append([*(size * part for part in place), label, hard])
    except FileNotFoundError:
        raise DataError(f"{path} is not there; copy the data set again") from None
    except (ElementTree.ParseError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}); copy the data set again") from error
    return np.array(rows, np.float32).reshape(-1, 6)


def _base(folder: Path) -> Path:
    return folder / "VOCdevkit" / "VOC2007"


def _names(folder: Path, split: str) -> list[str]:
    path = _base(folder) / "ImageSets" / "Main" / f"{SPLITS[split]}.txt"
    if not path.is_file():
        raise DataError(f"{path} is not there; copy the data set again")
    return path.read_text().split()


def _split(folder: Path, split: str, size: int) -> tuple[Bytes, NDArray[np.float32]]:
    names = _names(folder, split)
    wanted = SOURCES["voc2007"].sizes[split == "test"]
    if len(names) != wanted:
        raise DataError(
            f"voc2007: {len(names):,} names in {SPLITS[split]}.txt, the set has {wanted:,}"
        )
    images = np.empty((len(names), 3, size, size), np.uint8)
    objects = np.zeros((len(names), MOST, 6), np.float32)
    objects[..., 4] = -1
    # By a hash of the names, so that the first so many are as good as drawn by lot.
    names.sort(key=lambda name: hashlib.sha256(name.encode()).digest())
    for row, name in enumerate(names):
        path = _base(folder) / "JPEGImages" / f"{name}.jpg"
        picture = opened(path).convert("RGB").resize((size, size))
        images[row] = np.asarray(picture).transpose(2, 0, 1)
        own = read_objects(_base(folder) / "Annotations" / f"{name}.xml", size)
        objects[row, : len(own)] = own
    return images, objects


@functools.lru_cache(maxsize=2)
def _load(size: int, folder: Path) -> BoxSet:
    return BoxSet(*_split(folder, "train", size), *_split(folder, "test", size), VOC_NAMES)


@functools.lru_cache(maxsize=2)
def _scenes(size: int) -> BoxSet:
    train, test = drawn(SOURCES["scenes"], "objects", size)
    return BoxSet(*train, *test, CLASSES)


def load(name: str, size: int) -> BoxSet:
    """Load a set by name, its pictures brought to a square.

    Parameters
    ----------
    name : voc2007, in torchvision's layout under the data folder, or scenes, which is embedded
    size : height and width in pixels

    Raises
    ------
    DataError
        Names the file that is missing, cannot be read, or says what the set does not have.

    Examples
    --------
    >>> found = load("scenes", 32)
    >>> found.train_images.shape, found.train_objects.shape, len(found.classes)
    ((600, 3, 32, 32), (600, 4, 6), 10)
    """
    named(SOURCES, name)
    return _scenes(size) if name == "scenes" else _load(size, root())
