"""Faster R-CNN around a small residual network: torchvision's two heads, our backbones."""

from __future__ import annotations

from functools import cache
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rgkit.data.compat import import_torchvision
from rgkit.models import cifar
from rgkit.models.calibrated import Calibrated
from rgkit.models.classification import Cost, count
from rgkit.models.names import GC, Model, StagedResNet, model

import_torchvision()
from torchvision.models.detection import faster_rcnn as frcnn  # noqa: E402
from torchvision.models.detection.image_list import ImageList  # noqa: E402
from torchvision.ops import box_iou as box_iou  # noqa: E402  used by the task, too

# Sides of the square anchors in parts of the picture: 64 to 512 pixels of 640, as CSGD has them.
ANCHORS = (0.1, 0.2, 0.4, 0.8)
RATIOS = (0.5, 1.0, 2.0)
BINS = 5  # a region is looked at in 5x5 places
LEAST = 0.05  # the score of a detection that counts for the average precision
HALF = 0.5  # the overlap (IoU) from which on a box counts as found

Target = dict[str, Tensor]  # "boxes" [n, 4] and "labels" [n], 1 for the first class


class RegionAlign(nn.Module):
    """RoIAlign with two by two points a bin, as a gather of PyTorch's own: `grid_sample`.

    torchvision's operator is compiled, and where it cannot be loaded its Python twin takes several
    times as long as the rest of the network. This gives the same numbers as both.

    Parameters
    ----------
    stride : pixels of a picture for one place of its features
    """

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, maps: dict[str, Tensor], boxes: list[Tensor], sizes: Any) -> Tensor:
        """Return features of all boxes [regions, channels, BINS, BINS].

        Parameters
        ----------
        maps : "0" -> features [batch, channels, height, width]
        boxes : of each picture [n, 4], within the picture
        """
        features = maps["0"]
        high, wide = features.shape[-2:]
        step = (torch.arange(2 * BINS, device=features.device, dtype=features.dtype) + 0.5) / 2
        parts = []
        for one, own in zip(features, boxes, strict=True):
            x1, y1, x2, y2 = (own.to(features.dtype) / self.stride).unbind(1)
            x = x1[:, None] + step * ((x2 - x1).clamp(min=1) / BINS)[:, None]
            y = y1[:, None] + step * ((y2 - y1).clamp(min=1) / BINS)[:, None]
            # From places, whose centres are whole numbers, to -1 and 1 at the rims.
            x, y = (2 * x + 1) / wide - 1, (2 * y + 1) / high - 1
            grid = torch.stack(torch.broadcast_tensors(x[:, None], y[..., None]), -1)
            place: dict[str, Any] = {"padding_mode": "border", "align_corners": False}
            found = F.grid_sample(one[None], grid.flatten(0, 1)[None], **place)
            parts.append(found[0].unflatten(1, (len(own), BINS, 2)).unflatten(4, (BINS, 2)))
        return torch.cat([part.mean((3, 5)).transpose(0, 1) for part in parts])


class Backbone(nn.Module):
    """A residual network without its classifier, plain or in branches.

    From images [batch, 3, size, size] to [batch, channels, size / stride, size / stride]; branches
    stand side by side, or are averaged where the network says ``join="mean"``.
    """

    def __init__(self, spec: Model) -> None:
        super().__init__()
        branched = spec if isinstance(spec, GC) else None
        plain = model(branched.base) if branched else spec
        assert isinstance(plain, StagedResNet)  # as `Detection` requires
        body: nn.Module = cifar.staged(plain.widths, plain.blocks, 1)[:-3]  # no classifier
        self.branches = branched.branches if branched else 1
        self.mean = branched is not None and branched.join == "mean"
        self.body = Calibrated(body, branched) if branched else body
        self.channels = plain.widths[-1] * (1 if self.mean else self.branches)
        # Each width that is not the one before halves the picture.
        self.stride = 2 ** (len(list(groupby(plain.widths))) - 1)

    def forward(self, images: Tensor) -> Tensor:
        """Return the features."""
        found: Tensor = self.body(images.contiguous())  # see `rgkit.chapters.detection.task`
        return found.unflatten(1, (self.branches, -1)).mean(1) if self.mean else found


