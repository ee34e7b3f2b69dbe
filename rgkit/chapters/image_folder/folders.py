"""Folders of images, a folder a class: ImageNet where a user has it, and stand-ins for it.

Every image is cropped and mirrored by draws that belong to its seed, epoch and number, so neither
the number of processes nor that of the loader's workers changes what a network sees.
"""

from __future__ import annotations

import functools
import hashlib
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rgkit.chapters.image_folder import KINDS, SOURCES, STAND_INS
from rgkit.data.images import load
from rgkit.data.source import IMAGENET, DataError, root
from rgkit.data.vision import import_torchvision

import_torchvision()
from torchvision.datasets.folder import find_classes, make_dataset, pil_loader  # noqa: E402
from torchvision.transforms import v2  # noqa: E402

CPU = torch.device("cpu")
MARGIN = 8 / 7  # a test image is scaled to this times what is cut out of its middle


def _pictures(name: str, split: str, size: int) -> tuple[Any, Any, tuple[str, ...]]:
    """Return images [n, 3, height, width] and labels of a stand-in, and its classes by name."""
    first = SOURCES[name].sizes[0 if split == "train" else 1]
    if name == "scenes":
        from rgkit.data.scenes import CLASSES, scenes

        made = scenes(first, round(size * MARGIN), split="train" if split == "train" else "test")
        return made.images, made.labels, CLASSES
    found = load(STAND_INS[name])
    images, labels = found.train if split == "train" else found.test
    return images[:first], labels[:first], found.source.classes


@functools.cache
def _made(name: str, size: int) -> Path:
    """Write a stand-in, once for all processes, and return its folder."""
    from PIL import Image

    source, (train, _) = STAND_INS[name], SOURCES[name].sizes
    side = f"-{round(size * MARGIN)}" if source == "scenes" else ""
    folder = Path(tempfile.gettempdir(), f"rgkit-{os.getuid()}-{SOURCES[name].known}{side}-{train}")
    if folder.is_dir():
        return folder
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        for split in ("train", "val"):
            images, labels, classes = _pictures(name, split, size)
            for number, (image, label) in enumerate(zip(images, labels, strict=True)):
                place = Path(scratch, "made", split, classes[label])
                place.mkdir(parents=True, exist_ok=True)
                Image.fromarray(image.transpose(1, 2, 0)).save(place / f"{number:05}.png")
        try:
            os.rename(Path(scratch, "made"), folder)
        except OSError:  # another process was first
            if not folder.is_dir():
                raise
    return folder


class Folder(torch.utils.data.Dataset[tuple[Tensor, int]]):
    """The images of one split, read when they are asked for.

    An item is asked for by its number and an epoch; the epoch -1 is the image as it is tested.

    Parameters
    ----------
    name : of the set
    split : "train" or "val"
    size : what a network sees, in pixels
    count : the first so many, in the order of a hash of their paths; 0 is all
    seed : of the crops and mirrors
    where : the device of the network that is trained on them; the images stay on the disk

    Raises
    ------
    DataError
        Names the folder that is missing or empty, or says how many images are missing.

    Examples
    --------
    >>> image, label = Folder("scenes", "val", 28)[0, -1]
    >>> image.shape, 0 <= label < 10
    (torch.Size([3, 28, 28]), True)
    """

    padding = 0

    def __init__(
        self,
        name: str,
        split: str,
        size: int,
        count: int = 0,
        seed: int = 0,
        where: torch.device = CPU,
    ) -> None:
        self.where = where
        folder = (_made(name, size) if name in STAND_INS else root() / name) / split
        try:
            self.classes, numbers = find_classes(str(folder))
            found = make_dataset(str(folder), numbers, extensions=KINDS)
        except (OSError, FileNotFoundError) as error:
            raise DataError(f"{folder}: {error}; a folder of images has a folder a class") from None
        wanted = SOURCES[name].sizes[0 if split == "train" else 1]
        if len(found) != wanted:
            raise DataError(f"{folder}: {len(found):,} images are here, {name} has {wanted:,}")
        ranked = sorted((Path(p).relative_to(folder).as_posix(), p, k) for p, k in found)
        ranked.sort(key=lambda row: hashlib.sha256(row[0].encode()).digest())
        self.rows, self.seed = [(p, k) for _, p, k in ranked[: count or None]], seed
        look = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(*IMAGENET)]
        vary = [v2.RandomResizedCrop(size, antialias=True), v2.RandomHorizontalFlip()]
        still = [v2.Resize(round(size * MARGIN), antialias=True), v2.CenterCrop(size)]
        self.varied, self.still = v2.Compose([*vary, *look]), v2.Compose([*still, *look])

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, item: tuple[int, int]) -> tuple[Tensor, int]:
        number, epoch = item
        path, label = self.rows[number]
        image = pil_loader(path)
        if epoch < 0:
            return self.still(image), label
        draws = np.random.SeedSequence([self.seed, epoch, number]).generate_state(1)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(draws[0]))
            return self.varied(image), label
