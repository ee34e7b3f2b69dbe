"""The figures of the quadratic laboratory: theory as lines, measurements as points.

Each function takes what was measured and returns one figure. Rates are ηh, a pure number.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from rgkit.chapters import quadratic
from rgkit.chapters.quadratic import ARMS, Array

#: One colour for each arm in every figure, distinct to colour-blind readers.
COLOURS = {"plain": "#4c4c4c", "constant 1/2": "#0072b2", "RG": "#d55e00"}
MARKERS = {"plain": "s", "constant 1/2": "^", "RG": "o"}
DASHES = {"plain": "-", "constant 1/2": "--", "RG": "-"}
RG, DARK = COLOURS["RG"], "#7a3600"  # DARK: RG's typical path or position, beside its mean
RATE = "rate ηh (learning rate × curvature)"


@contextmanager
def _canvas(
    panels: int = 1, height: float = 3.6, legend: int = 3
) -> Iterator[tuple[Figure, list[Axes]]]:
    """Open a 7.5 inch wide figure; on leaving put one legend below and close it (shown once)."""
    with mpl.rc_context():
        mpl.rcParams.update({"font.size": 10, "axes.titlesize": 10.5, "legend.fontsize": 9})
        mpl.rcParams.update({"axes.spines.top": False, "axes.spines.right": False})
        mpl.rcParams.update({"axes.grid": True, "grid.color": "#e6e6e6", "axes.axisbelow": True})
        mpl.rcParams.update(
            {"figure.facecolor": "white", "figure.dpi": 110, "lines.linewidth": 1.8}
        )
        figure, axes = plt.subplots(
            1, panels, figsize=(7.5, height), layout="constrained", squeeze=False
        )
        yield figure, list(axes[0])
        handles, labels = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=legend, frameon=False)
        plt.close(figure)


def landscape(panels: Mapping[str, Mapping[str, Array]], condition: float) -> Figure:
    """Paths [steps + 1, 2] (flat, steep) of each arm over the contours, a panel per setting."""
    flat, steep = np.meshgrid(np.linspace(-1.5, 6.5, 200), np.linspace(-1.25, 1.25, 200))
    loss, levels = (flat**2 / condition + steep**2) / 2, np.geomspace(0.002, 2, 12)
    with _canvas(len(panels), 3.8, legend=4) as (figure, axes):
        for ax, (title, paths) in zip(axes, panels.items(), strict=True):
            ax.contour(flat, steep, loss, levels, colors="#cfcfcf", linewidths=0.7)
            for arm, path in paths.items():
                ax.plot(*path.T, color=COLOURS[arm], marker=MARKERS[arm], ms=3, lw=1.1, label=arm)
            ax.plot(0, 0, marker="*", ms=12, color="black", ls="none", label="optimum")
            ax.set(title=title, xlabel="flat direction", xlim=(-1.5, 6.5), ylim=(-1.25, 1.25))
            ax.grid(visible=False)
        axes[0].set_ylabel("steep direction")
    return figure


def mean_update(curves: Mapping[str, Array]) -> Figure:
    """Mean position [steps + 1] of each arm under weight decay; the arms that agree overlap."""
    extra = {"plain, η/2, 2λ": ("#f0e442", ":"), "plain, η/2, λ": ("#009e73", "-.")}
    with _canvas(height=3.5) as (figure, (ax,)):
        for name, curve in curves.items():
            colour, dash = extra[name] if name in extra else (COLOURS[name], DASHES[name])
            width, alpha = (6.0, 0.4) if name == "RG" else (2.2, 1.0)  # a band under the others
            ax.plot(curve, color=colour, ls=dash, label=name, lw=width, alpha=alpha)
        ax.set(xlabel="step", ylabel="mean position\n(minimum of the loss: 1)")
    return figure


def mean_square(paths: Mapping[float, Array]) -> Figure:
    """RG's x [steps + 1, paths] at a few rates: root mean square and median."""
    with _canvas(len(paths), legend=2) as (figure, axes):
        for ax, (rate, x) in zip(axes, paths.items(), strict=True):
            steps = np.arange(len(x))
            theory = quadratic.growth(rate, *ARMS["RG"]) ** steps
            ax.plot(steps, theory, color=RG, label="root mean square, theory")
            sample = np.sqrt((x**2).mean(1))
            ax.plot(steps, sample, "o", ms=4, color=RG, label="root mean square, measured")
            typical = np.exp(quadratic.lyapunov(rate) * steps)
            ax.plot(steps, typical, "--", color=DARK, label="almost every path, theory")
            median = np.median(np.abs(x), 1)
            ax.plot(steps, median, "v", ms=4, mfc="white", color=DARK, label="median, measured")
            ax.set(yscale="log", xlabel="step", title=f"RG at ηh = {rate:g}")
        axes[0].set_ylabel("distance from the optimum\n(start: 1)")
    return figure


