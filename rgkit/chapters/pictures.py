"""Figures of what networks make of pictures, or label in them: the samples that records keep."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from rgkit.data.pictures import load_masks, load_pairs
from rgkit.data.scenes import VOID
from rgkit.data.source import DataError, Dataset, Split
from rgkit.figures.style import canvas, finish
from rgkit.runs.config import Segmentation, Trained, Translation
from rgkit.runs.records import SHOWN, Record, stops, unpack
from rgkit.runs.results import Results

Image = np.ndarray[Any, Any]  # [height, width, 3], or [height, width] for labels
PALETTE = "tab20"  # twenty colours; VOC's 21st class repeats the first, its background
STRENGTH = 0.6  # of labels over a picture
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


def config_of(results: Results) -> Trained:
    """Return the config of the first run that is recorded; ValueError if none is."""
    if not results.records:
        raise ValueError("no run is recorded, so there are no pictures to show")
    config = results.records[0].config
    assert isinstance(config, Trained)  # others keep no samples
    return config


def split_at_hand(config: Trained, load: Callable[[], Dataset]) -> Split | None:
    """Return the split that a run is tested on; None where its data are not at hand."""
    with suppress(DataError):  # another copy of the set, with other pixels
        return load().test if config.source.available() else None
    return None


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


def _pairs(results: Results) -> tuple[Translation, Split | None]:
    """The config of runs that make pictures, and the pairs that they are tested on."""
    config = config_of(results)
    assert isinstance(config, Translation)  # no other task makes pictures
    load = lambda: load_pairs(config.data, config.size, 0, config.direction)  # noqa: E731
    return config, split_at_hand(config, load)


def made(results: Results, arms: list[str], **cell: Any) -> Figure:
    """Draw the first test inputs, what each arm makes of them at the end, and the true pictures.

    What is made is part of a run's record; inputs and truth appear where the data are at hand.

    Parameters
    ----------
    arms, cell : see `samples_of`
    """
    columns = samples_of(results, arms, cell)
    _, true = _pairs(results)
    if true is not None:
        first, last = (
            [*side[:SHOWN].transpose(0, 2, 3, 1)] for side in (true.images, true.targets)
        )
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
    config, true = _pairs(results)
    at = [*stops(config.epochs), config.epochs]
    texts = {arm: [*r.along, *r.samples[:1]] for arm, r in found.items() if r is not None}
    whole = {arm: [unpack(text) for text in t] for arm, t in texts.items() if len(t) == len(at)}
    columns = {f"epoch {epoch}": [row[i] for row in whole.values()] for i, epoch in enumerate(at)}
    if true is not None:
        columns["truth"] = [true.targets[0].transpose(1, 2, 0)] * len(whole)
    return drawn(results, columns, list(whole) or [""])


def tinted(labels: Image, shades: Image, picture: Image | None) -> Image:
    """Return labels [height, width] in colour, over a grey picture where there is one; void white.

    >>> tinted(np.array([[0, 255]]), np.array([[0.1, 0.5, 0.7]]), None).tolist()
    [[[0.1, 0.5, 0.7], [1.0, 1.0, 1.0]]]
    """
    void = labels == VOID
    found = shades[np.where(void, 0, labels)]
    found[void] = 1.0
    if picture is None:
        return found
    grey = picture.astype(float).mean(0) / 255
    mixed: Image = STRENGTH * found + (1 - STRENGTH) * grey[..., None]
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
    config, maps = config_of(results), samples_of(results, arms, cell)
    assert isinstance(config, Segmentation)  # no other task keeps label maps
    names, columns = config.source.classes, dict[str, list[Image]]()
    shades = np.array(sns.color_palette(PALETTE, len(names)))
    behind: list[Image | None] = [None] * SHOWN
    true = split_at_hand(config, lambda: load_masks(config.data, config.size))
    if true is not None:
        behind = [*true.images[:SHOWN]]
        columns["picture"] = [p.transpose(1, 2, 0) / 255 for p in true.images[:SHOWN]]
        maps = {"truth": [*true.targets[:SHOWN]]} | maps
    for arm, own in maps.items():
        columns[arm] = [tinted(m, shades, p) for m, p in zip(own, behind, strict=False)]
    figure = drawn(results, columns)
    patches = [Patch(color=shade, label=name) for name, shade in zip(names, shades, strict=True)]
    figure.legend(handles=patches, ncols=6, loc="outside lower center", fontsize="small")
    return figure
