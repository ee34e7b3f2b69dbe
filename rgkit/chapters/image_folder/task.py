"""Folders of images, a folder a class, and a step on them that several processes share.

They are ImageNet, where a user has it, and stand-ins for it. Every image is cropped and mirrored by
draws that belong to its seed, epoch and number, so neither the number of processes nor that of the
loader's workers changes what a network sees.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from joblib import cpu_count
from PIL import Image
from torch import Tensor, distributed, nn
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from rgkit.chapters.image_folder import SOURCES, Folders, ImageFolder
from rgkit.data.augment import Plan
from rgkit.data.compat import import_torchvision
from rgkit.data.images import load
from rgkit.data.source import IMAGENET, DataError, drawn, root
from rgkit.models.classification import build
from rgkit.train.device import DTYPES
from rgkit.train.loop import Splits, Task
from rgkit.train.step import PlainStep, classify, forward

import_torchvision()
from torchvision import datasets  # noqa: E402
from torchvision.transforms import v2  # noqa: E402

CPU = torch.device("cpu")
MARGIN = 8 / 7  # a test image is scaled to this times what is cut out of its middle
TOP = 5


@functools.cache
def _made(name: str, size: int) -> Path:
    """Write a stand-in, once for all processes, and return its folder."""
    source = SOURCES[name]
    side = round(size * MARGIN) if source.embedded else 32
    own = f"rgkit-{os.getuid()}-{source.known}-{side}-{source.sizes[0]}"
    folder = Path(tempfile.gettempdir(), own)
    if folder.is_dir():
        return folder
    if source.embedded:
        parts = drawn(source, "labels", side)
    else:
        whole = load("cifar10")
        parts = whole.train, whole.test
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        made = Path(scratch, "made")
        for split, count, part in zip(("train", "val"), source.sizes, parts, strict=True):
            for number in range(count):
                place = made / split / source.classes[part.targets[number]]
                place.mkdir(parents=True, exist_ok=True)
                image = Image.fromarray(part.images[number].transpose(1, 2, 0))
                image.save(place / f"{number:05}.png")
        with contextlib.suppress(OSError):  # another process was first
            made.rename(folder)
    return folder


class Folder(datasets.ImageFolder):  # type: ignore[misc]  # torchvision has no types
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
    samples: list[tuple[str, int]]

    def __init__(
        self, name: str, split: str, size: int, count: int = 0, seed: int = 0,
        where: torch.device = CPU,
    ) -> None:  # fmt: skip
        self.seed, self.where, source = seed, where, SOURCES[name]
        whole = root() / name if isinstance(source, Folders) else _made(name, size)
        folder = whole / split
        try:
            super().__init__(folder)
        except OSError as error:
            raise DataError(f"{folder}: {error}; a folder of images has a folder a class") from None
        wanted = source.sizes[split == "val"]
        if len(self.samples) != wanted:
            here = f"{len(self.samples):,} images are here"
            raise DataError(f"{folder}: {here}, {name} has {wanted:,}")

        def rank(row: tuple[str, int]) -> bytes:
            return hashlib.sha256(Path(row[0]).relative_to(folder).as_posix().encode()).digest()

        self.samples = sorted(self.samples, key=rank)[: count or None]
        look = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(*IMAGENET)]
        vary = [v2.RandomResizedCrop(size, antialias=True), v2.RandomHorizontalFlip()]
        still = [v2.Resize(round(size * MARGIN), antialias=True), v2.CenterCrop(size)]
        self.varied, self.still = v2.Compose([*vary, *look]), v2.Compose([*still, *look])

    def __getitem__(self, item: tuple[int, int]) -> tuple[Tensor, int]:
        number, epoch = item
        path, label = self.samples[number]
        image = self.loader(path)
        if epoch < 0:
            return self.still(image), label
        draws = np.random.SeedSequence([self.seed, epoch, number]).generate_state(1)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(draws[0]))
            return self.varied(image), label


def place_of() -> tuple[int, int]:
    """Return the rank of this process and how many there are; (0, 1) for one alone.

    >>> place_of()
    (0, 1)
    """
    if not distributed.is_initialized():
        return 0, 1
    return distributed.get_rank(), distributed.get_world_size()


def total(values: Tensor) -> Tensor:
    """Add up a tensor over all processes, in place."""
    if place_of()[1] > 1:
        distributed.all_reduce(values)
    return values


def _splits(config: ImageFolder, where: torch.device) -> Splits:
    """Return the splits of a run: images that stay on the disk, and their paths and labels."""
    train = Folder(config.data, "train", config.size, config.images, config.seed, where)
    test = Folder(config.data, "val", config.size)
    return (train, train.samples), (test, test.samples), (test, []), len(train.classes)


def _batches(
    images: Folder, parts: Sequence[list[tuple[int, int]]], where: torch.device, dtype: torch.dtype
) -> Iterator[tuple[Tensor, Tensor]]:
    """Read the images of each part and move them to the device."""
    fast = where.type == "cuda"
    # The loader draws a number for its workers; training must not notice.
    loader: DataLoader[Any] = DataLoader(
        images, batch_sampler=list(parts), num_workers=min(8, cpu_count()) if fast else 0,
        pin_memory=fast, generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    for x, y in loader:
        moved = x.to(where, dtype, non_blocking=True, memory_format=torch.channels_last)
        yield moved, y.to(where, non_blocking=True)


class FolderStep(PlainStep):
    """The plain step, on this process's share of every batch.

    Gradients are averaged over the processes, so with equal shares the step is that of one process
    with the whole batch, but for the batch norms, which see a share.
    """

    def __init__(self, config: ImageFolder, classes: int, images: Folder) -> None:
        net = build(config.model, classes, seed=config.seed)
        super().__init__(config, net, images, images.samples)
        spread = DistributedDataParallel(self.net) if place_of()[1] > 1 else self.net
        self.losses_of = lambda net, x, y, autocast: classify(spread, x, y, autocast)

    def batches(self, plan: Plan, number: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield images and labels of this process's share of an epoch's batches."""
        rank, processes = place_of()
        epoch = -1 if self.config.augment == "none" else number
        whole = [part.tolist() for part in plan[0].split(self.config.batch)]
        parts = [[(index, epoch) for index in batch[rank::processes]] for batch in whole]
        return _batches(self.images, parts, self.images.where, DTYPES[self.config.precision])

    def epoch(
        self, plan: Plan, lr: np.ndarray, u: np.ndarray, number: int = 0
    ) -> tuple[Tensor, Tensor]:
        """Train one epoch; return losses and correct [steps] of the whole batches."""
        losses, correct = super().epoch(plan, lr, u, number)
        return total(losses) / place_of()[1], total(correct)


