"""How much each task measures in each profile: networks, data and lengths."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rgkit.data import images, masks, pairs
from rgkit.runs.kinds import (
    Classification,
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
    lambda: images.SOURCES["cifar10"].available(),
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
    lambda: masks.SOURCES["camvid"].available(),
    "embedded scenes, because CamVid is not at hand (SegNet's layout, under RGKIT_DATA)",
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
    lambda: pairs.SOURCES["maps-200"].available(),
    "embedded scenes, because maps is not at hand (pix2pix's folder, under RGKIT_DATA)",
)  # fmt: skip
