"""Networks that label pixels: PSPNet and DUC+HDC on torchvision's ResNets, dilated to 1/8."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rgkit.data.compat import import_torchvision
from rgkit.data.source import DataError, check_file, root
from rgkit.models.cifar import start
from rgkit.models.names import PSPNet, Segmenter, named

models = import_torchvision().models

STRIDE = 8  # of what a dilated backbone gives, and so the factor by which DUC upsamples
# Dilation of the blocks of stages 3 and 4, repeated until the stage is full: PSPNet's, and the
# larger of the two patterns of Wang et al. 2017, which avoids the gaps of equal rates.
PSP_RATES = [2], [4]
HDC_RATES = [1, 2, 5, 9], [5, 9, 17]


def _backbone(name: str, width: int) -> Any:
    """One of torchvision's ResNets; its stem and stages are made anew where it is to be narrow."""
    net: Any = getattr(models, name)()
    if width != 64:
        net.inplanes, net.bn1 = width, nn.BatchNorm2d(width)
        net.conv1 = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
        for number in range(4):
            stage = getattr(net, f"layer{number + 1}")
            size = width * 2**number, len(stage), 2 if number else 1
            setattr(net, f"layer{number + 1}", net._make_layer(type(stage[0]), *size))
        start(net)
    return net


def _dilate(stage: nn.Module, rates: list[int]) -> None:
    """Keep the size of a stage and spread its 3x3 kernels, block by block."""
    for block, rate in zip(stage.children(), itertools.cycle(rates), strict=False):
        for conv in block.modules():
            if isinstance(conv, nn.Conv2d):
                conv.stride = (1, 1)
                if conv.kernel_size == (3, 3):
                    conv.dilation = conv.padding = (rate, rate)


def _conv(inside: int, out: int, kernel: int) -> nn.Sequential:
    conv = nn.Conv2d(inside, out, kernel, padding=kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(out), nn.ReLU(inplace=True))


