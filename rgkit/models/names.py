"""All networks by name, readable without torch: what a config may ask for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, TypeVar

from rgkit.method.spec import Spec, parse, registry


@dataclass(frozen=True)
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


@dataclass(frozen=True)
class Model(Network):
    """Base of the classifiers."""

    what: ClassVar[str] = "model"

    def __post_init__(self) -> None:
        wide = getattr(self, "width", 1) >= 1
        self.require(wide, "the width is a whole number of 1 or more")


@dataclass(frozen=True)
class ResNet8(Model):
    """Three stages of one basic block, width-2*width-4*width: a net for laptops and tests."""

    name = "resnet8"
    width: int = 16


@dataclass(frozen=True)
class SmallResNeXt(Model):
    """The stages of `resnet8` with one block of ResNeXt each, in 8 groups: for laptops."""

    name = "small_resnext"


@dataclass(frozen=True)
class SmallMobileNetV2(Model):
    """Three stages of two blocks of MobileNetV2, on images halved by the stem: for laptops."""

    name = "small_mobilenetv2"


@dataclass(frozen=True)
class SmallDenseNet(Model):
    """Three dense blocks of two layers that add 8 channels each: for laptops."""

    name = "small_densenet"


@dataclass(frozen=True)
class PlainNet(Model):
    """`depth` layers without a skip connection (LD Fig. 1): 3x3 convolutions in three stages.

    The stages have width, 2*width and 4*width channels; `norm` is "batch" or "none". A `stem` of 2
    halves the image in the first layer: a quarter of the arithmetic, for laptops.
    """

    name = "plain_net"
    depth: int = 40
    width: int = 16
    norm: str = "batch"
    stem: int = 1

    def __post_init__(self) -> None:
        wanted = "a plain net has a depth of 5 or more and a width of 1 or more"
        self.require(self.depth >= 5 and self.width >= 1, wanted)
        wanted = f"norm={self.norm!r} given; it is 'batch' or 'none'"
        self.require(self.norm in ("batch", "none"), wanted)
        self.require(self.stem in (1, 2), f"stem={self.stem!r} given; its stride is 1 or 2")


@dataclass(frozen=True)
class ResNet18(Model):
    """CIFAR form (3x3 stem, no max-pool) of He et al. 2016."""

    name = "resnet18"


@dataclass(frozen=True)
class ResNet34(Model):
    """CIFAR form; the network of RG's published code."""

    name = "resnet34"


@dataclass(frozen=True)
class ResNeXt50(Model):
    """CIFAR form of ResNeXt-50 32x4d (RG Figure 4 right)."""

    name = "resnext50"


@dataclass(frozen=True)
class MobileNetV2(Model):
    """CIFAR form: strides of the stem and of the first two stages are 1 (RG Figure 5)."""

    name = "mobilenetv2"


@dataclass(frozen=True)
class DenseNet121(Model):
    """CIFAR form (RG Figure 5)."""

    name = "densenet121"


@dataclass(frozen=True)
class StagedResNet(Model):
    """Basic blocks in stages of these widths, the first of which is the stem's, too.

    The default is the ResNet-18 of CSGD's Table 1; ResNet-110 is ``(16, 32, 64), (18, 18, 18)``.
    """

    name = "staged_resnet"
    widths: tuple[int, ...] = (16, 16, 32, 64)
    blocks: tuple[int, ...] = (2, 2, 2, 2)

    def __post_init__(self) -> None:
        good = len(self.widths) == len(self.blocks) and min(*self.widths, *self.blocks, 1) >= 1
        self.require(good, "as many widths as blocks, each a whole number of 1 or more")


@dataclass(frozen=True)
class LargeResNet(Model):
    """ResNet-18 for ImageNet (7x7 stem of stride 2, max-pool): stages of 1, 2, 4, 8 times `width`.

    CSGD's Table 3 has it at its usual width, 64.
    """

    name = "large_resnet"
    width: int = 64


@dataclass(frozen=True)
class WRN(Model):
    """Zagoruyko and Komodakis 2016: `depth` is 6n + 4, the stages are `times` as wide as 16-32-64.

    CSGD's Table 2 has WRN-40 (8.9 million parameters: 4 times) and WRN-28 (36.5: 10 times). `times`
    need not be whole: a width between two others is what as much arithmetic as K branches takes.
    """

    name = "wrn"
    depth: int = 28
    times: float = 10.0

    def __post_init__(self) -> None:
        good = self.depth >= 10 and self.depth % 6 == 4 and 16 * self.times >= 1
        self.require(good, "the depth is 10, 16, 22, 28 … and times 1/16 or more")


@dataclass(frozen=True)
class ResNet9(Model):
    """The usual small network of fast CIFAR-10 training: 6.6 million parameters at width 64."""

    name = "resnet9"
    width: int = 64


