"""Figures of detectors: the first test pictures with the boxes that each arm draws in them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from rgkit.chapters.detection import Detection, load
from rgkit.chapters.pictures import PALETTE, config_of, drawn, records_of
from rgkit.runs.records import SHOWN
from rgkit.runs.results import Results

MEASURES = {
    "test_map_11": "mean average precision, %",
    "test_loss": "test loss",
    "train_accuracy": "true boxes proposed, %",
}
SHOW = 4  # the best so many of a picture are drawn; records keep more

Found = list[list[float]]  # x1, y1, x2, y2 in parts of the picture, class, score


def true_boxes(objects: np.ndarray[Any, Any], size: int) -> Found:
    """Return objects [n, 6] as a record would have them, without the difficult ones.

    >>> true_boxes(np.array([[0.0, 0, 8, 16, 3, 0], [0, 0, 0, 0, -1, 0]]), 16)
    [[0.0, 0.0, 0.5, 1.0, 3.0, 1.0]]
    """
    kept = objects[(objects[:, 4] >= 0) & (objects[:, 5] == 0)]
    return [[*(row[:4] / size).tolist(), float(row[4]), 1.0] for row in kept]


def detections(results: Results, arms: list[str], **cell: Any) -> Figure:
    """Draw the first test pictures, the true boxes, and what each arm finds at the end of its run.

    Detections are part of a run's record, see `rgkit.chapters.detection.task`; pictures
    and true boxes appear where the data are at hand. Of each picture the best `SHOW` are drawn.

    Parameters
    ----------
    results : Results
    arms : the columns after the first, in this order
    cell : labels of the runs to show, such as ``seed=0``; ValueError where they leave more than one
        run of an arm
    """
    config = config_of(results)
    assert isinstance(config, Detection)  # no other task keeps boxes
    names, size = config.source.classes, config.size
    shades = sns.color_palette(PALETTE, len(names))
    pictures = [np.full((size, size, 3), 255, np.uint8)] * SHOWN
    columns: dict[str, list[Found]] = {}
    if config.source.available():
        true = load(config.data, size).test
        pictures = [p.transpose(1, 2, 0) for p in true.images[:SHOWN]]
        columns["truth"] = [true_boxes(rows, size) for rows in true.targets[:SHOWN]]
    for arm, record in records_of(results, arms, cell).items():
        columns[arm] = [json.loads(text)[:SHOW] for text in (record.samples if record else [])]
    figure = drawn(results, {arm: pictures[: len(rows)] for arm, rows in columns.items()})
    for place, rows in enumerate(columns.values()):
        for ax, found in zip(figure.axes[place :: len(columns)], rows, strict=False):
            for x1, y1, x2, y2, label, score in found:
                name, shade = names[int(label)], shades[int(label)]
                corner = (x1 * size - 0.5, y1 * size - 0.5)
                width, height = (x2 - x1) * size, (y2 - y1) * size
                ax.add_patch(Rectangle(corner, width, height, fill=False, ec=shade))
                words = f"{name} {score:.2f}" if score < 1 else name
                box = {"facecolor": shade, "edgecolor": "none", "pad": 0.6, "alpha": 0.8}
                ax.text(*corner, words, fontsize=5, va="bottom", bbox=box)
    return figure
