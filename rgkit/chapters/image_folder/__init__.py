"""Training on folders of images, a folder a class: the recipe of Calibrated SGD's Table 3."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from rgkit.data import images
from rgkit.data.source import Source
from rgkit.method.spec import number, one_of
from rgkit.runs.config import Trained
from rgkit.runs.grid import Grid
from rgkit.runs.profiles import Sizes, trained

EVERY_15_OF_120 = tuple(k / 8 for k in range(1, 8))


class Folders(Source):
    """ImageNet in torchvision's layout: imagenet/train and imagenet/val, a folder a class."""

    def lines(self, folder: Path) -> list[str]:
        """Return the classes and how many images each has."""
        splits = (folder / "imagenet" / split for split in ("train", "val"))
        places = [place for split in splits for place in split.iterdir() if place.is_dir()]
        return sorted(f"{p.parent.name}/{p.name} {len([*p.glob('[!.]*')])}" for p in places)


# Of what stands in for ImageNet, the first images are written as ImageNet is.
SOURCES = {
    "imagenet": Folders((1_281_167, 50_000), images.numbered(1_000)),
    "cifar10-5000": replace(images.SOURCES["cifar10"], sizes=(5_000, 1_000)),
    "scenes": replace(images.SOURCES["scenes"], sizes=(2_000, 500)),
}


class ImageFolder(Trained):
    """One training run of a classifier on folders of images; for its settings see `Trained`.

    The defaults are the paper's (CSGD section 4.3): ImageNet, ResNet-18, 120 epochs, the learning
    rate 0.1 divided by ten every 15 of them. For `data` see `rgkit.chapters.image_folder.task`.
    No images can be held out. `augment` is "crop+flip", where a crop is random in place, size and
    shape, or "none".

    Parameters
    ----------
    size : int
        Height and width in pixels of what the network sees.
    processes : int
        Processes, a GPU each, that share each batch; `torchrun` starts them. Part of the config,
        because a batch norm sees the share of its process only.

    Examples
    --------
    >>> ImageFolder(processes=8).steps, ImageFolder().chance, ImageFolder(data="scenes").chance
    (600600, 0.1, 10.0)
    """

    task: ClassVar[str] = "image-folder"
    code: ClassVar[str] = "rgkit.chapters.image_folder.task"
    sources: ClassVar[Mapping[str, Source]] = SOURCES
    data: str = "imagenet"
    model: str = "large_resnet"
    epochs: int = 120
    batch: int = 256
    momentum: float = 0.9
    schedule: str = f"step(0.1, {EVERY_15_OF_120})"
    augment: str = one_of("crop+flip", "none")
    size: int = number(224, 8)
    processes: int = number(1, 1)

    def __post_init__(self) -> None:
        super().__post_init__()
        wanted = "a network that needs no images before it is trained"
        self.require(self.network().name != "airbench", wanted, "model")
        self.require(self.validation == 0, "0; none are held out here", "validation")
        last = self.trained_on % self.batch or self.batch
        enough = f"one whose last batch, here of {last}, has two images for each process"
        self.require(last >= 2 * self.processes, enough, "batch")


KIND = ImageFolder

# ImageNet may not be passed on and takes days: a laptop sees the recipe at work on a stand-in, a
# part of CIFAR-10 that is written to the disk as ImageNet is.
FOLDERS = Sizes(
    ImageFolder(),
    {
        "smoke": {
            "data": "scenes", "images": 48, "size": 16, "model": "resnet8(4)", "epochs": 2,
            "batch": 16,
        },
        "quick": {
            "data": "cifar10-5000", "size": 28, "model": "resnet8(8)", "epochs": 24, "batch": 64,
        },
        "short": {"epochs": 24},
    },
    {"data": "scenes"},
    {"smoke": 0, "quick": 0, "short": 0, "paper": 0, "embedded": 0},
    "embedded scenes, because CIFAR-10 is not at hand (rgkit data get cifar10)",
)  # fmt: skip


def grid(profile: str, **options: Any) -> Grid:
    """Return the grid of a notebook that trains on folders of images; for options see `trained`.

    >>> found = grid("smoke", arm=["plain"], processes=[1, 2])
    >>> len(found), found[0].config.data, found[2].config.processes
    (4, 'scenes', 2)
    """
    return trained(FOLDERS, profile, **options)
