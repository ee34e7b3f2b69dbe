"""Figures of networks that label pixels: pictures under the labels that each arm gives them."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from rgkit.config import Segmentation
from rgkit.data import DataError, layouts, masks
from rgkit.data.scenes import CLASSES
from rgkit.execute import Results
from rgkit.iou import VOID
from rgkit.looks import use_style
from rgkit.samples import unpack

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


def classes_of(data: str) -> tuple[str, ...]:
    """Return the names of a set's classes, in the order of its labels, without its files.

    >>> classes_of("camvid")[:2]
    ('sky', 'building')
    """
    return ("background", *CLASSES) if data == "scenes" else layouts.LAYOUTS[data].classes


def _truth(config: Segmentation) -> masks.MaskSet | None:
    """The pictures and their masks, or None where these very data are not at hand."""
    try:
        return masks.load(config.data, config.size) if layouts.available(config.data) else None
    except DataError:  # another copy of the set, with other pixels
        return None


def overlays(results: Results, arms: list[str], **cell: Any) -> Figure:
    """Draw the first test pictures, their masks, and what each arm labels at the end of its run.

    Labels are part of a run's record; pictures and true masks appear where the data are at hand.

    Parameters
    ----------
    results : Results
    arms : the columns, in this order
    cell : labels of the runs to show, such as ``lr=0.1, seed=0``; ValueError where they leave no
        run of an arm, or more than one
    """
    use_style()
    kept = {record.key: record for record in results.records}
    runs = results.runs
    for name, value in cell.items():
        runs = runs[runs[name] == value]
    chosen = {}
    for arm in arms:
        keys = [k for k in runs.loc[runs["arm"] == arm, "key"].dropna() if kept[k].samples]
        if len(keys) != 1:
            raise ValueError(f"{cell} given: {len(keys)} runs of {arm!r} have samples; name one")
        chosen[arm] = kept[keys[0]]
    config = next(iter(chosen.values())).config
    assert isinstance(config, Segmentation)  # no other task keeps label maps
    names, true = classes_of(config.data), _truth(config)
    shades = colours(len(names))
    maps = {arm: [unpack(text) for text in record.samples] for arm, record in chosen.items()}
    count, (height, width) = len(maps[arms[0]]), maps[arms[0]][0].shape
    titles = [*(["picture", "truth"] if true else []), *arms]
    size = (1.9 * len(titles), 1.9 * count * height / width + 1.0)
    figure, axes = plt.subplots(count, len(titles), figsize=size, squeeze=False)
    for row in range(count):
        picture = true.test_images[row] if true else None
        shown = [tinted(maps[arm][row], shades, picture) for arm in arms]
        if true is not None and picture is not None:
            truth = tinted(true.test_masks[row], shades, picture)
            shown = [picture.transpose(1, 2, 0) / 255, truth, *shown]
        for place, image, title in zip(axes[row], shown, titles, strict=True):
            place.imshow(image, interpolation="nearest")
            place.set_axis_off()
            if row == 0:
                place.set_title(title)
    patches = [Patch(color=shade, label=name) for name, shade in zip(names, shades, strict=True)]
    figure.legend(handles=patches, ncols=6, loc="outside lower center", fontsize="small")
    return figure