@dataclass(frozen=True)
class Airbench(Model):
    """The network of Jordan 2024: groups of width, 4*width and 4*width behind a whitening layer.

    64 is the paper's width. The first layer's bias learns for so many epochs; 0 is throughout.
    """

    name = "airbench"
    width: int = 64
    bias_epochs: int = 3

    def __post_init__(self) -> None:
        good = self.width >= 1 and self.bias_epochs >= 0
        self.require(good, "a width of 1 or more, and 0 or more epochs")


@dataclass(frozen=True)
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

    name = "gc"
    branches: int = 4
    rate: float = 0.1
    noise: float = 0.0
    sign: str = "ascent"
    reading: str = "chain"
    join: str = "concat"
    base: str = ""

    def __post_init__(self) -> None:
        self.choose(sign=["ascent", "descent"], reading=["chain", "again"], join=["concat", "mean"])
        good = self.branches >= 1 and self.rate >= 0 and self.noise >= 0
        self.require(good, "branches of 1 or more, rate and noise of 0 or more")


@dataclass(frozen=True)
class SideBySide(Model):
    """So many `copies` of the network `base` that share nothing and answer with their mean.

    They are trained together. `base` is "" only in an arm, which takes the network of its cell.
    """

    name = "side_by_side"
    copies: int = 2
    base: str = ""

    def __post_init__(self) -> None:
        self.require(self.copies >= 1, f"copies={self.copies} given; 1 or more")


def model(text: str | Model) -> Model:
    """Read the name of a network; ValueError names an unknown one and the nearest right one.

    >>> model("resnet8(16)")
    ResNet8(width=16)
    """
    found = named(Model, text)
    if isinstance(found, GC | SideBySide):
        found.require(bool(found.base), "base='' given; a network by name, such as 'resnet8(16)'")
        base = model(found.base)
        wanted = f"base={found.base!r} given; one without branches or copies"
        found.require(not isinstance(base, GC | SideBySide), wanted)
        wanted = f"base={found.base!r} given; one that needs no images before it is trained"
        found.require(not isinstance(base, Airbench), wanted)
        return replace(found, base=str(base))
    return found


@dataclass(frozen=True)
class Segmenter(Network):
    """Base of the networks that label pixels: a dilated ResNet and a head.

    The `backbone` is resnet18, resnet50 or resnet101, its first stage has `width` channels (64 is
    torchvision's), and the scale and shift of its batch norms are "trained" or "frozen".
    """

    what: ClassVar[str] = "segmentation network"
    backbone: str = "resnet101"
    width: int = 64
    norm: str = "trained"

    def __post_init__(self) -> None:
        self.choose(backbone=["resnet18", "resnet50", "resnet101"], norm=["trained", "frozen"])
        whole = self.width >= 4 and self.width % 4 == 0
        self.require(whole, f"width={self.width} given; a multiple of 4")


@dataclass(frozen=True)
class PSPNet(Segmenter):
    """Zhao et al. 2017: dilation 2 and 4, pyramid pooling, a second loss on stage 3."""

    name = "pspnet"


@dataclass(frozen=True)
class DUCHDC(Segmenter):
    """Wang et al. 2017: hybrid dilation in stages 3 and 4, dense upsampling convolution."""

    name = "duc_hdc"


@dataclass(frozen=True)
class Generator(Network):
    """Base of the networks that turn one picture into another."""

    what: ClassVar[str] = "generator"
    levels: int = 8


@dataclass(frozen=True)
class UNet(Generator):
    """The U-Net of pix2pix: `levels` halvings (8 bring 256 pixels to one) and as many doublings.

    The first level has `width` channels, each further one twice as many, up to eight times. The
    `norm` is "instance" or "batch"; `dropout` is the rate in the first three doublings.
    """

    name = "unet"
    width: int = 64
    norm: str = "instance"
    dropout: float = 0.5

    def __post_init__(self) -> None:
        self.choose(norm=["instance", "batch"])
        good = self.levels >= 2 and self.width >= 1 and 0 <= self.dropout < 1
        self.require(good, "levels of 2 or more, a width of 1 or more, dropout below 1")


@dataclass(frozen=True)
class Discriminator(Network):
    """Base of the networks that tell pictures from copies, patch by patch.

    The first of `layers` convolutions that halve the picture has `width` channels, each further one
    twice as many, up to eight times; the `norm` is "instance" or "batch".
    """

    what: ClassVar[str] = "discriminator"
    layers: int = 3
    width: int = 64
    norm: str = "instance"

    def __post_init__(self) -> None:
        self.choose(norm=["instance", "batch"])
        self.require(self.layers >= 1 and self.width >= 1, "layers and a width of 1 or more")


@dataclass(frozen=True)
class PatchGAN(Discriminator):
    """That of pix2pix: `layers` halvings, then two convolutions at that size; 3 see 70x70."""

    name = "patchgan"


@dataclass(frozen=True)
class Halving(Discriminator):
    """That of RG's code: `layers` halvings and one convolution; 4 give 16x16 parts of 256x256."""

    name = "halving"
    layers: int = 4
