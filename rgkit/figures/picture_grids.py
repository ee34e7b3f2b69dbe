"""Grids of pictures from the samples that records keep: a row a picture, a column an arm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from rgkit.figures.style import use_style
from rgkit.runs.kinds import Config
from rgkit.runs.records import Record
from rgkit.runs.results import Results
from rgkit.runs.samples import SHOWN, unpack

Image = np.ndarray[Any, Any]  # [height, width, 3], or [height, width] for labels


def records_of(results: Results, arms: list[str], cell: dict[str, Any]) -> dict[str, Record | None]:
    """Return the record of each arm in a cell; None for one that was not run.

    Parameters
    ----------
    cell : labels of the runs to show, such as ``{"lr": 0.1, "seed": 0}``; ValueError where they
        leave more than one run of an arm
    """
    runs = results.runs
    for name, value in cell.items():
        runs = runs[runs[name] == value]
    kept = {record.key: record for record in results.records}
    found: dict[str, Record | None] = {}
    for arm in arms:
        keys = list(runs.loc[runs["arm"] == arm, "key"].dropna())
        if len(keys) > 1:
            raise ValueError(f"{cell} given; that leaves {len(keys)} runs of {arm!r}; name one")
        found[arm] = kept[keys[0]] if keys else None
    return found


def samples_of(results: Results, arms: list[str], cell: dict[str, Any]) -> dict[str, list[Image]]:
    """Return the first images that each arm keeps; none for one that diverged or is missing.

    Parameters
    ----------
    arms, cell : see `records_of`
    """
    found = records_of(results, arms, cell)
    return {
        arm: [unpack(text) for text in record.samples[:SHOWN]] if record else []
        for arm, record in found.items()
    }


def config_of(results: Results) -> Config:
    """Return the config of the first run that is recorded; ValueError if none is."""
    if not results.records:
        raise ValueError("no run is recorded, so there are no pictures to show")
    return results.records[0].config


def drawn(columns: dict[str, list[Image]], rows: Sequence[str] = ("",) * SHOWN) -> Figure:
    """Draw columns of images side by side; an empty one is titled as such.

    Parameters
    ----------
    columns : title -> images, one for each row, or none
    rows : what is written at the left of each row
    """
    use_style()
    shape = next((images[0].shape for images in columns.values() if images), (3, 4))
    size = (1.9 * len(columns), 1.9 * len(rows) * shape[0] / shape[1] + 1.0)
    figure, axes = plt.subplots(len(rows), len(columns), figsize=size, squeeze=False)
    for place, words in zip(axes[:, 0], rows, strict=True):
        at = {"transform": place.transAxes, "rotation": 90, "ha": "right", "va": "center"}
        place.text(-0.05, 0.5, words, **at)
    for places, (title, images) in zip(axes.T, columns.items(), strict=True):
        places[0].set_title(title if images else f"{title}: none")
        for place in places:
            place.set_axis_off()
        for place, image in zip(places, images, strict=False):
            place.imshow(image, interpolation="nearest")
    return figure
