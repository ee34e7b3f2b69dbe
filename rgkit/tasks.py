"""The tasks: what a run trains on, how a step takes its loss, and what is measured of a split."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from rgkit import data as datasets
from rgkit.config import Classification, ConfigError, Detection, Segmentation, Translation
from rgkit.data.augment import Augmenter, Boxes, Masks
from rgkit.detections import evaluate_boxes, find_objects, first_detections
from rgkit.device import DTYPES
from rgkit.folder_task import evaluate_split, folder_step, folders
from rgkit.kernel_distance import Features
from rgkit.metrics import evaluate
from rgkit.pictures import LENGTHS, MEASURED, evaluate_pairs
from rgkit.pixels import evaluate_pixels, label_pixels
from rgkit.samples import label_maps, made_pictures
from rgkit.step import PlainStep, Stepper, make_step

Split = tuple[Augmenter, Any]  # and labels [N], or masks, or the pictures to be made
Splits = tuple[Split, Split, Split, int]  # to train on, to test on, held out; how many classes


def _nothing(step: Any) -> tuple[Tensor, ...]:
    return ()


def _no_samples(net: nn.Module, images: Augmenter, labels: Any, autocast: bool) -> list[str]:
    return []


@dataclass(frozen=True)
class Task:
    """What tells one kind of training from another.

    Attributes
    ----------
    measured : names of what `evaluate` returns
    splits : from a config and a device to the data
    step : like `rgkit.step.make_step`
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
    steps: Callable[[Any], tuple[Tensor, ...]] = _nothing
    samples: Callable[[nn.Module, Augmenter, Any, bool], list[str]] = _no_samples
    options: Callable[[Any, torch.device], dict[str, Any]] = lambda config, where: {}
    along: bool = False


def _parts(data: str, count: int, held: int, total: int) -> tuple[slice, slice]:
    """Which of the training images are trained on, and which are held out: the last."""
    if count + held > total - (count == 0):
        given = f"images={count}" + (f", validation={held}" if held else "")
        raise ValueError(f"{given} given; {data} has {total:,} to train on")
    return slice(0, count or total - held), slice(total - held, total)


@functools.lru_cache(maxsize=2)
def _classified(name: str, count: int, held: int, precision: str, where: torch.device) -> Splits:
    """Images and labels on a device, kept there for the next run on them."""
    found, dtype = datasets.load(name), DTYPES[precision]
    trained, last = _parts(name, count, held, len(found.train_labels))
    splits: list[Split] = []
    for images, labels in (
        (found.train_images[trained], found.train_labels[trained]),
        (found.test_images, found.test_labels),
        (found.train_images[last], found.train_labels[last]),
    ):
        pixels = torch.from_numpy(images).to(where)
        side = Augmenter(pixels, found.mean, found.std, found.padding, dtype)
        splits.append((side, torch.from_numpy(labels).to(where)))
    return splits[0], splits[1], splits[2], found.classes


@functools.lru_cache(maxsize=2)
def _masked(
    name: str, size: int, margin: int, count: int, held: int, precision: str, where: torch.device
) -> Splits:
    """Images and masks on a device, kept there for the next run on them."""
    from rgkit.data import masks

    found, dtype = masks.load(name, size, margin), DTYPES[precision]
    trained, last = _parts(name, count, held, len(found.train_masks))
    splits: list[Split] = []
    for images, labels in (
        (found.train_images[trained], found.train_masks[trained]),
        (found.test_images, found.test_masks),
        (found.train_images[last], found.train_masks[last]),
    ):
        pixels, numbers = torch.from_numpy(images).to(where), torch.from_numpy(labels).to(where)
        real = found.margin > 0
        side = Augmenter(pixels, found.mean, found.std, margin, dtype, margin=real)
        splits.append((side, Masks(numbers, margin, real)))
    return splits[0], splits[1], splits[2], len(found.classes)


@functools.lru_cache(maxsize=2)
def _paired(
    name: str, size: int, margin: int, direction: str, count: int, held: int, precision: str,
    where: torch.device,
) -> Splits:  # fmt: skip
    """Inputs and targets on a device, between -1 and 1, kept there for the next run on them."""
    from rgkit.data import pairs

    found, dtype = pairs.load(name, size, margin, direction), DTYPES[precision]
    trained, last = _parts(name, count, held, len(found.train_inputs))
    splits: list[Split] = []
    for inputs, targets, spare in (
        (found.train_inputs[trained], found.train_targets[trained], margin),
        (found.test_inputs, found.test_targets, 0),
        (found.train_inputs[last], found.train_targets[last], margin),
    ):
        middle = (0.5,) * 3, (0.5,) * 3
        sides = [
            Augmenter(torch.from_numpy(p).to(where), *middle, spare, dtype, margin=True)
            for p in (inputs, targets)
        ]
        splits.append((sides[0], sides[1]))
    return splits[0], splits[1], splits[2], 0


@functools.lru_cache(maxsize=2)
def _boxed(
    name: str, size: int, count: int, held: int, precision: str, where: torch.device
) -> Splits:
    """Images and the boxes of their objects on a device, kept there for the next run on them."""
    from rgkit.data import boxes

    found, dtype = boxes.load(name, size), DTYPES[precision]
    trained, last = _parts(name, count, held, len(found.train_images))
    splits: list[Split] = []
    for images, objects in (
        (found.train_images[trained], found.train_objects[trained]),
        (found.test_images, found.test_objects),
        (found.train_images[last], found.train_objects[last]),
    ):
        side = Augmenter(torch.from_numpy(images).to(where), found.mean, found.std, 0, dtype)
        splits.append((side, Boxes(torch.from_numpy(objects).to(where, dtype), size)))
    return splits[0], splits[1], splits[2], len(found.classes)


def _images(config: Classification, where: torch.device) -> Splits:
    return _classified(config.data, config.images, config.validation, config.precision, where)


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
    from rgkit.adversarial import PairStep

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
    # Channels last, torch 2.13 writes past its memory: the backward pass of a 1x1 convolution of 8
    # channels with stride 2 on 64 pixels, on a CPU. See tests/test_detection.py.
    step.net.to(memory_format=torch.contiguous_format)
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
