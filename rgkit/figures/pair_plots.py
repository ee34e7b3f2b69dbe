"""Figures of the chapters on image translation."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from rgkit.data import pairs
from rgkit.data.source import DataError, Dataset
from rgkit.figures.picture_grids import config_of, drawn, records_of, samples_of
from rgkit.figures.plots import _stamp, draw_curves
from rgkit.figures.style import use_style
from rgkit.runs.kinds import Translation
from rgkit.runs.results import Results
from rgkit.runs.samples import SHOWN, stops, unpack

WORDS = {
    "test_ssim": "SSIM, %",
    "test_psnr": "PSNR, dB",
    "test_l1": "mean absolute difference, %",
    "test_sharpness": "sharpness, % of the true pictures",
    "train_accuracy": "discriminator right, % of patches",
    "generator_step": "generator's step, in learning rates",
}


def _truth(config: Translation) -> Dataset | None:
    """The pictures to be made and from what, or None where these very data are not at hand."""
    try:
        found = config.source.available()
        return pairs.load(config.data, config.size, 0, config.direction) if found else None
    except DataError:  # another copy of the set, with other pixels
        return None


def made(results: Results, arms: list[str], **cell: Any) -> Figure:
    """Draw the first test inputs, what each arm makes of them at the end, and the true pictures.

    What is made is part of a run's record; inputs and truth appear where the data are at hand.

    Parameters
    ----------
    results : Results
    arms, cell : see `rgkit.figures.picture_grids.samples_of`
    """
    found = samples_of(results, arms, cell)
    config = config_of(results)
    assert isinstance(config, Translation)  # no other task makes pictures
    true = _truth(config)
    if true is None:
        return drawn({**found})
    first, last = ([p.transpose(1, 2, 0) for p in side[:SHOWN]]
                   for side in (true.test.images, true.test.targets))  # fmt: skip
    return drawn({"input": first, **found, "truth": last})


def on_the_way(results: Results, arms: list[str], **cell: Any) -> Figure:
    """Draw what each arm makes of the first test input at four points of a run, a row an arm.

    Records from before this was kept have the end only; an arm without all four is left out.

    Parameters
    ----------
    arms, cell : see `rgkit.figures.picture_grids.records_of`
    """
    found = records_of(results, arms, cell)
    config = config_of(results)
    assert isinstance(config, Translation)  # no other task makes pictures
    at = [*stops(config.epochs), config.epochs]
    texts = {arm: [*r.along, *r.samples[:1]] for arm, r in found.items() if r is not None}
    whole = {arm: [unpack(text) for text in t] for arm, t in texts.items() if len(t) == len(at)}
    columns = {f"epoch {epoch}": [row[i] for row in whole.values()] for i, epoch in enumerate(at)}
    true = _truth(config)
    if true is not None:
        columns["truth"] = [true.test.targets[0].transpose(1, 2, 0)] * len(whole)
    return drawn(columns, list(whole) or [""])


def measures(results: Results) -> Figure:
    """Draw everything that is measured of the pictures, and of the two networks, over the epochs.

    Thin lines are single seeds, thick ones the mean over seeds; nothing is smoothed.
    """
    use_style()
    figure, axes = plt.subplots(2, 3, figsize=(9, 5), sharex=True, layout="constrained")
    for ax, (value, words) in zip(axes.flat, WORDS.items(), strict=True):
        draw_curves(ax, results.epochs, value)
        ax.ticklabel_format(useOffset=False)
        ax.set_title(words, fontsize=10)
    for ax in axes[1]:
        ax.set_xlabel("epoch")
    # Below: six arms would hide the curves.
    lines = axes[0][0].get_legend_handles_labels()
    figure.legend(*lines, loc="outside lower center", ncols=3, fontsize=8)
    return _stamp(figure, results)
