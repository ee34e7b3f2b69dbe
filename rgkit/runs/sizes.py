"""How much each task measures in each profile: networks, data and lengths."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rgkit import data
from rgkit.data import layouts, pairs
from rgkit.runs.kinds import (
    Classification,
    Detection,
    ImageFolder,
    Segmentation,
    Trained,
    Translation,
)

# Training images that are held out where a setting is to be chosen on them.
HELD_OUT = {"smoke": 128, "quick": 5_000, "short": 5_000, "paper": 5_000, "embedded": 300}


@dataclass(frozen=True)
class Sizes:
    """How much a task measures in each profile.

    Attributes
    ----------
    plain : the run whose settings hold unless a profile has others
    profiles : what each has on top
    embedded : what `quick` becomes where its data are neither recorded nor at hand
    held : images held out where a setting is to be chosen on them
    here : whether the data of `quick` are at hand
    missing : what a page says where they are not
    """

    plain: Trained
    profiles: Mapping[str, dict[str, Any]]
    embedded: dict[str, Any]
    held: Mapping[str, int]
    here: Callable[[], bool]
    missing: str


IMAGES = Sizes(
    Classification(),
    {
        "smoke": {
            "data": "digits", "images": 256, "model": "resnet8(4)", "epochs": 2, "batch": 32,
            "augment": "crop",
        },
        "quick": {"images": 20_000, "model": "resnet8(16)", "epochs": 10},
        "short": {"epochs": 30},
        "paper": {},
    },
    {"data": "digits", "images": 0, "augment": "crop"},
    HELD_OUT,
    lambda: data.available("cifar10"),
    "embedded data, because CIFAR-10 is not at hand (rgkit data get cifar10)",
)  # fmt: skip
PICTURES = Sizes(
    Segmentation(),
    {
        "smoke": {
            "data": "scenes", "images": 24, "size": 16, "model": "pspnet('resnet18', 4)",
            "epochs": 2, "batch": 8,
        },
        "quick": {
            "data": "camvid", "size": 48, "model": "pspnet('resnet18', 16)", "epochs": 20,
            "batch": 8,
        },
        "short": {"data": "camvid", "size": 360, "model": "pspnet('resnet50')", "epochs": 60},
        "paper": {},
    },
    {"data": "scenes", "size": 32},
    {"smoke": 20, "quick": 60, "short": 60, "paper": 200, "embedded": 60},
    lambda: layouts.available("camvid"),
    "embedded scenes, because CamVid is not at hand (SegNet's layout, under RGKIT_DATA)",
)  # fmt: skip
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
        "paper": {},
    },
    {"data": "scenes"},
    {"smoke": 0, "quick": 0, "short": 0, "paper": 0, "embedded": 0},
    lambda: data.available("cifar10"),
    "embedded scenes, because CIFAR-10 is not at hand (rgkit data get cifar10)",
)  # fmt: skip
# At `quick` the networks keep their proportions to the picture: six levels for 64 pixels, and 16x16
# judgements that each see a third of its width, as those of RG's code do at 256.
PAIRS = Sizes(
    Translation(),
    {
        "smoke": {
            "data": "scenes", "images": 24, "size": 16, "model": "unet(3, 4)",
            "judge": "halving(2, 4)", "epochs": 2, "batch": 8,
        },
        "quick": {
            "data": "maps-200", "size": 64, "model": "unet(6, 16)", "judge": "halving(2, 16)",
            "epochs": 20, "batch": 8,
        },
        "short": {"data": "maps-200", "epochs": 40, "batch": 8},
        "paper": {},
    },
    # Of scenes only this direction can be learned: the colours of a label map tell no picture.
    {"data": "scenes", "direction": "a_to_b"},
    {"smoke": 20, "quick": 100, "short": 100, "paper": 100, "embedded": 60},
    lambda: pairs.available("maps-200"),
    "embedded scenes, because maps is not at hand (pix2pix's folder, under RGKIT_DATA)",
)  # fmt: skip
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
        "paper": {},
    },
    {},
    {"smoke": 20, "quick": 100, "short": 500, "paper": 500, "embedded": 100},
    lambda: True,
    "",
)  # fmt: skip
