"""The figures of the quadratic laboratory: theory as lines, measurements as points.

Each function takes what was measured and returns one figure. Rates are ηh, a pure number.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from rgkit.chapters import quadratic
from rgkit.chapters.quadratic import ARMS, Array
from rgkit.figures.style import COLORS, MARKERS, canvas

RG, DARK = COLORS["RG"], "#7a3600"  # DARK: RG's typical path or position, beside its mean
TYPICAL: dict[str, Any] = {"marker": "v", "mfc": "white", "color": DARK}
RATE = "rate ηh (learning rate × curvature)"
FACTOR = "distance, factor per step"
ALMOST = "RG, almost every path"


def _legend(figure: Figure, columns: int = 3) -> Figure:
    """Put the legend of the first panel below all of them."""
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=columns)
    return figure


def _mean_square(arm: str) -> str:
    return "RG, mean square" if arm == "RG" else arm


def landscape(panels: Mapping[str, Mapping[str, Array]], condition: float) -> Figure:
    """Paths [steps + 1, 2] (flat, steep) of each arm over the contours, a panel per setting."""
    flat, steep = np.meshgrid(np.linspace(-1.5, 6.5, 200), np.linspace(-1.25, 1.25, 200))
    loss, levels = (flat**2 / condition + steep**2) / 2, np.geomspace(0.002, 2, 12)
    figure, axes = canvas(3.8, len(panels))
    for ax, (title, paths) in zip(axes, panels.items(), strict=True):
        ax.contour(flat, steep, loss, levels, colors="#cfcfcf", linewidths=0.7)
        for arm, path in paths.items():
            ax.plot(*path.T, color=COLORS[arm], marker=MARKERS[arm], ms=3, lw=1.1, label=arm)
        ax.plot(0, 0, "*", ms=12, color="black", label="optimum")
        ax.set(title=title, xlabel="flat direction", xlim=(-1.5, 6.5), ylim=(-1.25, 1.25))
        ax.grid(visible=False)
    axes[0].set_ylabel("steep direction")
    return _legend(figure, 4)


def mean_update(curves: Mapping[str, Array]) -> Figure:
    """Mean position [steps + 1] of each arm under weight decay; the arms that agree overlap."""
    dashes = {"plain": "-", "RG": "-", "constant 1/2": "--", "plain, η/2, 2λ": ":"}
    colors = COLORS | {"plain, η/2, 2λ": "#f0e442", "plain, η/2, λ": "#009e73"}
    figure, (ax,) = canvas(3.5)
    for name, curve in curves.items():
        width, alpha = (6.0, 0.4) if name == "RG" else (2.2, 1.0)  # a band under the others
        ax.plot(curve, color=colors[name], ls=dashes.get(name, "-."), lw=width, alpha=alpha,
                label=name)  # fmt: skip
    ax.set(xlabel="step", ylabel="mean position\n(minimum of the loss: 1)")
    return _legend(figure)


def mean_square(paths: Mapping[float, Array]) -> Figure:
    """RG's x [steps + 1, paths] at a few rates: root mean square and median."""
    figure, axes = canvas(3.6, len(paths))
    for ax, (rate, x) in zip(axes, paths.items(), strict=True):
        steps = np.arange(len(x))
        theory = quadratic.growth(rate, *ARMS["RG"]) ** steps
        ax.plot(theory, color=RG, label="root mean square, theory")
        ax.plot(np.sqrt((x**2).mean(1)), "o", ms=4, color=RG, label="root mean square, measured")
        typical = np.exp(quadratic.lyapunov(rate) * steps)
        ax.plot(typical, "--", color=DARK, label="almost every path, theory")
        ax.plot(np.median(np.abs(x), 1), ls="", ms=4, **TYPICAL, label="median, measured")
        ax.set(yscale="log", xlabel="step", title=f"RG at ηh = {rate:g}")
    axes[0].set_ylabel("distance from the optimum\n(start: 1)")
    return _legend(figure, 2)


def thresholds(rates: Array, mean_square: Array, typical: Array) -> Figure:
    """Growth per step, in the mean square and on almost every path, and the four thresholds."""
    y = np.linspace(0.02, 5.3, 1200)
    figure, (ax,) = canvas(4.6)
    for arm, moments in ARMS.items():
        ax.plot(y, quadratic.growth(y, *moments), color=COLORS[arm], label=_mean_square(arm))
    ax.plot(y, np.exp(quadratic.lyapunov(y)), "--", color=DARK, label=ALMOST)
    ax.plot(rates, mean_square, "o", color=RG, label="RG, measured mean square")
    ax.plot(rates, typical, ls="", **TYPICAL, label="RG, measured median")
    ax.axhline(1, color="black", lw=0.8)
    edges = {arm: float(quadratic.threshold(*moments)) for arm, moments in ARMS.items()}
    marks = [(edge, COLORS[arm]) for arm, edge in edges.items()]
    for edge, color in [*marks, (quadratic.almost_sure_threshold(), DARK)]:
        ax.axvline(edge, color=color, ls=":", lw=1.2)
        ax.text(edge, 1.83, f"{edge:.5g}", color=color, ha="center")
    ax.text(0.05, 1.03, "diverges above 1, converges below", va="bottom", fontsize=9)
    ax.set(xlabel=RATE, ylabel=FACTOR, ylim=(0, 1.8), xlim=(0, 5.3))
    return _legend(figure)


