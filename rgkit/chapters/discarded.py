"""The chapter on the discarded scheduler in one picture."""

from __future__ import annotations

from matplotlib.figure import Figure

from rgkit.chapters.lines import grouped
from rgkit.figures.plots import draw_curves
from rgkit.figures.style import canvas, finish, looks, title
from rgkit.runs.results import Results


def answer(fixed: Results, tuned: Results) -> Figure:
    """Draw the curves of each schedule at one rate, and each arm at its own best rate.

    The last panel has the final accuracy of every run at the arm's own learning rate, with the
    mean and its 95 % interval, grouped by schedule, on a scale of its own; it is empty while no
    rate is chosen.
    """
    words = {one: title("schedule", one) for one in fixed.epochs["schedule"].unique()}
    figure, (*curves, last) = canvas(3.2, len(words) + 1, 3.4 * (len(words) + 1))
    for ax, schedule in zip(curves, words, strict=True):
        ax.sharey(curves[0])
        own = fixed.epochs[fixed.epochs["schedule"] == schedule]
        draw_curves(ax, own, "test_accuracy", looks(fixed.epochs["arm"]))
        ax.set(title=f"same rate, {words[schedule]}", xlabel="epoch", ylabel="test accuracy, %")
        ax.label_outer(remove_inner_ticks=True)
    finals = fixed.runs["final"].dropna()
    # The first epochs are far below: what is to be compared would be squeezed into a corner.
    room = finals.max() - finals.min()
    curves[0].set_ylim(finals.min() - 1.2 * room - 1, finals.max() + 0.15 * room + 0.5)
    runs = tuned.runs.dropna(subset=["final"])
    if runs.empty:
        last.text(0.5, 0.5, "not measured yet", ha="center", transform=last.transAxes)
    else:
        grouped(last, runs.assign(schedule=runs["schedule"].map(words)), "schedule", "final")
    last.set(title="each at its own best rate", ylabel="")
    return finish(figure, fixed)
