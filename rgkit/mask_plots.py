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
from rgkit.samples import SHOWN, unpack

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


def _column(
    maps: list[np.ndarray[Any, Any]],
    shades: np.ndarray[Any, Any],
    pictures: list[np.ndarray[Any, Any] | None],
) -> list[np.ndarray[Any, Any]]:
    return [tinted(m, shades, picture) for m, picture in zip(maps, pictures, strict=False)]


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

    Labels are part of a run's record; pictures and true masks appear where the data are at hand. An
    arm that diverged or was not run has an empty column.

    Parameters
    ----------
    results : Results
    arms : the columns, in this order
    cell : labels of the runs to show, such as ``lr=0.1, seed=0``; ValueError where they leave more
        than one run of an arm
    """
    use_style()
    runs = results.runs
    for name, value in cell.items():
        runs = runs[runs[name] == value]
    kept = {record.key: record for record in results.records}
    maps: dict[str, list[np.ndarray[Any, Any]]] = {}
    for arm in arms:
        keys = runs.loc[runs["arm"] == arm, "key"].dropna()
        if len(keys) > 1:
            raise ValueError(f"{cell} given; that leaves {len(keys)} runs of {arm!r}; name one")
        maps[arm] = [unpack(text) for key in keys for text in kept[key].samples]
    config = next(iter(kept.values())).config
    assert isinstance(config, Segmentation)  # no other task keeps label maps
    names, true = classes_of(config.data), _truth(config)
    columns: dict[str, list[np.ndarray[Any, Any]]] = {}
    shades = colours(len(names))
    pictures: list[np.ndarray[Any, Any] | None] = [None] * SHOWN
    if true is not None:
        pictures = [*true.test_images[:SHOWN]]
        columns["picture"] = [p.transpose(1, 2, 0) / 255 for p in true.test_images[:SHOWN]]
        columns["truth"] = _column(list(true.test_masks[:SHOWN]), shades, pictures)
    columns |= {arm: _column(found, shades, pictures) for arm, found in maps.items()}
    shape = next((images[0].shape for images in columns.values() if images), (3, 4))
    size = (1.9 * len(columns), 1.9 * SHOWN * shape[0] / shape[1] + 1.0)
    figure, axes = plt.subplots(SHOWN, len(columns), figsize=size, squeeze=False)
    for places, (title, images) in zip(axes.T, columns.items(), strict=True):
        places[0].set_title(title if images else f"{title}: none")
        for place in places:
            place.set_axis_off()
        for place, image in zip(places, images, strict=False):
            place.imshow(image, interpolation="nearest")
    patches = [Patch(color=shade, label=name) for name, shade in zip(names, shades, strict=True)]
    figure.legend(handles=patches, ncols=6, loc="outside lower center", fontsize="small")
    return figure
