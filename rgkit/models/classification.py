"""Image classifiers: torchvision's networks with a stem for 32x32 images, and our own.

Pictures are compared by a network, too, whose features decide what a distance can see. Most papers
take an Inception network that was trained on ImageNet; its weights are not ours to pass on. A
ResNet-8 of this package is, and it saw the photographs of CIFAR-10: see `own_features`.
`rgkit.chapters.own_classifier` made its file.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from rgkit.data import images
from rgkit.data.compat import import_torchvision
from rgkit.data.source import check_file
from rgkit.models import cifar, names
from rgkit.models.calibrated import Calibrated, SideBySide, gc_layers
from rgkit.models.names import Model, PlainNet, model

models = import_torchvision().models

# Between the seeds of a network's copies. No run has such a seed; a power of two would do less
# well, as torch takes no more than 32 bits of it on a CPU.
FAR = 1_000_003

OWN = Path(__file__).resolve().parent / "cifar10-resnet8.npz"
# Of the file's SHA-256. A distance by another network is another measure: whoever changes this
# measures the records of all translations again.
DIGEST = "29341f1e47995dcc"


def _resnet(made: Callable[..., Any], classes: int) -> nn.Module:
    net: nn.Module = made(num_classes=classes)
    net.conv1 = cifar.stem(64)
    net.maxpool = nn.Identity()
    nn.init.kaiming_normal_(net.conv1.weight, mode="fan_out", nonlinearity="relu")
    return net


def _small_resnext(classes: int) -> nn.Module:
    """Bottlenecks of half as many channels inside as outside, in 8 groups."""
    blocks = []
    for inside, out, stride in cifar.places((32, 64, 128), (1, 1, 1), 16):
        short, planes = cifar.shortcut(inside, out, stride), out // 4
        # A base width of 16 makes planes * 16 / 64 channels in each of the groups.
        blocks.append(models.resnet.Bottleneck(inside, planes, stride, short, 8, 16))
    return cifar.stages(cifar.stem(16), *blocks, out=128, classes=classes)


def _small_mobilenetv2(classes: int) -> nn.Module:
    """Depthwise convolutions are slow on a CPU: the stem halves the image, as MobileNet's does."""
    block = models.mobilenetv2.InvertedResidual
    blocks = [block(*place, 4) for place in cifar.places((16, 32, 64), (2, 2, 2), 16)]
    return cifar.stages(cifar.stem(16, stride=2), *blocks, out=64, classes=classes)


