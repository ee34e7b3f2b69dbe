"""Networks whose channels come last in memory, the faster way, and a way around a bug there."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

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
