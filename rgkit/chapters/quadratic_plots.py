"""The figures of the quadratic laboratory: theory as lines, measurements as points.

Each function takes what was measured and returns one figure. Rates are ηh, a pure number.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from rgkit.chapters import quadratic
from rgkit.chapters.quadratic import ARMS, Array
from rgkit.figures.style import LOOKS, canvas, finish, looks

ALMOST = "RG, almost every path"
RG, PATH = LOOKS["RG"], LOOKS[ALMOST]  # its mean square, and a typical path
RATE = "rate ηh (learning rate × curvature)"


def landscape(panels: Mapping[str, Mapping[str, Array]], condition: float) -> Figure:
    """Paths [steps + 1, 2] (flat, steep) of each arm over the contours, a panel per setting."""
    flat, steep = np.meshgrid(np.linspace(-1.5, 6.5, 200), np.linspace(-1.25, 1.25, 200))
    loss, levels = (flat**2 / condition + steep**2) / 2, np.geomspace(0.002, 2, 12)
    figure, axes = canvas(3.8, len(panels))
    for ax, (title, paths) in zip(axes, panels.items(), strict=True):
        ax.contour(flat, steep, loss, levels, colors="#cfcfcf", linewidths=0.7)
        for arm, path in paths.items():
            ax.plot(*path.T, **LOOKS[arm].marked_line, ms=3, lw=1.1, label=arm)
        ax.plot(0, 0, marker="*", ms=12, color="black", ls="none", label="optimum")
        ax.set(title=title, xlabel="flat direction", xlim=(-1.5, 6.5), ylim=(-1.25, 1.25))
        ax.grid(visible=False)
    axes[0].set_ylabel("steep direction")
    return finish(figure)


def mean_update(curves: Mapping[str, Array]) -> Figure:
    """Mean position [steps + 1] of each arm under weight decay; the arms that agree overlap."""
    figure, (ax,) = canvas(3.5)
    for name, look in looks(curves).items():
        width, alpha = (6.0, 0.4) if name == "RG" else (2.2, 1.0)  # a band under the others
        ax.plot(curves[name], **look.line, label=name, lw=width, alpha=alpha)
    ax.set(xlabel="step", ylabel="mean position\n(minimum of the loss: 1)")
    return finish(figure)


def mean_square(paths: Mapping[float, Array]) -> Figure:
    """RG's x [steps + 1, paths] at a few rates: root mean square and median."""
    figure, axes = canvas(3.6, len(paths))
    for ax, (rate, x) in zip(axes, paths.items(), strict=True):
        steps = np.arange(len(x))
        theory = quadratic.growth(rate, *ARMS["RG"]) ** steps
        ax.plot(steps, theory, **RG.line, label="root mean square, theory")
        sample = np.sqrt((x**2).mean(1))
        ax.plot(steps, sample, **RG.mark, ms=4, label="root mean square, measured")
        typical = np.exp(quadratic.lyapunov(rate) * steps)
        ax.plot(steps, typical, **PATH.line, label="almost every path, theory")
        median = np.median(np.abs(x), 1)
        ax.plot(steps, median, **PATH.mark, ms=4, mfc="white", label="median, measured")
        ax.set(yscale="log", xlabel="step", title=f"RG at ηh = {rate:g}")
    axes[0].set_ylabel("distance from the optimum\n(start: 1)")
    return finish(figure)


def thresholds(rates: Array, mean_square: Array, typical: Array) -> Figure:
    """Growth per step, in the mean square and on almost every path, and the four thresholds."""
    y = np.linspace(0.02, 5.3, 1200)
    figure, (ax,) = canvas(4.6)
    for arm in ARMS:
        label = "RG, mean square" if arm == "RG" else arm
        ax.plot(y, quadratic.growth(y, *ARMS[arm]), **LOOKS[arm].line, label=label)
    ax.plot(y, np.exp(quadratic.lyapunov(y)), **PATH.line, label=ALMOST)
    ax.plot(rates, mean_square, **RG.mark, label="RG, measured mean square")
    ax.plot(rates, typical, **PATH.mark, mfc="white", label="RG, measured median")
    ax.axhline(1, color="black", lw=0.8)
    edges = {arm: float(quadratic.threshold(*moments)) for arm, moments in ARMS.items()}
    for arm, edge in (edges | {ALMOST: quadratic.almost_sure_threshold()}).items():
        ax.axvline(edge, color=LOOKS[arm].color, ls=":", lw=1.2)
        ax.text(edge, 1.83, f"{edge:.5g}", color=LOOKS[arm].color, ha="center")
    ax.text(0.05, 1.03, "diverges above 1, converges below", va="bottom", fontsize=9)
    ax.set(xlabel=RATE, ylabel="distance, factor per step", ylim=(0, 1.8), xlim=(0, 5.3))
    return finish(figure)


