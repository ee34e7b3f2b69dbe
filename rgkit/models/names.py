"""All networks by name, readable without torch: what a config may ask for, and what arms change."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import ClassVar, TypeVar

from rgkit.method.spec import BELOW_1, POSITIVE, Spec, number, one_of, parse, registry

STEM = 16  # channels of a WRN's first convolution, whatever the widening is


class Network(Spec):
    """Base of all networks; `what` is the word for a kind of them."""

    what: ClassVar[str] = "network"


N = TypeVar("N", bound=Network)


def named(kind: type[N], text: str | N) -> N:
    """Read the name of a network of a kind; ValueError names the nearest right one.

    >>> named(Segmenter, "pspnet('resnet18', 16)")
    PSPNet(backbone='resnet18', width=16, norm='trained')
    """
    return parse(text, registry(kind), kind.what)


class Model(Network):
    """Base of the classifiers."""

    what = "model"


class ResNet8(Model, name="resnet8"):
    """Three stages of one basic block, width-2*width-4*width: a net for laptops and tests."""

    width: int = number(16, 1)


class SmallResNeXt(Model, name="small_resnext"):
    """The stages of `resnet8` with one block of ResNeXt each, in 8 groups: for laptops."""


class SmallMobileNetV2(Model, name="small_mobilenetv2"):
    """Three stages of two blocks of MobileNetV2, on images halved by the stem: for laptops."""


class SmallDenseNet(Model, name="small_densenet"):
    """Three dense blocks of two layers that add 8 channels each: for laptops."""


class PlainNet(Model):
    """`depth` layers without a skip connection (LD Fig. 1): 3x3 convolutions in three stages.

    The stages have width, 2*width and 4*width channels; `norm` is "batch" or "none". A `stem` of 2
    halves the image in the first layer: a quarter of the arithmetic, for laptops.
    """

    depth: int = number(40, 5)
    width: int = number(16, 1)
    norm: str = one_of("batch", "none")
    stem: int = number(1, 1, 2)


class ResNet18(Model, name="resnet18"):
    """CIFAR form (3x3 stem, no max-pool) of He et al. 2016."""


class ResNet34(Model, name="resnet34"):
    """CIFAR form; the network of RG's published code."""


class ResNeXt50(Model, name="resnext50"):
    """CIFAR form of ResNeXt-50 32x4d (RG Figure 4 right)."""


class MobileNetV2(Model, name="mobilenetv2"):
    """CIFAR form: strides of the stem and of the first two stages are 1 (RG Figure 5)."""


class DenseNet121(Model, name="densenet121"):
    """CIFAR form (RG Figure 5)."""


class StagedResNet(Model, name="staged_resnet"):
    """Basic blocks in stages of these widths, the first of which is the stem's, too.

    The default is the ResNet-18 of CSGD's Table 1; ResNet-110 is ``(16, 32, 64), (18, 18, 18)``.
    """

    widths: tuple[int, ...] = (16, 16, 32, 64)
    blocks: tuple[int, ...] = (2, 2, 2, 2)

    def __post_init__(self) -> None:
        good = len(self.widths) == len(self.blocks) and min(*self.widths, *self.blocks, 1) >= 1
        self.require(good, "as many widths as blocks, each a whole number of 1 or more")


class LargeResNet(Model, name="large_resnet"):
    """ResNet-18 for ImageNet (7x7 stem of stride 2, max-pool): stages of 1, 2, 4, 8 times `width`.

    CSGD's Table 3 has it at its usual width, 64.
    """

    width: int = number(64, 1)


class WRN(Model):
    """Zagoruyko and Komodakis 2016: `depth` is 6n + 4, the stages are `times` as wide as 16-32-64.

    CSGD's Table 2 has WRN-40 (8.9 million parameters: 4 times) and WRN-28 (36.5: 10 times). `times`
    need not be whole: a width between two others is what as much arithmetic as K branches takes.
    """

    depth: int = number(28, 10)
    times: float = number(10.0, 1 / 16)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(self.depth % 6 == 4, "10, 16, 22, 28 …", "depth")


class Airbench(Model):
    """The network of Jordan 2024: groups of width, 4*width and 4*width behind a whitening layer.

    64 is the paper's width. The first layer's bias learns for so many epochs; 0 is throughout.
    """

    width: int = number(64, 1)
    bias_epochs: int = number(3)


