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
from rgkit.models.width import STEM, wrn_channels


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
