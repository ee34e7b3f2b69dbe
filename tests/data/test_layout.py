"""Networks with their channels last: the same numbers, and no memory of others is written to."""

from __future__ import annotations

import copy
import os
import subprocess
import sys

import pytest
import torch
from torch import nn

from rgkit.data.compat import channels_last
from rgkit.models.calibrated import Calibrated
from rgkit.models.classification import build
from rgkit.models.names import GC

# Without the way around, each of the first three kills its process without AVX-512, and the last
# two do with it: input channels, batch, size.
DEADLY = (2, 128, 16), (4, 128, 16), (4, 64, 16), (8, 4, 64), (15, 4, 64)


def gradients(net: nn.Module, x: torch.Tensor) -> list[torch.Tensor]:
    x = x.clone().requires_grad_()  # which keeps the memory format
    net.zero_grad()
    net(x).square().sum().backward()
    return [x.grad, *(p.grad for p in net.parameters())]


def agree(dtype: torch.dtype, tolerance: float) -> None:
    for channels, batch, size in DEADLY:
        plain = nn.Sequential(nn.Conv2d(channels, 8, 1, stride=2), nn.ReLU())
        for net in (plain, Calibrated(plain, GC(branches=1))):
            last = channels_last(copy.deepcopy(net), "cpu", dtype)
            for _ in range(5):
                x = torch.randn(batch, channels, size, size, dtype=dtype)
                for ours, theirs in zip(
                    gradients(last, x.to(memory_format=torch.channels_last)),
                    gradients(net.to(dtype), x), strict=True,
                ):  # fmt: skip
                    scale = theirs.abs().max().item()
                    torch.testing.assert_close(ours, theirs, rtol=0, atol=tolerance * scale)


def test_gradients_are_those_of_contiguous_memory_without_avx_512():
    """In a process of its own: oneDNN reads the variable once, and the bug kills."""
    code = "import torch; from test_layout import agree; agree(torch.float32, 1e-5)"
    where = {"ONEDNN_MAX_CPU_ISA": "AVX2", "PYTHONPATH": os.pathsep.join(sys.path)}
    here = os.path.dirname(__file__)
    subprocess.run([sys.executable, "-c", code], cwd=here, env=os.environ | where, check=True)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_gradients_are_those_of_contiguous_memory(dtype, tolerance):
    """On this processor as it is; should the bug come back, it kills this worker, which tells."""
    agree(dtype, tolerance)


def test_a_network_is_itself_with_its_channels_last():
    plain = build("resnet8(4)")
    last = channels_last(build("resnet8(4)"), "cpu", torch.float32)
    again = copy.deepcopy(last)
    again.load_state_dict(plain.state_dict())
    assert last.state_dict().keys() == plain.state_dict().keys()
    x = torch.randn(4, 3, 16, 16).to(memory_format=torch.channels_last)
    torch.testing.assert_close(again(x), plain(x))
    assert all(
        p.is_contiguous(memory_format=torch.channels_last)
        for p in again.parameters()
        if p.dim() == 4
    )
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(last(x), plain.to(memory_format=torch.channels_last)(x))
