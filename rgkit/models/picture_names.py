"""The networks that label pixels or make pictures, by name, readable without torch."""

from __future__ import annotations

from dataclasses import dataclass

from rgkit.method.spec import Spec, parse, registry


@dataclass(frozen=True)
class Segmenter(Spec):
    """Base of the networks that label pixels: a dilated ResNet and a head.

    The `backbone` is resnet18, resnet50 or resnet101, its first stage has `width` channels (64 is
    torchvision's), and the scale and shift of its batch norms are "trained" or "frozen".
    """

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


def segmenter(text: str | Segmenter) -> Segmenter:
    """Read the name of a segmentation network; ValueError names the nearest right one.

    >>> segmenter("pspnet('resnet18', 16)")
    PSPNet(backbone='resnet18', width=16, norm='trained')
    """
    return parse(text, registry(Segmenter), "segmentation network")


@dataclass(frozen=True)
class Generator(Spec):
    """Base of the networks that turn one picture into another."""

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
class Discriminator(Spec):
    """Base of the networks that tell pictures from copies, patch by patch.

    The first of `layers` convolutions that halve the picture has `width` channels, each further one
    twice as many, up to eight times; the `norm` is "instance" or "batch".
    """

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


def generator(text: str | Generator) -> Generator:
    """Read the name of a generator; ValueError names an unknown one and the nearest right one.

    >>> generator("unet(6, 16)")
    UNet(levels=6, width=16, norm='instance', dropout=0.5)
    """
    return parse(text, registry(Generator), "generator")


def discriminator(text: str | Discriminator) -> Discriminator:
    """Read the name of a discriminator; ValueError names the nearest right one.

    >>> discriminator("patchgan(2, 16)")
    PatchGAN(layers=2, width=16, norm='instance')
    """
    return parse(text, registry(Discriminator), "discriminator")