def averaging(momenta: Sequence[float], velocity: Array, position: Array, error: float) -> Figure:
    """Noise of u left in the velocity and in the position, relative to no momentum."""
    a = np.linspace(0, 0.97, 200)
    figure, (ax,) = canvas(3.6)
    ax.plot(a, quadratic.velocity_noise(a), color=RG, label="velocity: (1 − α)/(1 + α)")
    ax.plot(momenta, velocity, "o", color=RG, label="velocity, measured")
    ax.axhline(1, color=DARK, ls="--", label="position: 1")
    look: dict[str, Any] = {"fmt": "D", "ms": 5, "color": DARK, "mfc": "white", "capsize": 3}
    label = "position, measured (95 %)"
    ax.errorbar(momenta, position, error * position, **look, label=label)
    ax.set(xlabel="momentum α", ylabel="relative variance due to u\n(no momentum: 1)")
    ax.set_ylim(0, 1.4)
    return _legend(figure, 2)


def stationary(measured: Mapping[float, Mapping[str, tuple[Array, Array]]]) -> Figure:
    """Mean square of h·x against the rate, from {momentum: {arm: (rates, measured)}}."""
    y = np.geomspace(0.008, 7.8, 600)
    figure, axes = canvas(3.8, len(measured))
    for ax, (momentum, arms) in zip(axes, measured.items(), strict=True):
        for arm, (rates, points) in arms.items():
            theory = quadratic.stationary(y, *ARMS[arm], momentum).distance
            ax.plot(y, np.where(theory < 400, theory, np.nan), color=COLORS[arm], lw=1.4)
            ax.plot(rates, points, MARKERS[arm], ms=5, color=COLORS[arm], label=arm)
        ax.set(xscale="log", yscale="log", title=f"momentum {momentum:g}", ylim=(2e-3, 300))
        ax.set_xticks([0.01, 0.1, 1], ["0.01", "0.1", "1"])
        ax.minorticks_off()
        ax.set_xlabel("rate ηh")
    axes[0].set_ylabel("mean square of h·x\n(unit: gradient noise s²)")
    return _legend(figure)


def limits(momenta: Sequence[float], almost_sure: Sequence[float]) -> Figure:
    """Largest stable rate against momentum: exact for the mean square, sampled for RG's paths."""
    a = np.linspace(0, 0.99, 300)
    figure, (ax,) = canvas(3.6)
    for arm, moments in ARMS.items():
        ax.plot(a, quadratic.threshold(*moments, a), color=COLORS[arm], label=_mean_square(arm))
    ax.plot(momenta, almost_sure, ls="--", **TYPICAL, label=ALMOST)
    ax.plot(0.5, 3, "*", color="black", ms=11, label="RG meets plain, α = 1/2")
    ax.set(xlabel="momentum α", ylabel="largest stable rate ηh", ylim=(0, 8.2))
    return _legend(figure)


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
    figure, axes = canvas(3.8, 2)
    for ax, (title, rates, points) in zip(axes, panels, strict=True):
        modes = np.stack([rates, rates / condition])
        for arm, moments in ARMS.items():
            factor = [quadratic.growth(modes, *moments, float(m)).max(0).min() for m in a]
            steps = np.log(tolerance) / np.log(factor)
            on_top = arm == "constant 1/2"  # dashed and small: others may lie under it
            look: dict[str, Any] = {"color": COLORS[arm], "zorder": 2 + on_top}
            ax.plot(a, steps, "--" if on_top else "-", **look)
            size = 4 if on_top else 7
            ax.plot(momenta, points[arm], MARKERS[arm], ms=size, label=arm, **look)
        ax.set(yscale="log", xlabel="momentum α", title=title)
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.yaxis.set_major_formatter("{x:g}")
        ax.yaxis.set_minor_locator(NullLocator())
    axes[0].set_ylabel(f"steps until the distance stays\nbelow {tolerance:.0%} of the start")
    return _legend(figure)


def laws(rates: Array, measured: Mapping[str, Array], exact: Mapping[str, Array]) -> Figure:
    """Growth per step on almost every path under laws u of equal mean and variance."""
    y = np.linspace(0.02, 7, 900)
    figure, (ax,) = canvas(3.8)
    for name, color in zip(measured, (RG, "#cc79a7", "#009e73"), strict=True):
        ax.plot(y, np.exp(quadratic.lyapunov(y, exact.get(name))), color=color)
        ax.plot(rates, measured[name], "o", color=color, ms=4.5, label=name)
    ax.plot(y, quadratic.growth(y, *ARMS["RG"]), "k--", lw=1.2, label="mean square, all three")
    ax.axhline(1, color="black", lw=0.8)
    ax.set(xlabel=RATE, ylabel=FACTOR, ylim=(0, 1.8), xlim=(0, 7))
    return _legend(figure, 2)
