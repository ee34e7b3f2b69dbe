"""Detection (CSGD Table 4): pictures with boxes, and the run that trains a detector on them.

The pictures are Pascal VOC 2007's, or embedded scenes. All of a set are brought to one square, as a
whole: the overlap of two boxes does not change where both are stretched alike, so what is measured
is what it would be at full size.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from rgkit.data.scenes import CLASSES, FINGERPRINT
from rgkit.data.source import (
    DataError,
    Dataset,
    Item,
    Row,
    Source,
    drawn,
    named,
    opened,
    read,
    root,
)
from rgkit.method.spec import nearest, number, one_of
from rgkit.models.names import GC, StagedResNet, model
from rgkit.runs.config import Trained
from rgkit.runs.grid import Grid
from rgkit.runs.profiles import Sizes, trained

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
    return [(pictures / f"{n}.jpg", texts / f"{n}.xml") for n in names.read_text("utf-8").split()]


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
        return Dataset(source, *drawn(source, "objects", size), source.known)

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


class Detection(Trained):
    """One training run of Faster R-CNN, which finds objects and names them; see `Trained`.

    The defaults are the setting of Calibrated SGD's Table 4 where it is printed: VOC 2007, batch 4,
    a learning rate of 0.004 that falls by ten after 12,500 of 17,500 steps, weight decay 5e-4. Its
    backbones were trained on ImageNet first; here they begin with fresh weights. For `data` see
    `load`. What a record calls ``train_accuracy`` is of the true boxes the percentage that some
    proposal overlaps by half.

    Parameters
    ----------
    model : str
        The backbone: ``staged_resnet(widths, blocks)``, or ``gc(...)`` of one.
    size : int
        Height and width in pixels of what the network sees.
    head : int
        Channels that the two heads see, whatever the backbone gives.
    proposals : int
        How many regions of a picture are looked at twice.

    Examples
    --------
    >>> Detection(data="scenes", size=64, head=32).measure
    'test_map_11'
    >>> Detection(model="resnet18")
    Traceback (most recent call last):
    rgkit.runs.config.ConfigError: model='resnet18' given; staged_resnet(...) or gc(...) of one
    """

    task: ClassVar[str] = "detection"
    measure: ClassVar[str] = "test_map_11"
    code: ClassVar[str] = "rgkit.chapters.detection.task"
    sources: ClassVar[Mapping[str, Source]] = SOURCES
    scales: ClassVar[Mapping[str, str]] = {
        "quick": "Profile quick: embedded scenes in the place of VOC 2007, a small network, few "
        "epochs. A direction at best.",
        "short": "Profile short: VOC 2007, smaller pictures and fresh weights.",
        "paper": "Profile paper: VOC 2007 at the paper's rates, but from fresh weights: the "
        "paper's backbones were trained on ImageNet first.",
    }
    data: str = "voc2007"
    model: str = "staged_resnet((16, 32, 64, 128, 256), (1, 2, 2, 2, 2))"
    epochs: int = 14
    batch: int = 4
    lr: float = 0.004
    momentum: float = 0.9
    weight_decay: float = 5e-4
    schedule: str = "step(0.1, (0.7143,))"
    augment: str = one_of("flip", "none")
    size: int = number(512, 32)
    head: int = number(256, 1)
    proposals: int = number(256, 8)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(self.size % 16 == 0, "a multiple of 16", "size")
        backbone = self.network()
        if isinstance(backbone, GC):
            backbone = model(backbone.base)
        wanted = "staged_resnet(...) or gc(...) of one"
        self.require(isinstance(backbone, StagedResNet), wanted, "model")

    def about(self) -> str:
        """Return the size in words."""
        return f" at {self.size} pixels"


KIND = Detection

# At `quick` the embedded scenes stand in for VOC 2007 wherever it is run. Adam, because SGD at 0.1
# found half as much in as many steps (a pilot of the plain network, one run each).
BOXES = Sizes(
    Detection(),
    {
        "smoke": {
            "data": "scenes", "images": 12, "size": 32, "model": "staged_resnet((4, 8), (1, 1))",
            "head": 8, "proposals": 8, "epochs": 2, "optimizer": "adam", "lr": 0.002,
            "precision": "float32",
        },
        "quick": {
            "data": "scenes", "size": 64, "model": "staged_resnet((8, 16, 32, 64), (1, 1, 1, 1))",
            "head": 32, "proposals": 32, "epochs": 6, "optimizer": "adam", "lr": 0.002,
            "weight_decay": 0.0, "schedule": "step", "precision": "float32",
        },
        "short": {"size": 256, "images": 1_000},
    },
    {},
    {"smoke": 20, "quick": 100, "short": 500, "paper": 500, "embedded": 100},
    "",
)  # fmt: skip


def grid(profile: str, **options: Any) -> Grid:
    """Return the grid of a notebook whose networks find objects; for the options see `trained`.

    >>> found = grid("smoke", arm=["plain", "gc(2)"])
    >>> len(found), found[0].config.data, found[0].config.task
    (4, 'scenes', 'detection')
    """
    return trained(BOXES, profile, **options)
