"""Figures of networks that label pixels: pictures under the labels that each arm gives them."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from rgkit.chapters.pictures import Image, config_of, drawn, samples_of
from rgkit.data.pictures import load_masks
from rgkit.data.scenes import VOID
from rgkit.data.source import DataError
from rgkit.runs.config import Segmentation
from rgkit.runs.records import SHOWN
from rgkit.runs.results import Results

PALETTE = "tab20"  # twenty colours; VOC's 21st class repeats the first, its background
STRENGTH = 0.6  # of the labels over the picture


def colours(classes: int) -> np.ndarray[Any, Any]:
    """Return a colour for each class, float [classes, 3] from 0 to 1.

    >>> colours(11).shape
    (11, 3)
    """
    return np.array([plt.get_cmap(PALETTE)(k % 20)[:3] for k in range(classes)])


def tinted(
    labels: np.ndarray[Any, Any], shades: np.ndarray[Any, Any], picture: np.ndarray[Any, Any] | None
) -> np.ndarray[Any, Any]:
    """Return labels [height, width] in colour, over a grey picture where there is one; void white.

    >>> tinted(np.array([[0, 255]]), colours(1), None).round(1).tolist()
    [[[0.1, 0.5, 0.7], [1.0, 1.0, 1.0]]]
    """
    void = labels == VOID
    found = shades[np.where(void, 0, labels)]
    found[void] = 1.0
    if picture is None:
        return found
    grey = picture.astype(float).mean(0) / 255
    mixed: np.ndarray[Any, Any] = STRENGTH * found + (1 - STRENGTH) * grey[..., None]
    return mixed


def overlays(results: Results, arms: list[str], **cell: Any) -> Figure:
    """Draw the first test pictures, their masks, and what each arm labels at the end of its run.

    Labels are part of a run's record; pictures and true masks appear where the data are at hand. An
    arm that diverged or was not run has an empty column.

    Parameters
    ----------
    results : Results
    arms : the columns, in this order
    cell : labels of the runs to show, such as ``lr=0.1, seed=0``; ValueError where they leave more
        than one run of an arm
    """
    maps = samples_of(results, arms, cell)
    config = config_of(results)
    assert isinstance(config, Segmentation)  # no other task keeps label maps
    names, columns = config.source.classes, dict[str, list[Image]]()
    shades, pictures = colours(len(names)), list[Image | None]([None] * SHOWN)
    if config.source.available():
        with suppress(DataError):  # another copy of the set, with other pixels
            true = load_masks(config.data, config.size)
            pictures = [*true.test.images[:SHOWN]]
            columns["picture"] = [p.transpose(1, 2, 0) / 255 for p in true.test.images[:SHOWN]]
            maps = {"truth": list(true.test.targets[:SHOWN])} | maps
    for arm, own in maps.items():
        columns[arm] = [tinted(m, shades, p) for m, p in zip(own, pictures, strict=False)]
    figure = drawn(results, columns)
    patches = [Patch(color=shade, label=name) for name, shade in zip(names, shades, strict=True)]
    figure.legend(handles=patches, ncols=6, loc="outside lower center", fontsize="small")
    return figure
