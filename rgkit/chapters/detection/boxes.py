"""Pictures with boxes around their objects: Pascal VOC 2007, embedded scenes.

All pictures of a set are brought to one square, as a whole: the overlap of two boxes does not
change where both are stretched alike, so what is measured is what it would be at full size.
"""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from rgkit.data.scenes import CLASSES, FINGERPRINT, drawn
from rgkit.data.source import DataError, Dataset, Item, Row, Source, named, opened, read, root
from rgkit.method.spec import nearest

MOST = 60  # objects in a picture: VOC 2007 has 42 at most
VOC = (
    "aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike "
    "person pottedplant sheep sofa train tvmonitor"
)


def _voc(folder: Path, split: str) -> list[Item]:
    """torchvision's layout; the lists name the pictures and their annotations."""
    base = folder / "VOCdevkit" / "VOC2007"
    names = base / "ImageSets" / "Main" / f"{'trainval' if split == 'train' else split}.txt"
    if not names.is_file():
        raise DataError(f"{names} is not there; copy the data set again")
    pictures, texts = base / "JPEGImages", base / "Annotations"
    return [(pictures / f"{n}.jpg", texts / f"{n}.xml") for n in names.read_text().split()]


SOURCES = {
    "voc2007": Source((5_011, 4_952), tuple(VOC.split()), files=_voc),
    "scenes": Source((600, 200), CLASSES, FINGERPRINT, True),
}


def read_objects(path: Path, size: int) -> NDArray[np.float32]:
    """Return the objects [MOST, 6] of one of VOC's annotations, on a square of `size` pixels.

    They are x1, y1, x2, y2, class, and 1 if difficult; the class is -1 where there is no object.
    VOC counts pixels from 1 and takes both rims in, so x1 - 1 is the left rim of a box and x2 its
    right one. Raises DataError, which names the file, for one that is missing or not readable, an
    unknown class, or a box outside of the picture.
    """
    names, rows = list(SOURCES["voc2007"].classes), []
    try:
        tree = ElementTree.parse(path).getroot()
        wide, high = (float(tree.findtext(f"size/{n}", "")) for n in ("width", "height"))
        for item in tree.iter("object"):
            name = item.findtext("name", "")
            if name not in names:
                raise DataError(f"{path} has an object of the class {name!r}{nearest(name, names)}")
            ends = (item.findtext(f"bndbox/{n}", "") for n in ("xmin", "ymin", "xmax", "ymax"))
            x1, y1, x2, y2 = (float(end) for end in ends)
            if not (1 <= x1 <= x2 <= wide and 1 <= y1 <= y2 <= high):
                box = f"{x1:g}, {y1:g}, {x2:g}, {y2:g}"
                raise DataError(f"{path} has the box {box}; the picture is {wide:g}x{high:g}")
            place = (x1 - 1) / wide, (y1 - 1) / high, x2 / wide, y2 / high
            hard = float(item.findtext("difficult", "0"))
            rows.append([*(size * part for part in place), names.index(name), hard])
    except (OSError, ElementTree.ParseError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}); copy the data set again") from error
    return np.array(rows + [[0, 0, 0, 0, -1, 0]] * (MOST - len(rows)), np.float32)


@functools.lru_cache(maxsize=2)
def _load(name: str, size: int, folder: Path) -> Dataset:
    source = SOURCES[name]
    if source.embedded:
        return Dataset(source, *drawn(source.sizes, "objects", size), source.known)

    def one(item: Item, split: str) -> Row:
        picture = opened(item[0]).convert("RGB")
        pixels = np.asarray(picture.resize((size, size))).transpose(2, 0, 1)
        return hashlib.sha256(picture.tobytes()).digest(), pixels, read_objects(item[1], size)

    return read(SOURCES, name, folder, one)


def load(name: str, size: int) -> Dataset:
    """Load a set by name, its pictures brought to a square.

    Parameters
    ----------
    name : voc2007, in torchvision's layout under the data folder, or scenes, which is embedded
    size : height and width in pixels

    Returns
    -------
    pictures uint8 [N, 3, size, size] and their objects float32 [N, most, 6], see `read_objects`

    Raises
    ------
    DataError
        Names the file that is missing, cannot be read, or says what the set does not have.

    Examples
    --------
    >>> found = load("scenes", 32)
    >>> found.train.images.shape, found.train.targets.shape, len(found.source.classes)
    ((600, 3, 32, 32), (600, 4, 6), 10)
    """
    named(SOURCES, name)
    return _load(name, size, root())
