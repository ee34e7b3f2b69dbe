"""The networks by name, readable without torch: what a config may ask for."""

from __future__ import annotations

from dataclasses import dataclass

from rgkit.spec import Spec, nearest, parse, registry


@dataclass(frozen=True)
class Model(Spec):
    """Base of all networks."""


@dataclass(frozen=True)
class ResNet8(Model):
    """Three stages of one basic block, width-2*width-4*width: a net for laptops and tests."""

    name = "resnet8"
    width: int = 16

    def __post_init__(self) -> None:
        if self.width < 1:
            raise ValueError(f"{self}: the width is a whole number of 1 or more")


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
        if self.depth < 5 or self.width < 1:
            raise ValueError(
                f"{self}: a plain net has a depth of 5 or more and a width of 1 or more"
            )
        if self.norm not in ("batch", "none"):
            raise ValueError(f"{self}: norm={self.norm!r} given; it is 'batch' or 'none'")
        if self.stem not in (1, 2):
            raise ValueError(f"{self}: stem={self.stem!r} given; its stride is 1 or 2")


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


def model(text: str | Model) -> Model:
    """Read the name of a network; ValueError names an unknown one and the nearest right one.

    >>> model("resnet8(16)")
    ResNet8(width=16)
    """
    return parse(text, registry(Model), "model")


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
        choices = {"backbone": ["resnet18", "resnet50", "resnet101"], "norm": ["trained", "frozen"]}
        for field, known in choices.items():
            value = getattr(self, field)
            if value not in known:
                raise ValueError(f"{self}: {field}={value!r} given{nearest(str(value), known)}")
        if self.width < 4 or self.width % 4:
            raise ValueError(f"{self}: width={self.width} given; a multiple of 4")


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
