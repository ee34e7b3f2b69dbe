"""PSPNet and DUC+HDC: sizes, parameter counts by hand, what a pixel sees, and DUC's shuffle."""

from __future__ import annotations

import functools
import hashlib
from typing import Any

import pytest
import torch
from torch import nn

from rgkit.data.compat import import_torchvision
from rgkit.models.segmentation import build, dense_upsampling, load_backbone

import_torchvision()
from torchvision.models import resnet  # noqa: E402

NAMES = ["pspnet('resnet18', 8)", "duc_hdc('resnet18', 8)", "pspnet('resnet50', 4)"]


@functools.cache
def built(name):
    """A network that is only looked at."""
    return build(name, 5).eval()


def parameters(net):
    return sum(p.numel() for p in net.parameters())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [(64, 64), (57, 90)])
def test_a_class_for_every_pixel_of_the_input(name, size):
    net = built(name)
    with torch.no_grad():
        assert net(torch.randn(2, 3, *size)).shape == (2, 5, *size)


def test_only_pspnet_has_a_second_output_and_only_in_training():
    images = torch.randn(2, 3, 64, 64)
    main, second = build("pspnet('resnet18', 8)", 5)(images)
    assert main.shape == second.shape == (2, 5, 64, 64)
    assert build("duc_hdc('resnet18', 8)", 5)(images).shape == (2, 5, 64, 64)


def conv_bn(inside, out, kernel):
    return inside * out * kernel**2 + 2 * out


def test_parameters_of_pspnet_101_by_hand():
    """Zhao et al.: four levels of a quarter of 2,048 channels, then 512; the same on stage 3."""
    with torch.device("meta"):
        net, whole = build("pspnet", 21), resnet.resnet101()
    backbone = parameters(whole) - 2_048 * 1_000 - 1_000
    head = 4 * conv_bn(2_048, 512, 1) + conv_bn(4_096, 512, 3) + 512 * 21 + 21
    second = conv_bn(1_024, 256, 3) + 256 * 21 + 21
    assert parameters(net) == backbone + head + second
    assert len(list(net.backbone["layer3"])) == 23


def test_parameters_of_duc_by_hand():
    """One convolution that predicts 64 pixels of every class."""
    with torch.device("meta"):
        net, whole = build("duc_hdc('resnet18')", 21), resnet.resnet18()
    backbone = parameters(whole) - 512 * 1_000 - 1_000
    assert parameters(net) == backbone + 512 * 21 * 64 * 9 + 21 * 64


def test_a_narrow_backbone_is_torchvisions_with_fewer_channels():
    with torch.device("meta"):
        wide, narrow = (build(f"pspnet('resnet18', {width})", 5).backbone for width in (64, 16))
    for (name, a), (other, b) in zip(
        wide.named_parameters(), narrow.named_parameters(), strict=True
    ):
        assert name == other
        assert a.shape[0] == 4 * b.shape[0]
    assert torch.equal(
        torch.tensor([m.eps for m in wide.modules() if isinstance(m, nn.BatchNorm2d)]),
        torch.tensor([m.eps for m in narrow.modules() if isinstance(m, nn.BatchNorm2d)]),
    )


def rates(net, stage):
    """Dilation of the 3x3 kernels, block by block."""
    blocks = net.backbone[stage].children()
    found = [
        {m.dilation[0] for m in b.modules() if getattr(m, "kernel_size", 0) == (3, 3)}
        for b in blocks
    ]
    assert all(len(one) == 1 for one in found)
    return [one.pop() for one in found]


def test_dilation_is_that_of_the_papers():
    with torch.device("meta"):
        psp, duc = build("pspnet", 21), build("duc_hdc", 21)
    assert (rates(psp, "layer3"), rates(psp, "layer4")) == ([2] * 23, [4] * 3)
    # "we group every 4 blocks together and change their dilation rates to 1, 2, 5 and 9; the rates
    # for the last 3 blocks are 1, 2 and 5. For res5b, 5, 9 and 17."
    assert rates(duc, "layer3") == [1, 2, 5, 9] * 5 + [1, 2, 5]
    assert rates(duc, "layer4") == [5, 9, 17]


@pytest.mark.parametrize("name", NAMES)
def test_the_backbone_gives_an_eighth_of_the_size(name):
    net = built(name)
    with torch.no_grad():
        features = net.backbone(torch.randn(1, 3, 64, 96))
    assert {value.shape[-2:] for value in features.values()} == {(8, 12)}