class PyramidPooling(nn.Module):
    """The pyramid of Zhao et al. 2017: averages over 1, 2x2, 3x3 and 6x6 parts beside the input.

    From [batch, channels, h, w] to [batch, 2 * channels, h, w].
    """

    def __init__(self, channels: int, parts: tuple[int, ...] = (1, 2, 3, 6)) -> None:
        super().__init__()
        self.levels = nn.ModuleList(
            nn.Sequential(nn.AdaptiveAvgPool2d(p), _conv(channels, channels // len(parts), 1))
            for p in parts
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the input and its averages, enlarged to its size."""
        return torch.cat([x, *(_resize(level(x), x.shape[-2:]) for level in self.levels)], dim=1)


def _resize(x: Tensor, size: torch.Size | tuple[int, ...]) -> Tensor:
    return F.interpolate(x, size=tuple(size), mode="bilinear", align_corners=False)


def _wide(logits: Tensor) -> Tensor:
    """Give up bfloat16 before logits are mixed: neighbours would be rounded to a draw."""
    return logits.float() if logits.dtype == torch.bfloat16 else logits


class Segmentation(nn.Module):
    """A dilated backbone, a head on stage 4 and, where there is one, another on stage 3.

    From images [batch, 3, height, width] to logits [batch, classes, height, width]; in training,
    with an auxiliary head, to a pair of them.
    """

    def __init__(self, backbone: nn.Module, head: nn.Module, auxiliary: nn.Module | None) -> None:
        super().__init__()
        stages = {"layer3": "3", "layer4": "4"}
        self.backbone, self.head = models._utils.IntermediateLayerGetter(backbone, stages), head
        self.auxiliary = auxiliary

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Return the logits of every pixel."""
        features, size = self.backbone(images), images.shape[-2:]
        logits = self.head(features["4"])
        # Dense upsampling gives whole blocks of 8x8, of which the last may stand over the rim.
        whole = logits.shape[-2] >= size[0] and logits.shape[-1] >= size[1]
        logits = logits[..., : size[0], : size[1]] if whole else _resize(_wide(logits), size)
        if self.training and self.auxiliary is not None:
            return logits, _resize(_wide(self.auxiliary(features["3"])), size)
        return logits


def _classifier(inside: int, narrow: int, classes: int) -> list[nn.Module]:
    return [_conv(inside, narrow, 3), nn.Dropout2d(0.1), nn.Conv2d(narrow, classes, 1)]


def dense_upsampling(channels: int, classes: int, factor: int = STRIDE) -> nn.Sequential:
    """Return Wang et al.'s DUC: a convolution that predicts each pixel of a block, then a shuffle.

    From [batch, channels, h, w] to [batch, classes, factor * h, factor * w]. Channel
    ``c * factor**2 + y * factor + x`` of the convolution is class c at (y, x) of its block.
    """
    conv = nn.Conv2d(channels, classes * factor**2, 3, padding=1)
    return nn.Sequential(conv, nn.PixelShuffle(factor))


def find_weights(name: str) -> Path:
    """Return the file of weights that a config names, once its content is what its name says.

    It is looked for where torchvision keeps its downloads and under ``weights`` of the data folder.
    Raises DataError where it is missing or has another content.
    """
    places = [Path(torch.hub.get_dir(), "checkpoints"), root() / "weights"]
    path = next((place / name for place in places if (place / name).is_file()), None)
    if path is None:
        looked = " and ".join(map(str, places))
        raise DataError(f"{name} is not here (looked in {looked}); torchvision downloads it")
    check_file(path, path.stem.rpartition("-")[2], "download it again")
    return path


def load_backbone(net: Segmentation, name: str) -> None:
    """Load torchvision's weights of a ResNet into the backbone of a network.

    Raises ValueError, which names the file, where they are another network's.
    """
    state = torch.load(find_weights(name), map_location="cpu", weights_only=True)
    state = {name: value for name, value in state.items() if not name.startswith("fc.")}
    try:  # a state without a version may lack the counters of batch norm, as old files do
        net.backbone.load_state_dict(state)
    except RuntimeError as error:
        wrong = f"{name} does not hold this backbone's weights: {str(error)[:300]}"
        raise ValueError(wrong) from error


def build(name: str | Segmenter, classes: int, *, seed: int = 0, weights: str = "") -> Segmentation:
    """Build a segmentation network with fresh weights, on the CPU in float32.

    Parameters
    ----------
    name : ``pspnet(backbone, width, norm)`` or ``duc_hdc(backbone, width, norm)``, see
        `rgkit.models.names`
    classes : int
    seed : the same seed gives the same weights; the global random state is left as it was
    weights : the file of torchvision's weights for the backbone, which are loaded over the fresh
        ones, see `find_weights`; "" is none

    Examples
    --------
    >>> net = build("pspnet('resnet18', 8)", 3).eval()
    >>> net(torch.zeros(1, 3, 40, 64)).shape
    torch.Size([1, 3, 40, 64])
    """
    spec = named(Segmenter, name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        backbone = _backbone(spec.backbone, spec.width)
        channels = 8 * spec.width * backbone.layer4[0].expansion
        if isinstance(spec, PSPNet):
            rates, last = PSP_RATES, _classifier(2 * channels, channels // 4, classes)
            head = nn.Sequential(PyramidPooling(channels), *last)
            auxiliary = nn.Sequential(*_classifier(channels // 2, channels // 8, classes))
        else:
            rates, head, auxiliary = HDC_RATES, dense_upsampling(channels, classes), None
        for stage, own in zip(("layer3", "layer4"), rates, strict=True):
            _dilate(getattr(backbone, stage), own)
        net = Segmentation(backbone, head, auxiliary)
    if spec.norm == "frozen":
        for module in net.backbone.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.requires_grad_(False)
    if weights:
        load_backbone(net, weights)
    return net
