"""How wide a wide residual network is that takes so many times the arithmetic of another."""

from __future__ import annotations

STEM = 16  # channels, whatever the widening is


def wrn_macs(depth: int, channels: int) -> int:
    """Return the multiply-accumulates for an image of 32x32 in the convolutions of a WRN.

    In closed form, so that a plan can be made without torch; `rgkit.models.cost.cost` counts.

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