class Detector(nn.Module):
    """Backbone, a 1x1 convolution to as many channels in every arm, and torchvision's two heads.

    They are those of its ``FasterRCNN``, whose wrapper normalises and resizes each picture; ours no
    longer need that.

    Parameters
    ----------
    spec : the backbone
    classes : how many there are, background not among them
    size, head, proposals : see `rgkit.chapters.detection.Detection`
    """

    def __init__(self, spec: Model, classes: int, size: int, head: int, proposals: int) -> None:
        super().__init__()
        self.classes = classes
        state = torch.get_rng_state()
        self.backbone = Backbone(spec)
        torch.set_rng_state(state)  # so that arms of one seed begin with the same heads
        anchors = frcnn.AnchorGenerator((tuple(round(size * part) for part in ANCHORS),), (RATIOS,))
        before, after = (dict.fromkeys(("training", "testing"), n * proposals) for n in (4, 1))
        # The numbers are torchvision's own, which are the Faster R-CNN paper's: overlaps that make
        # an anchor or a region an object or background, how many are drawn, which part objects.
        self.rpn = frcnn.RegionProposalNetwork(
            anchors, frcnn.RPNHead(head, anchors.num_anchors_per_location()[0]),
            0.7, 0.3, 256, 0.5, before, after, 0.7,
        )  # fmt: skip
        self.roi_heads = frcnn.RoIHeads(
            RegionAlign(self.backbone.stride), frcnn.TwoMLPHead(head * BINS**2, 4 * head),
            frcnn.FastRCNNPredictor(4 * head, classes + 1),
            0.5, 0.5, proposals // 2, 0.25, None, LEAST, 0.5, 100,
        )  # fmt: skip
        self.neck = nn.Sequential(
            nn.Conv2d(self.backbone.channels, head, 1, bias=False),
            nn.BatchNorm2d(head),
            nn.ReLU(inplace=True),
        )

    def see(self, images: Tensor) -> Tensor:
        """Return the features [batch, head, height, width] that both heads look at."""
        found: Tensor = self.neck(self.backbone(images))
        return found

    def losses(
        self, images: Tensor, features: Tensor, targets: list[Target]
    ) -> tuple[Tensor, Tensor]:
        """Return the sum of Faster R-CNN's four losses, and how many pictures are proposed right.

        A picture counts by the part of its true boxes that some proposal overlaps by half; one
        without objects counts whole. Both heads sample from torch's global random state.
        """
        shapes, maps = _listed(images), {"0": features}
        heads = (self.rpn, self.roi_heads)
        for head in heads:  # they have a loss in training only, and nothing that remembers
            head.train()
        proposals, first = self.rpn(shapes, maps, targets)
        _, second = self.roi_heads(maps, proposals, shapes.image_sizes, targets)
        for head in heads:
            head.train(self.training)
        parts: list[Tensor] = [*first.values(), *second.values()]
        return torch.stack(parts).sum(), _proposed(proposals, targets).to(features.dtype)

    def detect(self, images: Tensor, features: Tensor) -> list[Target]:
        """Return of each picture "boxes" [n, 4], "labels" [n] from 1, and "scores" [n]."""
        shapes, maps = _listed(images), {"0": features}
        proposals, _ = self.rpn(shapes, maps)
        found, _ = self.roi_heads(maps, proposals, shapes.image_sizes)
        return found  # type: ignore[no-any-return]


def _listed(images: Tensor) -> Any:
    return ImageList(images, [tuple(images.shape[-2:])] * len(images))


def _proposed(proposals: list[Tensor], targets: list[Target]) -> Tensor:
    parts = []
    for boxes, target in zip(proposals, targets, strict=True):
        # One more, which overlaps nothing: there may be no proposals at all.
        best = F.pad(box_iou(target["boxes"], boxes), (0, 1)).amax(1)
        parts.append((best >= HALF).float().mean().nan_to_num(1.0))
    return torch.stack(parts).sum()


def build(
    name: str | Model, classes: int, *, size: int, head: int, proposals: int, seed: int = 0
) -> Detector:
    """Build a detector with fresh weights, on the CPU in float32.

    Parameters
    ----------
    name, size, head, proposals : see `rgkit.chapters.detection.Detection`
    classes : how many there are, background not among them
    seed : the same seed gives the same weights; the global random state is left as it was

    Examples
    --------
    >>> net = build("staged_resnet((4, 8), (1, 1))", 3, size=32, head=8, proposals=8).eval()
    >>> net.see(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 8, 16, 16])
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Detector(model(name), classes, size, head, proposals)


@cache
def cost_of_backbone(name: str, size: int) -> Cost:
    """Count the backbone of a detector by name, on one picture of size x size.

    >>> one, four = "staged_resnet((4, 8), (1, 1))", "gc(4, base='staged_resnet((4, 8), (1, 1))')"
    >>> cost_of_backbone(four, 32).macs / cost_of_backbone(one, 32).macs
    4.0
    """
    with torch.device("meta"):
        return count(Backbone(model(name)), size)