def thresholds(rates: Array, mean_square: Array, typical: Array) -> Figure:
    """Growth per step, in the mean square and on almost every path, and the four thresholds."""
    y = np.linspace(0.02, 5.3, 1200)
    with _canvas(height=4.6) as (figure, (ax,)):
        for arm in ARMS:
            label = "RG, mean square" if arm == "RG" else arm
            ax.plot(y, quadratic.growth(y, *ARMS[arm]), color=COLOURS[arm], label=label)
        ax.plot(y, np.exp(quadratic.lyapunov(y)), "--", color=DARK, label="RG, almost every path")
        ax.plot(rates, mean_square, "o", color=RG, label="RG, measured mean square")
        ax.plot(rates, typical, "v", color=DARK, mfc="white", label="RG, measured median")
        ax.axhline(1, color="black", lw=0.8)
        colours = (COLOURS["plain"], RG, COLOURS["constant 1/2"], DARK)
        for edge, colour in zip((2.0, 3.0, 4.0, 4.5911), colours, strict=True):
            ax.axvline(edge, color=colour, ls=":", lw=1.2)
            ax.text(edge, 1.83, f"{edge:g}", color=colour, ha="center")
        ax.text(0.05, 1.03, "diverges above 1, converges below", va="bottom", fontsize=9)
        ax.set(xlabel=RATE, ylabel="distance, factor per step", ylim=(0, 1.8), xlim=(0, 5.3))
    return figure


def averaging(momenta: Sequence[float], velocity: Array, position: Array, error: float) -> Figure:
    """Noise of u left in the velocity and in the position, relative to no momentum."""
    a = np.linspace(0, 0.97, 200)
    with _canvas(legend=2) as (figure, (ax,)):
        ax.plot(a, quadratic.velocity_noise(a), color=RG, label="velocity: (1 − α)/(1 + α)")
        ax.plot(momenta, velocity, "o", color=RG, label="velocity, measured")
        ax.axhline(1, color=DARK, ls="--", label="position: 1")
        bars = error * position
        ax.errorbar(momenta, position, bars, fmt="D", ms=5, color=DARK, mfc="white", capsize=3)
        ax.plot([], [], "D", ms=5, color=DARK, mfc="white", label="position, measured (95 %)")
        ax.set(xlabel="momentum α", ylabel="relative variance due to u\n(no momentum: 1)")
        ax.set_ylim(0, 1.4)
    return figure


