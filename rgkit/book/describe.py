"""The box at the top of a page: what was measured, and what its numbers are worth."""

from __future__ import annotations

import html
import math

from rgkit.runs.grid import Grid
from rgkit.runs.kinds import Trained

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
            words[0] = one.scales().get(grid.profile, words[0])
            rounded = {"bfloat16": "bfloat16 where the machine is fast in it"}
            words.append(
                f"{one.model} on {images} {one.data}{one.about()}, {one.epochs} epochs, "
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