@torch.inference_mode()
def evaluate_folder(
    net: nn.Module, images: Folder, rows: Any, autocast: bool, batch: int = 100
) -> tuple[Tensor, ...]:
    """Return the mean loss, and in percent how often the right class is first, and in the first 5.

    Parameters
    ----------
    net : module from images to logits; it is left in evaluation mode
    images, rows : the split; each process measures its share of it
    """
    net.eval()
    rank, processes = place_of()
    one = next(net.parameters())
    mine = [(number, -1) for number in range(rank, len(images), processes)]
    parts = [mine[start : start + batch] for start in range(0, len(mine), batch)]
    sums = torch.zeros(3, dtype=torch.float64, device=one.device)
    for x, y in _batches(images, parts, one.device, one.dtype):
        logits = forward(net, x, autocast)
        loss = cross_entropy(logits.to(x.dtype), y, reduction="sum")
        hits = logits.topk(min(TOP, logits.shape[1])).indices == y[:, None]
        sums += torch.stack([loss, hits[:, 0].sum(), hits.sum()]).double()
    loss, first, five = total(sums) / len(images)
    return loss, 100 * first, 100 * five


TASK = Task(
    ("loss", "accuracy", "top5"),
    _splits,
    lambda kind, config, classes, images, rows: FolderStep(config, classes, images),
    evaluate_folder,
)
