"""Figures of what networks make of pictures, from the samples that records keep."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from rgkit.data.pictures import load_pairs
from rgkit.data.source import DataError, Dataset
from rgkit.figures.style import canvas, finish
from rgkit.runs.config import Config, Translation
from rgkit.runs.records import SHOWN, Record, stops, unpack
from rgkit.runs.results import Results

Image = np.ndarray[Any, Any]  # [height, width, 3], or [height, width] for labels
TRANSLATION = {  # what is measured of made pictures, and of the two networks
    "test_ssim": "SSIM, %",
    "test_psnr": "PSNR, dB",
    "test_l1": "mean absolute difference, %",
    "test_sharpness": "sharpness, % of the true pictures",
    "train_accuracy": "discriminator right, % of patches",
    "generator_step": "generator's step, in learning rates",
}


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


def drawn(
    results: Results, columns: dict[str, list[Image]], rows: Sequence[str] = ("",) * SHOWN
) -> Figure:
    """Draw columns of images side by side; an empty one is titled as such.

    Parameters
    ----------
    results : what the images are from
    columns : title -> images, one for each row, or none
    rows : what is written at the left of each row
    """
    shape = next((images[0].shape for images in columns.values() if images), (3, 4))
    across, height = len(columns), 1.9 * shape[0] / shape[1] + 1 / len(rows)
    figure, axes = canvas(height, across, width=1.9 * across, rows=len(rows))
    for place, words in zip(axes[::across], rows, strict=True):
        at: dict[str, Any] = {"transform": place.transAxes, "ha": "right", "va": "center"}
        place.text(-0.05, 0.5, words, rotation=90, **at)
    for column, (title, images) in enumerate(columns.items()):
        places = axes[column::across]
        places[0].set_title(title if images else f"{title}: none")
        for place in places:
            place.set_axis_off()
        for place, image in zip(places, images, strict=False):
            place.imshow(image, interpolation="nearest")
    return finish(figure, results)


def _truth(results: Results) -> tuple[Translation, Dataset | None]:
    """The config of runs that make pictures, and from what; None where the data are not at hand."""
    config = config_of(results)
    assert isinstance(config, Translation)  # no other task makes pictures
    try:
        if config.source.available():
            return config, load_pairs(config.data, config.size, 0, config.direction)
    except DataError:  # another copy of the set, with other pixels
        pass
    return config, None


def made(results: Results, arms: list[str], **cell: Any) -> Figure:
    """Draw the first test inputs, what each arm makes of them at the end, and the true pictures.

    What is made is part of a run's record; inputs and truth appear where the data are at hand.

    Parameters
    ----------
    arms, cell : see `samples_of`
    """
    columns = samples_of(results, arms, cell)
    _, true = _truth(results)
    if true is not None:
        first, last = ([p.transpose(1, 2, 0) for p in side[:SHOWN]]
                       for side in (true.test.images, true.test.targets))  # fmt: skip
        columns = {"input": first, **columns, "truth": last}
    return drawn(results, columns)


def on_the_way(results: Results, arms: list[str], **cell: Any) -> Figure:
    """Draw what each arm makes of the first test input at four points of a run, a row an arm.

    Records from before this was kept have the end only; an arm without all four is left out.

    Parameters
    ----------
    arms, cell : see `records_of`
    """
    found = records_of(results, arms, cell)
    config, true = _truth(results)
    at = [*stops(config.epochs), config.epochs]
    texts = {arm: [*r.along, *r.samples[:1]] for arm, r in found.items() if r is not None}
    whole = {arm: [unpack(text) for text in t] for arm, t in texts.items() if len(t) == len(at)}
    columns = {f"epoch {epoch}": [row[i] for row in whole.values()] for i, epoch in enumerate(at)}
    if true is not None:
        columns["truth"] = [true.test.targets[0].transpose(1, 2, 0)] * len(whole)
    return drawn(results, columns, list(whole) or [""])
