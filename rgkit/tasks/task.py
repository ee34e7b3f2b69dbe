"""The tasks: what a run trains on, how a step takes its loss, and what is measured of a split."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rgkit import data as datasets
from rgkit.data.augment import Augmenter, Boxes, Masks
from rgkit.runs.kinds import Classification, ConfigError, Detection, Segmentation, Translation
from rgkit.tasks.detections import evaluate_boxes, find_objects, first_detections
from rgkit.tasks.folder_task import evaluate_split, folder_step, folders
from rgkit.tasks.kernel_distance import Features
from rgkit.tasks.metrics import evaluate
from rgkit.tasks.pictures import LENGTHS, MEASURED, evaluate_pairs
from rgkit.tasks.pixels import evaluate_pixels, label_pixels
from rgkit.tasks.samples import label_maps, made_pictures
from rgkit.train.device import DTYPES
from rgkit.train.step import PlainStep, Stepper, make_step

Split = tuple[Augmenter, Any]  # and labels [N], or masks, or the pictures to be made
Splits = tuple[Split, Split, Split, int]  # to train on, to test on, held out; how many classes


@dataclass(frozen=True)
class Task:
    """What tells one kind of training from another.

    Attributes
    ----------
    measured : names of what `evaluate` returns
    splits : from a config and a device to the data
    step : like `rgkit.train.step.make_step`
    evaluate : from a network, a split and whether to autocast to float64 tensors of shape []
    own : names of what `steps` returns
    steps : from the stepper, after an epoch, to float64 tensors of shape []
    samples : like `evaluate`, at the end of a run, to texts that the record keeps
    along : whether the first of them is kept on the way, too
    options : from a config and a device to what else `evaluate` is given after the last epoch, for
        what would cost too much after each
    """

    measured: tuple[str, ...]
    splits: Callable[[Any, torch.device], Splits]
    step: Callable[..., Stepper]
    evaluate: Callable[..., tuple[Tensor, ...]]
    own: tuple[str, ...] = ()
    steps: Callable[[Any], tuple[Tensor, ...]] = lambda step: ()
    samples: Callable[..., list[str]] = lambda net, images, labels, autocast: []
    options: Callable[[Any, torch.device], dict[str, Any]] = lambda config, where: {}
    along: bool = False


def _parts(data: str, count: int, held: int, total: int) -> tuple[slice, slice]:
    """Which of the training images are trained on, and which are held out: the last."""
    if count + held > total - (count == 0):
        given = f"images={count}" + (f", validation={held}" if held else "")
        raise ValueError(f"{given} given; {data} has {total:,} to train on")
    return slice(0, count or total - held), slice(total - held, total)


def _splits(
    data: str,
    count: int,
    held: int,
    where: torch.device,
    train: tuple[np.ndarray, np.ndarray],
    test: tuple[np.ndarray, np.ndarray],
    made: Callable[[Tensor, Tensor], Split],
) -> tuple[Split, Split, Split]:
    """Bring pictures and what belongs to them to a device: to train on, to test on, held out."""
    trained, last = _parts(data, count, held, len(train[0]))
    parts = [tuple(half[trained] for half in train), test, tuple(half[last] for half in train)]
    first, second, third = (made(*(torch.from_numpy(h).to(where) for h in part)) for part in parts)
    return first, second, third


# Each keeps what it loaded on the device, for the next run on it.
@functools.lru_cache(maxsize=2)
def _classified(
    name: str, reflect: int, count: int, held: int, precision: str, where: torch.device
) -> Splits:
    found = datasets.load(name)

    def made(images: Tensor, labels: Tensor) -> Split:
        look = found.mean, found.std, reflect or found.padding, DTYPES[precision]
        return Augmenter(images, *look, reflect=reflect > 0), labels

    train, test = (found.train_images, found.train_labels), (found.test_images, found.test_labels)
    return *_splits(name, count, held, where, train, test, made), found.classes


@functools.lru_cache(maxsize=2)
def _masked(
    name: str, size: int, margin: int, count: int, held: int, precision: str, where: torch.device
) -> Splits:
    from rgkit.data import masks

    found = masks.load(name, size, margin)
    real = found.margin > 0

    def made(images: Tensor, labels: Tensor) -> Split:
        look = found.mean, found.std, margin, DTYPES[precision], real
        return Augmenter(images, *look), Masks(labels, margin, real)

    train, test = (found.train_images, found.train_masks), (found.test_images, found.test_masks)
    return *_splits(name, count, held, where, train, test, made), len(found.classes)


@functools.lru_cache(maxsize=2)
def _paired(
    name: str, size: int, margin: int, direction: str, count: int, held: int, precision: str,
    where: torch.device,
) -> Splits:  # fmt: skip
    """Inputs and targets between -1 and 1."""
    from rgkit.data import pairs

    found = pairs.load(name, size, margin, direction)

    def made(inputs: Tensor, targets: Tensor) -> Split:
        spare = (inputs.shape[-1] - size) // 2  # pictures to test on have no margin
        look = (0.5,) * 3, (0.5,) * 3, spare, DTYPES[precision], True
        return Augmenter(inputs, *look), Augmenter(targets, *look)

    train = found.train_inputs, found.train_targets
    test = found.test_inputs, found.test_targets
    return *_splits(name, count, held, where, train, test, made), 0


@functools.lru_cache(maxsize=2)
def _boxed(
    name: str, size: int, count: int, held: int, precision: str, where: torch.device
) -> Splits:
    from rgkit.data import boxes

    found, dtype = boxes.load(name, size), DTYPES[precision]

    def made(images: Tensor, objects: Tensor) -> Split:
        return Augmenter(images, found.mean, found.std, 0, dtype), Boxes(objects.to(dtype), size)

    train = found.train_images, found.train_objects
    test = found.test_images, found.test_objects
    return *_splits(name, count, held, where, train, test, made), len(found.classes)


def _images(c: Classification, where: torch.device) -> Splits:
    return _classified(c.data, c.reflect, c.images, c.validation, c.precision, where)


def _pictures(config: Segmentation, where: torch.device) -> Splits:
    margin = config.size // 8 if "crop" in config.augment else 0  # how far a crop can move
    count, held = config.images, config.validation
    return _masked(config.data, config.size, margin, count, held, config.precision, where)


def _pairs(config: Translation, where: torch.device) -> Splits:
    from rgkit.data.pairs import margin_of

    margin = margin_of(config.size) if "crop" in config.augment else 0
    return _paired(
        config.data, config.size, margin, config.direction, config.images, config.validation,
        config.precision, where,
    )  # fmt: skip


def _objects(c: Detection, where: torch.device) -> Splits:
    return _boxed(c.data, c.size, c.images, c.validation, c.precision, where)


def _pixel_step(
    kind: str, config: Segmentation, classes: int, images: Augmenter, masks: Masks, place: int = 0
) -> Stepper:
    """Return the plain step: the captured one is for classification."""
    if kind not in ("auto", "plain"):
        raise ValueError(f"step={kind!r} given with segmentation; use 'plain'")
    from rgkit.models.segmentation import build, find_weights

    if config.network().name == "pspnet" and len(masks) % config.batch == 1:
        raise ConfigError(
            f"batch={config.batch} given; the last batch of {len(masks):,} images would be a "
            "single one, of which PSPNet's norms cannot take a mean"
        )
    weights = find_weights(config.weights) if config.weights else None
    net = build(config.model, classes, seed=config.seed, weights=weights)
    return PlainStep(config, net, images, masks, label_pixels)


def _pair_step(
    kind: str, config: Translation, classes: int, inputs: Augmenter, targets: Augmenter,
    place: int = 0,
) -> Stepper:  # fmt: skip
    """Return the plain step of two networks: the captured one is for classification."""
    if kind not in ("auto", "plain"):
        raise ValueError(f"step={kind!r} given with translation; use 'plain'")
    from rgkit.tasks.adversarial import PairStep

    return PairStep(config, inputs, targets)


def _box_step(
    kind: str, config: Detection, classes: int, images: Augmenter, objects: Boxes, place: int = 0
) -> Stepper:
    """Return the plain step: the captured one is for classification."""
    if kind not in ("auto", "plain"):
        raise ValueError(f"step={kind!r} given with detection; use 'plain'")
    from rgkit.models.detection import build

    own = {"size": config.size, "head": config.head, "proposals": config.proposals}
    net = build(config.model, classes, seed=config.seed, **own)
    step = PlainStep(config, net, images, objects, find_objects)
    # As its records were made. With the channels last each number rounds differently, and so other
    # regions are drawn; it would be no faster.
    step.net.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    return step


TASKS = {
    "classification": Task(("loss", "accuracy"), _images, make_step, evaluate),
    "detection": Task(
        ("loss", "map_11", "map_area"), _objects, _box_step, evaluate_boxes,
        samples=first_detections,
    ),
    "image-folder": Task(("loss", "accuracy", "top5"), folders, folder_step, evaluate_split),
    "segmentation": Task(
        ("loss", "accuracy", "miou", "miou_of_images"), _pictures, _pixel_step, evaluate_pixels,
        samples=label_maps,
    ),
    "translation": Task(
        MEASURED, _pairs, _pair_step, evaluate_pairs, LENGTHS, operator.attrgetter("lengths"),
        made_pictures, lambda config, where: {"features": Features(config.features, where)},
        along=True,
    ),
}  # fmt: skip