def averaging(momenta: Sequence[float], velocity: Array, position: Array, error: float) -> Figure:
    """Noise of u left in the velocity and in the position, relative to no momentum."""
    a = np.linspace(0, 0.97, 200)
    figure, (ax,) = canvas(3.6)
    ax.plot(a, quadratic.velocity_noise(a), **RG.line, label="velocity: (1 − α)/(1 + α)")
    ax.plot(momenta, velocity, **RG.mark, label="velocity, measured")
    ax.axhline(1, **PATH.line, label="position: 1")
    marks = PATH.mark | {"ms": 5, "mfc": "white"}
    label = "position, measured (95 %)"
    ax.errorbar(momenta, position, error * position, **marks, capsize=3, label=label)
    ax.set(xlabel="momentum α", ylabel="relative variance due to u\n(no momentum: 1)")
    ax.set_ylim(0, 1.4)
    return finish(figure)


def stationary(measured: Mapping[float, Mapping[str, tuple[Array, Array]]]) -> Figure:
    """Mean square of h·x against the rate, from {momentum: {arm: (rates, measured)}}."""
    y = np.geomspace(0.008, 7.8, 600)
    figure, axes = canvas(3.8, len(measured))
    for ax, (momentum, arms) in zip(axes, measured.items(), strict=True):
        for arm, (rates, points) in arms.items():
            theory = quadratic.stationary(y, *ARMS[arm], momentum).distance
            ax.plot(y, np.where(theory < 400, theory, np.nan), **LOOKS[arm].line, lw=1.4)
            ax.plot(rates, points, **LOOKS[arm].mark, ms=5, label=arm)
        ax.set(xscale="log", yscale="log", title=f"momentum {momentum:g}", ylim=(2e-3, 300))
        ax.set_xticks([0.01, 0.1, 1], ["0.01", "0.1", "1"])
        ax.minorticks_off()
        ax.set_xlabel("rate ηh")
    axes[0].set_ylabel("mean square of h·x\n(unit: gradient noise s²)")
    return finish(figure)


def limits(momenta: Sequence[float], almost_sure: Sequence[float]) -> Figure:
    """Largest stable rate against momentum: exact for the mean square, sampled for RG's paths."""
    a = np.linspace(0, 0.99, 300)
    figure, (ax,) = canvas(3.6)
    for arm in ARMS:
        label = "RG, mean square" if arm == "RG" else arm
        ax.plot(a, quadratic.threshold(*ARMS[arm], a), **LOOKS[arm].line, label=label)
    ax.plot(momenta, almost_sure, **PATH.marked_line, mfc="white", label=ALMOST)
    ax.plot(0.5, 3, "*", color="black", ms=11, label="RG meets plain, α = 1/2", ls="none")
    ax.set(xlabel="momentum α", ylabel="largest stable rate ηh", ylim=(0, 8.2))
    return finish(figure)


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
            order = 2 + (arm == "constant 1/2")  # on top of RG, with which it may agree
            ax.plot(a, steps, **LOOKS[arm].line, zorder=order)
            marks = LOOKS[arm].mark | {"ms": 13 - 3 * order, "zorder": order}
            ax.plot(momenta, points[arm], **marks, label=arm)
        ax.set(yscale="log", xlabel="momentum α", title=title)
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.yaxis.set_major_formatter("{x:g}")
        ax.yaxis.set_minor_locator(NullLocator())
    axes[0].set_ylabel(f"steps until the distance stays\nbelow {tolerance:.0%} of the start")
    return finish(figure)


def laws(rates: Array, measured: Mapping[str, Array], exact: Mapping[str, Array]) -> Figure:
    """Growth per step on almost every path under laws u of equal mean and variance."""
    y = np.linspace(0.02, 7, 900)
    figure, (ax,) = canvas(3.8)
    styles = looks(["RG", *exact]).values()  # the first law is RG's own
    for name, look in zip(measured, styles, strict=True):
        ax.plot(y, np.exp(quadratic.lyapunov(y, exact.get(name))), **look.line)
        ax.plot(rates, measured[name], **look.mark, ms=4.5, label=name)
    ax.plot(y, quadratic.growth(y, *ARMS["RG"]), "k--", lw=1.2, label="mean square, all three")
    ax.axhline(1, color="black", lw=0.8)
    ax.set(xlabel=RATE, ylabel="distance, factor per step", ylim=(0, 1.8), xlim=(0, 7))
    return finish(figure)