def stationary(measured: Mapping[float, Mapping[str, tuple[Array, Array]]]) -> Figure:
    """Mean square of h·x against the rate, from {momentum: {arm: (rates, measured)}}."""
    y = np.geomspace(0.008, 7.8, 600)
    with _canvas(len(measured), 3.8) as (figure, axes):
        for ax, (momentum, arms) in zip(axes, measured.items(), strict=True):
            for arm, (rates, points) in arms.items():
                theory = quadratic.stationary(y, *ARMS[arm], momentum).distance
                ax.plot(y, np.where(theory < 400, theory, np.nan), color=COLOURS[arm], lw=1.4)
                ax.plot(rates, points, MARKERS[arm], ms=5, color=COLOURS[arm], label=arm)
            ax.set(xscale="log", yscale="log", title=f"momentum {momentum:g}", ylim=(2e-3, 300))
            ax.set_xticks([0.01, 0.1, 1], ["0.01", "0.1", "1"])
            ax.minorticks_off()
            ax.set_xlabel("rate ηh")
        axes[0].set_ylabel("mean square of h·x\n(unit: gradient noise s²)")
    return figure


def limits(momenta: Sequence[float], almost_sure: Sequence[float]) -> Figure:
    """Largest stable rate against momentum: exact for the mean square, sampled for RG's paths."""
    a = np.linspace(0, 0.99, 300)
    with _canvas() as (figure, (ax,)):
        for arm in ARMS:
            label = "RG, mean square" if arm == "RG" else arm
            ax.plot(a, quadratic.threshold(*ARMS[arm], a), color=COLOURS[arm], label=label)
        label = "RG, almost every path"
        ax.plot(momenta, almost_sure, "v--", color=DARK, mfc="white", label=label)
        ax.plot(0.5, 3, "*", color="black", ms=11, label="RG meets plain, α = 1/2", ls="none")
        ax.set(xlabel="momentum α", ylabel="largest stable rate ηh", ylim=(0, 8.2))
    return figure


def speed(
    momenta: Sequence[float],
    equal: Mapping[str, Array],
    best: Mapping[str, Array],
    *,
    rate: float,
    condition: float,
    tolerance: float,
) -> Figure:
    """Steps to come within `tolerance`: all arms at one rate, then each at its own best."""
    a, own = np.linspace(0, max(momenta), 60), np.geomspace(0.05, 8, 240)
    panels = ((f"all at ηh = {rate:g}", np.array([rate]), equal), ("own best rate", own, best))
    with _canvas(2, 3.8) as (figure, axes):
        for ax, (title, rates, points) in zip(axes, panels, strict=True):
            modes = np.stack([rates, rates / condition])
            for arm, moments in ARMS.items():
                factor = [quadratic.growth(modes, *moments, float(m)).max(0).min() for m in a]
                steps = np.log(tolerance) / np.log(factor)
                mark, colour, order = MARKERS[arm], COLOURS[arm], 2 + (arm == "constant 1/2")
                ax.plot(a, steps, color=colour, ls=DASHES[arm], zorder=order)
                ax.plot(momenta, points[arm], mark, color=colour, label=arm, ms=13 - 3 * order)
                ax.lines[-1].set_zorder(order)
            ax.set(yscale="log", xlabel="momentum α", title=title)
            ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            ax.yaxis.set_major_formatter("{x:g}")
            ax.yaxis.set_minor_locator(NullLocator())
        axes[0].set_ylabel(f"steps until the distance stays\nbelow {tolerance:.0%} of the start")
    return figure


def laws(rates: Array, measured: Mapping[str, Array], exact: Mapping[str, Array]) -> Figure:
    """Growth per step on almost every path under laws u of equal mean and variance."""
    y = np.linspace(0.02, 7, 900)
    with _canvas(height=3.8, legend=2) as (figure, (ax,)):
        for name, colour in zip(measured, (RG, "#cc79a7", "#009e73"), strict=True):
            ax.plot(y, np.exp(quadratic.lyapunov(y, exact.get(name))), color=colour)
            ax.plot(rates, measured[name], "o", color=colour, ms=4.5, label=name)
        ax.plot(y, quadratic.growth(y, *ARMS["RG"]), "k--", lw=1.2, label="mean square, all three")
        ax.axhline(1, color="black", lw=0.8)
        ax.set(xlabel=RATE, ylabel="distance, factor per step", ylim=(0, 1.8), xlim=(0, 7))
    return figure
