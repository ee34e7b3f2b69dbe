"""pix2pix's networks: shapes, what a patch sees, parameters by hand, and how weights begin."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from rgkit.models.names import Discriminator, Generator, named
from rgkit.models.translation import build


def count(net):
    return sum(p.numel() for p in net.parameters())


def on_meta(*names):
    with torch.device("meta"):
        return build(*names)


def conv(inside, out, bias=True):
    return 16 * inside * out + out * bias


def test_the_generator_of_the_paper_has_its_parameters():
    """The convolutions of C64-C128-...-C512 and back, each doubling but the first seeing two."""
    net, _ = on_meta("unet", "patchgan")
    down = [3, 64, 128, 256, 512, 512, 512, 512, 512]
    up = [(512, 512), (1024, 512), (1024, 512), (1024, 512), (1024, 256), (512, 128), (256, 64)]
    wanted = sum(map(conv, down, down[1:])) + sum(conv(*pair) for pair in up) + conv(128, 3)
    assert count(net) == wanted
    assert sum(isinstance(m, nn.Dropout) for m in net.modules()) == 3
    batch, _ = on_meta("unet(8, 64, 'batch', 0.0)", "patchgan")
    # Where there is a norm, a scale and a shift replace the bias. (pix2pix's own code leaves out
    # the biases of its first and its smallest level, too: 54,413,955.)
    normed = sum([128, 256, 512, 512, 512, 512]) + sum(out for _, out in up)
    assert count(batch) == wanted + normed == 54_413_955 + 64 + 512
    assert not any(isinstance(m, nn.Dropout) for m in batch.modules())


def test_the_discriminators_have_theirs():
    widths = [6, 64, 128, 256, 512]
    body = sum(map(conv, widths, widths[1:]))
    assert count(on_meta("unet(2, 1)", "patchgan")[1]) == body + conv(512, 1)
    batch = on_meta("unet(2, 1)", "patchgan(3, 64, 'batch')")[1]
    assert count(batch) == body + conv(512, 1) + 128 + 256 + 512 == 2_768_705
    assert count(on_meta("unet(2, 1)", "halving")[1]) == body + conv(512, 1, bias=False)


@pytest.mark.parametrize(
    ("judge", "size", "parts", "seen"),
    [
        ("patchgan(3, 8)", 256, 30, 70),
        ("patchgan(2, 8)", 64, 14, 34),
        ("patchgan(1, 8)", 32, 14, 16),
        ("halving(4, 8)", 256, 16, 94),
        ("halving(2, 8)", 64, 16, 22),
    ],
)
def test_a_patch_sees_so_many_pixels(judge, size, parts, seen):
    """By the gradient of one number in the middle; norms, which see everything, are taken out."""
    _, net = build("unet(2, 1)", judge)
    for name, module in list(net.parts.named_children()):
        if isinstance(module, nn.InstanceNorm2d):
            setattr(net.parts, name, nn.Identity())
    net.double()
    picture = torch.randn(1, 3, size, size, dtype=torch.float64, requires_grad=True)
    found = net(picture, picture.detach())
    assert found.shape == (1, 1, parts, parts)
    found[0, 0, parts // 2, parts // 2].backward()
    rows = picture.grad.abs().sum((0, 1, 3)).nonzero()
    assert rows.max() - rows.min() + 1 == seen


@pytest.mark.parametrize("norm", ["instance", "batch"])
@pytest.mark.parametrize(("levels", "size"), [(8, 256), (4, 16), (3, 24), (2, 16)])
def test_pictures_keep_their_size_and_stay_between_minus_one_and_one(norm, levels, size):
    net, _ = build(f"unet({levels}, 4, {norm!r})", "patchgan(1, 4)")
    made = net(torch.randn(1, 3, size, size))  # a batch of one, as RG's code has it
    assert made.shape == (1, 3, size, size)
    assert made.abs().max() <= 1
    assert made.std() > 0


def test_what_a_level_hands_over_reaches_the_picture():
    """With the innermost level cut off, the picture still depends on the input pixel by pixel."""
    net, _ = build("unet(3, 4)", "patchgan(1, 4)")
    with torch.no_grad():
        net.down[-1][1].weight.zero_()
    picture = torch.randn(1, 3, 16, 16, requires_grad=True)
    net.eval()(picture)[0, :, 8, 8].sum().backward()
    assert picture.grad[0, :, 8, 8].abs().sum() > 0


def test_dropout_is_there_in_training_only():
    net, _ = build("unet(4, 8)", "patchgan(1, 4)")
    picture = torch.randn(1, 3, 16, 16)
    assert not torch.equal(net(picture), net(picture))
    net.eval()
    assert torch.equal(net(picture), net(picture))


def test_weights_begin_small_and_are_those_of_their_seed():
    net, judge = build("unet(5, 32, 'batch')", "patchgan(2, 32, 'batch')", seed=3)
    for module in [*net.modules(), *judge.modules()]:
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d) and module.weight.numel() > 10_000:
            assert module.weight.mean().abs() < 1e-3
            assert module.weight.std().item() == pytest.approx(0.02, rel=0.03)
            assert module.bias is None or not module.bias.any()
        if isinstance(module, nn.BatchNorm2d):
            assert module.weight.mean().item() == pytest.approx(1, abs=0.02)
    before = torch.get_rng_state()
    again, same = build("unet(5, 32, 'batch')", "patchgan(2, 32, 'batch')", seed=3)
    other, _ = build("unet(5, 32, 'batch')", "patchgan(2, 32, 'batch')", seed=4)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(map(torch.equal, net.state_dict().values(), again.state_dict().values()))
    assert all(map(torch.equal, judge.state_dict().values(), same.state_dict().values()))
    assert not torch.equal(net.down[0][0].weight, other.down[0][0].weight)


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        (Generator, "unett", "unknown generator 'unett'; did you mean 'unet'"),
        (Generator, "unet(1)", "levels=1 given; a whole number of 2 or more"),
        (Generator, "unet(8, 64, 'instanc')", "norm='instanc' given; did you mean 'instance'"),
        (Generator, "unet(8, 64, 'batch', 1)", "dropout=1 given; from 0 up to below 1"),
        (Discriminator, "patchgun", "unknown discriminator 'patchgun'; did you mean 'patchgan'"),
        (Discriminator, "halving(0)", "layers=0 given; a whole number of 1 or more"),
    ],
)
def test_a_wrong_name_is_refused_with_the_right_one(kind, text, message):
    with pytest.raises(ValueError, match=message):
        named(kind, text)