def seen(name, at=48):
    """Which rows of the input the backbone's output in the middle depends on."""
    net = build(name, 3).eval().double()
    net.backbone["maxpool"] = nn.AvgPool2d(3, stride=2, padding=1)  # the largest hides the others
    for module in net.modules():  # no path may be switched off or cancel by chance
        if isinstance(module, nn.Conv2d):
            nn.init.constant_(module.weight, 0.01)
    image = torch.rand(1, 3, 96 * 8, 8, dtype=torch.float64, requires_grad=True)
    net.backbone(image)["4"][0, 0, at, 0].backward()
    rows = image.grad.abs().sum((0, 1, 3)).nonzero()
    return int(rows.min()), int(rows.max())


@pytest.mark.parametrize(
    ("name", "spread"),
    [("pspnet('resnet18', 4)", [2, 2, 4, 4]), ("duc_hdc('resnet18', 4)", [1, 2, 5, 9])],
)
def test_what_a_pixel_sees_is_the_sum_of_its_kernels(name, spread):
    """Stem 7 and pool 3 at strides 2 and 4, four 3x3 at 4, then at 8 one a stride and the rest."""
    low, high = seen(name)
    field = 7 + 2 * 2 + 4 * (2 * 4) + 4 * 2 + 8 * (2 * 3)
    field += sum(8 * 2 * 2 * rate for rate in spread)
    assert high - low + 1 == field


def test_dense_upsampling_puts_each_channel_at_its_place_in_the_block():
    """Wang et al.: the output h x w x (d² L) is reshaped to H x W x L. Channel by channel."""
    head, d, classes = dense_upsampling(2, 3, factor=4), 4, 3
    conv = head[0](x := torch.randn(2, 2, 5, 6))
    found = head(x)
    assert found.shape == (2, classes, 20, 24)
    for c in range(classes):
        for y in range(d):
            for x_ in range(d):
                torch.testing.assert_close(
                    found[:, c, y::d, x_::d], conv[:, c * d * d + y * d + x_]
                )


def test_a_frozen_norm_has_no_gradient_and_the_rest_has_one():
    with torch.device("meta"):
        net, free = build("pspnet('resnet18', 8, 'frozen')", 4), build("pspnet('resnet18', 8)", 4)
    norms = [m for m in net.backbone.modules() if isinstance(m, nn.BatchNorm2d)]
    assert norms
    assert not any(p.requires_grad for norm in norms for p in norm.parameters())
    assert all(p.requires_grad for p in free.parameters())
    of_norms = sum(p.numel() for norm in norms for p in norm.parameters())
    trained = sum(p.numel() for p in net.parameters() if p.requires_grad)
    assert trained == parameters(free) - of_norms


def test_one_seed_is_one_network_and_the_global_state_is_left_alone():
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    a, b, c = (build("duc_hdc('resnet18', 4)", 3, seed=s).state_dict() for s in (0, 0, 1))
    assert torch.equal(torch.rand(2), expected)
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not torch.equal(a["head.0.weight"], c["head.0.weight"])


def test_torchvisions_weights_are_loaded_and_others_are_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("RGKIT_DATA", str(tmp_path))

    def kept(state: dict[str, Any]) -> str:
        file = tmp_path / "weights" / "state.pth"
        file.parent.mkdir(exist_ok=True)
        torch.save(state, file)
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        return file.rename(file.with_name(f"resnet18-{digest[:8]}.pth")).name

    given = resnet.resnet18()
    name = kept(given.state_dict())
    net = build("pspnet('resnet18')", 4, weights=name)
    for key, value in net.backbone.state_dict().items():
        assert torch.equal(value, given.state_dict()[key]), key
    with pytest.raises(ValueError, match=f"{name} does not hold this backbone's weights"):
        build("pspnet('resnet50')", 4, weights=name)
    with pytest.raises(ValueError, match=r'(?s)Unexpected key.*"other"'):
        load_backbone(net, kept({"other": torch.zeros(1)} | given.state_dict()))


def test_logits_are_not_mixed_in_bfloat16():
    net = build("pspnet('resnet18', 4)", 5).train()
    with torch.autocast("cpu", torch.bfloat16):
        outputs = net(torch.randn(2, 3, 32, 32))
    assert {output.dtype for output in outputs} == {torch.float32}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("pspnet('resnet19')", "backbone='resnet19' given; did you mean 'resnet18'"),
        ("duc_hdc('resnet50', 64, 'froze')", "norm='froze' given; did you mean 'frozen'"),
        ("pspnet('resnet18', 6)", "width=6 given; a multiple of 4"),
        ("pspent", "unknown segmentation network 'pspent'; did you mean 'pspnet'"),
    ],
)
def test_a_network_that_cannot_be_is_refused(name, words):
    with pytest.raises(ValueError, match=words):
        build(name, 3)
