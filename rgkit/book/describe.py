"""The box at the top of a page: what was measured, and what its numbers are worth."""

from __future__ import annotations

import html
import math

from rgkit.data import pairs
from rgkit.runs.grid import Grid
from rgkit.runs.kinds import Detection, Segmentation, Trained, Translation

PROFILE_WORDS = {
    "smoke": "A smoke test on embedded data: it shows that every line runs. "
    "None of the numbers on this page is a result.",
    "quick": "Profile quick: a small network, few epochs.",
    "embedded": "Profile quick, but on embedded data: nothing here was measured on real ones.",
    "short": "Profile short: the paper's network and data, fewer epochs.",
    "paper": "Profile paper: the paper's own setting, as far as it is not changed below.",
    "simulation": "Simulated in this notebook; nothing is trained.",
    "audit": "Computed from the numbers that the papers print; nothing is trained.",
}

PIXEL_WORDS = {
    "short": "Profile short: a smaller network than the paper's, on CamVid.",
    "paper": "Profile paper: the paper's network and data, as far as they are not changed below.",
}

BOX_WORDS = {
    "quick": "Profile quick: embedded scenes in the place of VOC 2007, a small network, few "
    "epochs. A direction at best.",
    "short": "Profile short: VOC 2007, smaller pictures and fresh weights.",
    "paper": "Profile paper: VOC 2007 at the paper's rates, but from fresh weights: the paper's "
    "backbones were trained on ImageNet first.",
}

PAIR_WORDS = {
    "quick": "Profile quick: small pictures, narrow networks, few epochs.",
    "short": "Profile short: the paper's networks on a copy of its maps, fewer epochs.",
    "paper": PIXEL_WORDS["paper"].replace("network", "networks"),
}

RECIPE_WORDS = {
    "quick": "Profile quick: a tuned recipe on a network narrower than its own.",
    "short": "Profile short: a tuned recipe as its author has it.",
    "paper": "Profile paper: a tuned recipe as its author has it, not the setting of the paper.",
}


def describe(grid: Grid) -> str:
    """Return in words which runs a grid holds and what their numbers are worth.

    >>> from rgkit.runs.profiles import no_runs
    >>> describe(no_runs("best"))
    'Simulated in this notebook; nothing is trained.'
    """
    words = [PROFILE_WORDS[grid.profile]]
    if len(grid):
        values = {
            axis: list(
                dict.fromkeys(str(cell.labels[axis]) for cell in grid if axis in cell.labels)
            )
            for axis in grid.axes
        }
        named = [f"{axis} {{{', '.join(v)}}}" for axis, v in values.items() if v]
        # Where the axes are not all crossed, a product would be read as one.
        whole = len(grid) == math.prod(len(v) for v in values.values() if v)
        words.append(f"{len(grid)} runs: {(' × ' if whole else '; ').join(named)}.")
        one = grid[0].config
        trained = [c.config for c in grid if isinstance(c.config, Trained)]
        alike = len({(c.data, c.images, c.epochs) for c in trained}) == 1
        if isinstance(one, Trained) and alike:
            images = f"{one.images:,} images of" if one.images else "all of"
            size = ""
            if one.network().name == "airbench":
                words[0] = RECIPE_WORDS.get(grid.profile, words[0])
            if isinstance(one, Segmentation):
                words[0] = PIXEL_WORDS.get(grid.profile, words[0])
                size = f" at a height of {one.size}, {one.weights or 'fresh weights'}"
            if isinstance(one, Detection):
                words[0] = BOX_WORDS.get(grid.profile, words[0])
                size = f" at {one.size} pixels"
            if isinstance(one, Translation):
                words[0] = PAIR_WORDS.get(grid.profile, words[0])
                size = f", {pairs.words(one.data, one.direction)} at {one.size} pixels"
                size += f", compared by {one.features}" if one.features else ""
                size += f", judged by {one.judge} with {one.adversarial} + {one.lambda_l1:g} L1"
                size += f", {one.augment}"
            rounded = {"bfloat16": "bfloat16 where the machine is fast in it"}
            words.append(
                f"{one.model} on {images} {one.data}{size}, {one.epochs} epochs, "
                f"batch {one.batch}, {rounded.get(one.precision, one.precision)}."
            )
    if grid.note:
        words.append(f"({grid.note})")
    return " ".join(words)


def banner(grid: Grid) -> None:
    """Show the words of `describe`, in a box that warns where the numbers are no result."""
    from IPython.display import display

    kind = "warning" if grid.profile in ("smoke", "embedded") else "note"
    words = html.escape(describe(grid))
    # The classes are those of Sphinx's own boxes; JupyterLab shows plain paragraphs.
    title = '<p class="admonition-title">What this page shows</p>'
    box = f'<div class="admonition {kind}">{title}<p>{words}</p></div>'
    display({"text/html": box, "text/plain": describe(grid)}, raw=True)  # type: ignore[no-untyped-call]
