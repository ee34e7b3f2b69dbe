"""Figures of the chapters on image translation."""

from __future__ import annotations

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from rgkit.execute import Results
from rgkit.looks import use_style
from rgkit.plots import _stamp, draw_curves

WORDS = {
    "test_ssim": "SSIM, %",
    "test_psnr": "PSNR, dB",
    "test_l1": "mean absolute difference, %",
    "test_sharpness": "sharpness, % of the true pictures",
    "train_accuracy": "discriminator right, % of patches",
    "generator_step": "generator's step, in learning rates",
}


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
