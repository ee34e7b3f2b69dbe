"""The arms that change a network, as text: in branches, several times over, or wider."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from rgkit.method.spec import Spec, parse
from rgkit.models.names import (
    GC,
    WRN,
    LargeResNet,
    Model,
    PlainNet,
    ResNet8,
    SideBySide,
    StagedResNet,
    model,
)

STEM = 16  # channels of a WRN's first convolution, whatever the widening is


@dataclass(frozen=True)
class Wider(Spec):
    """An arm: the cell's network with so many `times` its arithmetic, by its width."""

    name = "wider"
    times: float = 4.0

    def __post_init__(self) -> None:
        self.require(self.times > 0, f"times={self.times} given; a positive number")


NETWORKS: dict[str, type[Spec]] = {k.name: k for k in (GC, SideBySide, Wider)}  # arms, by name


def changed(arm: str, base: str) -> Model:
    """Return what an arm makes of a network: GC layers, copies, or a wider one; see `NETWORKS`.

    >>> str(changed("wider(4)", "resnet8(8)")), str(changed("wider(6.2)", "wrn(28, 4)"))
    ('resnet8(16)', 'wrn(28, 10)')
    >>> changed("gc(2)", "resnet8(8)").base
    'resnet8(8)'
    """
    change, plain = parse(arm, NETWORKS, "arm"), model(base)
    if isinstance(change, GC | SideBySide):
        return model(replace(change, base=str(plain)))
    assert isinstance(change, Wider)
    more = math.sqrt(change.times)
    if isinstance(plain, StagedResNet):
        return replace(plain, widths=tuple(round(width * more) for width in plain.widths))
    if isinstance(plain, WRN):
        channels = wrn_channels(plain.depth, round(STEM * plain.times), change.times)
        return replace(plain, times=channels / STEM)
    if not isinstance(plain, ResNet8 | PlainNet | LargeResNet):
        raise ValueError(f"arm {arm!r} given with {base}, which has no width to change")
    return replace(plain, width=round(plain.width * more))


def wrn_macs(depth: int, channels: int) -> int:
    """Return the multiply-accumulates for an image of 32x32 in the convolutions of a WRN.

    In closed form, so that a plan can be made without torch; a test holds it against the counter
    of `rgkit.models.classification.cost`.

    Parameters
    ----------
    depth : 6n + 4
    channels : of the first stage; the others have twice and four times as many

    >>> wrn_macs(10, 16)
    12500992
    """
    inside, total = STEM, 9 * 3 * STEM * 32**2
    for out, side in ((channels, 32), (2 * channels, 16), (4 * channels, 8)):
        more = 2 * ((depth - 4) // 6) - 1  # convolutions of the stage after its first
        weights = 9 * inside * out + more * 9 * out**2 + (inside * out if inside != out else 0)
        total, inside = total + weights * side**2, out
    return total


def wrn_channels(depth: int, channels: int, times: float) -> int:
    """Return how many channels come nearest to so many `times` the arithmetic.

    They are fewer than the root of `times` would have it where the stem, which does not widen,
    counts for little, and more where it counts for much.

    >>> wrn_channels(28, 64, 6.2), wrn_channels(10, 8, 3)
    (160, 16)
    """
    wanted, found = times * wrn_macs(depth, channels), 1
    while wrn_macs(depth, found) < wanted:
        found += 1
    return min(max(1, found - 1), found, key=lambda c: abs(wrn_macs(depth, c) - wanted))