class GC(Model):
    """The network `base` with K branches that share their kernels (Calibrated SGD).

    Parameters
    ----------
    branches : K
    rate : l of Algorithm 1, by which R follows its gradient; 0 leaves R where it began
    noise : standard deviation of what is added to the kernels at each step, sigma
    sign : "ascent", as Algorithm 1 has it, or "descent"
    reading : of equation 2: "chain" is the chain rule, "again" multiplies by R once more
    join : of the branches before the classifier: "concat" or "mean"
    base : a network by name; "" only in an arm, which takes the network of its cell
    """

    branches: int = number(4, 1)
    rate: float = number(0.1)
    noise: float = number(0.0)
    sign: str = one_of("ascent", "descent")
    reading: str = one_of("chain", "again")
    join: str = one_of("concat", "mean")
    base: str = ""


class SideBySide(Model):
    """So many `copies` of the network `base` that share nothing and answer with their mean.

    They are trained together. `base` is "" only in an arm, which takes the network of its cell.
    """

    copies: int = number(2, 1)
    base: str = ""


def model(text: str | Model) -> Model:
    """Read the name of a network; ValueError names an unknown one and the nearest right one.

    >>> model("resnet8(16)")
    ResNet8(width=16)
    """
    found = named(Model, text)
    if isinstance(found, GC | SideBySide):
        found.require(bool(found.base), "a network by name, such as 'resnet8(16)'", "base")
        base = model(found.base)
        single = not isinstance(base, GC | SideBySide)
        found.require(single, "one without branches or copies", "base")
        ready = not isinstance(base, Airbench)
        found.require(ready, "one that needs no images before it is trained", "base")
        return replace(found, base=str(base))
    return found


class Wider(Spec):
    """An arm: the cell's network with so many `times` its arithmetic, by its width."""

    times: float = number(4.0, POSITIVE)


# The arms that change a network, by name.
NETWORK_ARMS: dict[str, type[Spec]] = {k.name: k for k in (GC, SideBySide, Wider)}


def changed(arm: str, base: str) -> Model:
    """Return what an arm makes of a network: GC layers, copies, or a wider one; see `NETWORK_ARMS`.

    >>> str(changed("wider(4)", "resnet8(8)")), str(changed("wider(6.2)", "wrn(28, 4)"))
    ('resnet8(16)', 'wrn(28, 10)')
    >>> changed("gc(2)", "resnet8(8)").base
    'resnet8(8)'
    """
    change, plain = parse(arm, NETWORK_ARMS, "arm"), model(base)
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
    wanted = times * wrn_macs(depth, channels)
    found = next(c for c in itertools.count(1) if wrn_macs(depth, c) >= wanted)
    return min(max(1, found - 1), found, key=lambda c: abs(wrn_macs(depth, c) - wanted))


class Segmenter(Network):
    """Base of the networks that label pixels: a dilated ResNet and a head.

    The `backbone` is resnet18, resnet50 or resnet101, its first stage has `width` channels (64 is
    torchvision's), and the scale and shift of its batch norms are "trained" or "frozen".
    """

    what = "segmentation network"
    backbone: str = one_of("resnet101", "resnet18", "resnet50")
    width: int = number(64, 4)
    norm: str = one_of("trained", "frozen")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(self.width % 4 == 0, "a multiple of 4", "width")


class PSPNet(Segmenter):
    """Zhao et al. 2017: dilation 2 and 4, pyramid pooling, a second loss on stage 3."""


class DUCHDC(Segmenter, name="duc_hdc"):
    """Wang et al. 2017: hybrid dilation in stages 3 and 4, dense upsampling convolution."""


class Generator(Network):
    """Base of the networks that turn one picture into another."""

    what = "generator"
    levels: int = number(8, 2)


class UNet(Generator):
    """The U-Net of pix2pix: `levels` halvings (8 bring 256 pixels to one) and as many doublings.

    The first level has `width` channels, each further one twice as many, up to eight times. The
    `norm` is "instance" or "batch"; `dropout` is the rate in the first three doublings.
    """

    width: int = number(64, 1)
    norm: str = one_of("instance", "batch")
    dropout: float = number(0.5, 0, BELOW_1)


class Discriminator(Network):
    """Base of the networks that tell pictures from copies, patch by patch.

    The first of `layers` convolutions that halve the picture has `width` channels, each further one
    twice as many, up to eight times; the `norm` is "instance" or "batch".
    """

    what = "discriminator"
    layers: int = number(3, 1)
    width: int = number(64, 1)
    norm: str = one_of("instance", "batch")


class PatchGAN(Discriminator, name="patchgan"):
    """That of pix2pix: `layers` halvings, then two convolutions at that size; 3 see 70x70."""


class Halving(Discriminator):
    """That of RG's code: `layers` halvings and one convolution; 4 give 16x16 parts of 256x256."""

    layers: int = number(4, 1)