def _plain_net(spec: PlainNet, classes: int) -> nn.Module:
    """All but two layers, the stem and the classifier, are shared out to the three stages."""
    width, norm = spec.width, spec.norm == "batch"
    counts = [(spec.depth - 2 + extra) // 3 for extra in (2, 1, 0)]
    widths, layers = (width, 2 * width, 4 * width), list[nn.Module]()
    for inside, out, stride in cifar.places(widths, counts, width):
        layers.append(nn.Conv2d(inside, out, 3, stride, padding=1, bias=not norm))
        layers += [nn.BatchNorm2d(out)] if norm else []
        layers.append(nn.ReLU(inplace=True))
    net = cifar.stages(cifar.stem(width, spec.stem), *layers, out=4 * width, classes=classes)
    if not norm:
        net.register_module("1", nn.Identity())  # the stem's batch norm
    return net


def _mobilenetv2(classes: int) -> Any:
    """torchvision's halves the size five times; at the first two places the CIFAR form does not."""
    net: Any = models.mobilenetv2.MobileNetV2(classes, dropout=0.0)
    for layer in (net.features[0][0], net.features[2].conv[1][0]):
        layer.stride = (1, 1)
    return net


def _densenet(classes: int, stem: int = 64, **kw: Any) -> nn.Module:
    net: nn.Module = models.densenet.DenseNet(num_classes=classes, num_init_features=stem, **kw)
    features: Any = net.features
    features.conv0 = cifar.stem(stem)
    nn.init.kaiming_normal_(features.conv0.weight)
    features.pool0 = nn.Identity()
    return net


# The networks whose names take no numbers.
NAMED: dict[str, Callable[[int], nn.Module]] = {
    "resnet18": partial(_resnet, models.resnet18),
    "resnet34": partial(_resnet, models.resnet34),
    "resnext50": partial(_resnet, models.resnext50_32x4d),
    "mobilenetv2": _mobilenetv2,
    "densenet121": _densenet,
    "small_resnext": _small_resnext,
    "small_mobilenetv2": _small_mobilenetv2,
    "small_densenet": partial(_densenet, stem=16, growth_rate=8, block_config=(2, 2, 2)),
}


def build(name: str | Model, classes: int = 10, *, seed: int = 0) -> nn.Module:
    """Build a classifier with fresh weights, on the CPU in float32.

    Parameters
    ----------
    name : str
        ``resnet8(width)``, ``resnet18``, ``resnet34``, ``resnext50``, ``mobilenetv2``,
        ``densenet121``, a small one of the last three, ``plain_net(depth, width, norm, stem)``,
        ``staged_resnet(widths, blocks)``, ``large_resnet(width)``, ``wrn(depth, times)``,
        ``airbench(width, bias_epochs)``; one of these in branches, ``gc(...)``,
        or several times over, ``side_by_side(copies, base)``; see `rgkit.models.names`.
    classes : int
        Number of outputs.
    seed : int
        The same seed gives the same weights, whatever ran before; the global random state of
        torch is left as it was.

    Returns
    -------
    module from float images [batch, 3, height, width] to logits [batch, classes]

    Examples
    --------
    >>> build("resnet8(16)")(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    """
    spec = model(name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        match spec:
            case names.ResNet8(width):
                return cifar.staged((width, 2 * width, 4 * width), (1, 1, 1), classes)
            case names.PlainNet():
                return _plain_net(spec, classes)
            case names.StagedResNet(widths, blocks):
                return cifar.staged(widths, blocks, classes)
            case names.LargeResNet(width):
                widths = (width, 2 * width, 4 * width, 8 * width)
                return cifar.staged(widths, (2, 2, 2, 2), classes, large=True)
            case names.WRN(depth, times):
                return cifar.wide(depth, times, classes)
            case names.Airbench(width, bias_epochs):
                return cifar.Airbench(width, bias_epochs, classes)
            case names.GC():
                return Calibrated(build(spec.base, classes, seed=seed), spec)
            case names.SideBySide(copies, base):
                # The first is the plain network of the seed; no other run starts from the others.
                return SideBySide(build(base, classes, seed=seed + FAR * k) for k in range(copies))
        return NAMED[spec.name](classes)


@dataclass(frozen=True)
class Cost:
    """Parameters without R, as CSGD counts them; those in R; multiply-accumulates an image."""

    parameters: int
    in_r: int
    macs: int


@cache
def cost(model: str, size: int = 32, classes: int = 10) -> Cost:
    """Count a classifier by name, on one image of size x size; see `count`.

    >>> cost("resnet8(16)").parameters
    78042
    >>> cost("gc(4, base='resnet8(16)')").macs / cost("resnet8(16)").macs
    4.0
    """
    with torch.device("meta"):
        return count(build(model, classes), size)


def count(net: nn.Module, size: int) -> Cost:
    """Count a network on the device "meta", on one image of size x size, by PyTorch's counter.

    Convolutions and linear layers are counted, not norms, nor the products R * w, which a layer
    forms once for a whole batch.
    """
    image = torch.zeros(1, 3, size, size, device="meta")
    net.eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(image)
    in_r = sum(layer.R.numel() for layer in gc_layers(net))
    total = sum(p.numel() for p in net.parameters())
    return Cost(total - in_r, in_r, counter.get_total_flops() // 2)


class Pooled(nn.Module):
    """What the stages of our classifier make of pictures, each channel's mean over all places.

    Parameters
    ----------
    net : a `rgkit.models.cifar.staged` network
    data : the set that it was trained on, by whose mean and deviation pixels are normalised
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, net: nn.Module, data: str) -> None:
        super().__init__()
        # The stem's ReLU and each stage, without pooling, flattening and the linear layer.
        stages = [name for name, _ in net.named_children()][2:-3]
        self.stages = models._utils.IntermediateLayerGetter(net, {n: n for n in stages})
        source = images.SOURCES[data]
        for name, values in (("mean", source.mean), ("deviation", source.std)):
            self.register_buffer(name, torch.tensor(values)[:, None, None])
        self.eval().requires_grad_(False)

    def forward(self, pictures: Tensor) -> Tensor:
        """Return features [batch, channels of all stages] of pictures from 0 to 1."""
        found = self.stages((pictures - self.mean) / self.deviation)
        return torch.cat([x.mean((2, 3)) for x in found.values()], 1)


def read_classifier(path: Path) -> tuple[nn.Module, dict[str, Any]]:
    """Return the classifier in a file of `rgkit.chapters.own_classifier`, and where it comes from.

    Returns
    -------
    the network in float32, in evaluation mode, and its facts: config, accuracy in percent, commit …
    """
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    facts: dict[str, Any] = json.loads(str(arrays.pop("provenance")))
    config = facts["config"]
    net = build(config["model"], len(images.SOURCES[config["data"]].classes))
    # A state without a version may lack the counters of batch norm, as this one does.
    net.load_state_dict({n: torch.from_numpy(v.astype(np.float32)) for n, v in arrays.items()})
    return net.eval(), facts


def own_features() -> Pooled:
    """Return the network that pictures are compared by, on the CPU in float32.

    Its features are those of every stage. Tried on the true pictures of maps at 64 pixels, in both
    directions, against those of the last stage alone: with all of them every blur stood out more
    from the spread between random halves of the true pictures, the weakest blur included, and
    those halves were at zero on average either way. Pictures are compared by details, which early
    stages see.

    Raises DataError where the committed file is another.

    Examples
    --------
    >>> own_features()(torch.rand(2, 3, 64, 64)).shape
    torch.Size([2, 128])
    """
    check_file(OWN, DIGEST, "check it out again")
    net, facts = read_classifier(OWN)
    return Pooled(net, facts["config"]["data"])
