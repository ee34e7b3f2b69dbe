"""Ways around faults of torch and torchvision: an import, and a convolution.

The registry's torchvision is linked against CUDA. Beside a torch without CUDA its operators cannot
be loaded and the import fails with "operator torchvision::nms does not exist", although
networks, transforms and data sets need none of them. Declaring the operators first is enough.
Beside a matching torchvision nothing is done.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

# The operators that torchvision's Python side mentions while it is imported.
OPERATORS = ("nms", "qnms")
_declared: list[torch.library.Library] = []  # a Library takes its operators along when it dies


def _nms(boxes: torch.Tensor, scores: torch.Tensor, iou_threshold: float) -> torch.Tensor:
    """Greedy non-maximum suppression, boxes [N, 4] as x1, y1, x2, y2; indices kept, best first."""
    order = scores.argsort(descending=True, stable=True)
    # In NumPy: a detector asks for many small sets, and a call of torch costs ten times as much.
    x1, y1, x2, y2 = boxes.detach()[order].T.cpu().numpy()
    area = (x2 - x1) * (y2 - y1)
    left, keep = np.arange(len(order)), list[int]()
    while left.size:
        best, left = left[0], left[1:]
        keep.append(best)
        wide = np.minimum(x2[left], x2[best]) - np.maximum(x1[left], x1[best])
        high = np.minimum(y2[left], y2[best]) - np.maximum(y1[left], y1[best])
        shared = wide.clip(min=0) * high.clip(min=0)
        left = left[shared / (area[left] + area[best] - shared) <= iou_threshold]
    return order[torch.tensor(keep, dtype=torch.int64, device=order.device)]


def _import_with_declared_operators() -> ModuleType:
    for name in [n for n in sys.modules if n == "torchvision" or n.startswith("torchvision.")]:
        del sys.modules[name]  # what the failed import left behind
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in OPERATORS:
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.impl("nms", _nms, "CPU")
    _declared.append(library)
    found = importlib.import_module("torchvision")
    boxes = importlib.import_module("torchvision.ops.boxes")
    setattr(boxes, "_assert_has_ops", lambda: None)  # noqa: B010  nms is there now
    return found


def import_torchvision() -> ModuleType:
    """Return the torchvision module, with missing operators declared where that is needed.

    Raises
    ------
    ImportError, RuntimeError
        What torchvision's own import raised, if torch has CUDA or something else is wrong.

    Examples
    --------
    >>> import_torchvision().__name__
    'torchvision'
    """
    try:
        return importlib.import_module("torchvision")
    except RuntimeError as error:
        if torch.version.cuda is not None or "torchvision::nms" not in str(error):
            raise
        return _import_with_declared_operators()


# --- convolutions with the channels last, the faster way ---------------------------------------

BLOCK = 16  # channels that oneDNN takes at once with AVX-512; 8 without


def _narrow(weight: Tensor, stride: Any, padding: Any, groups: int) -> bool:
    """Whether a convolution is one that oneDNN is not to be given with its channels last.

    In the backward pass of a 1x1 kernel with a stride it writes past its memory where there are
    fewer input channels than in a block (its issue 6035, with torch 2.13 and 2.14), in float32 on a
    CPU: without AVX-512 at any size of a few pixels, with it from pictures of 64x64 on.
    """
    small = weight.shape[1] < BLOCK and weight.shape[2:] == (1, 1)
    return small and groups == 1 and max(stride) > 1 and not any(padding)


def convolve(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: Any, padding: Any, dilation: Any,
    groups: int,
) -> Tensor:  # fmt: skip
    """Convolve as `torch.nn.functional.conv2d` does, by another way where oneDNN's is not safe.

    The pixels that a 1x1 kernel with a stride passes over are left out before.

    >>> x, weight = torch.ones(1, 4, 5, 8), torch.ones(8, 4, 1, 1)
    >>> convolve(x, weight, None, (2, 2), (0, 0), (1, 1), 1).shape
    torch.Size([1, 8, 3, 4])
    """
    if (
        x.device.type == "cpu"
        and x.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
        and max(x.stride(3), weight.stride(3)) > 1  # the channels come last
        and _narrow(weight, stride, padding, groups)
    ):
        x, stride = x[..., :: stride[0], :: stride[1]], 1
    return conv2d(x, weight, bias, stride, padding, dilation, groups)


class _Conv2d(nn.Conv2d):
    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return convolve(input, weight, bias, self.stride, self.padding, self.dilation, self.groups)


def channels_last(net: nn.Module, where: torch.device | str, dtype: torch.dtype) -> nn.Module:
    """Bring a network to a device, channels last, and see that no convolution of it is unsafe.

    >>> net = channels_last(nn.Sequential(nn.Conv2d(4, 8, 1, stride=2)), "cpu", torch.float32)
    >>> net(torch.zeros(1, 4, 8, 8)).shape
    torch.Size([1, 8, 4, 4])
    """
    for module in net.modules():
        if type(module) is nn.Conv2d and _narrow(
            module.weight, module.stride, module.padding, module.groups
        ):
            module.__class__ = _Conv2d  # the others lose no time
    moved: nn.Module = net.to(where, dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return moved
