"""Networks side by side, the control of branches that share nothing; widenings in between."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from rgkit.models.calibrated import SideBySide
from rgkit.models.classification import build, cost
from rgkit.models.names import changed, model, wrn_macs
from rgkit.runs.config import Classification, ConfigError
from rgkit.runs.grid import arm_of
from rgkit.train.loop import train

TINY = Classification(data="digits", images=64, batch=32, epochs=2, augment="none", lr=0.05)


@pytest.mark.parametrize("copies", [1, 2, 3])
@pytest.mark.parametrize("base", ["resnet8(4)", "wrn(10, 0.5)"])
def test_copies_cost_as_many_times_as_much_and_answer_with_their_mean(copies, base):
    one, many = cost(base), cost(f"side_by_side({copies}, {base!r})")
    assert many.parameters == copies * one.parameters
    assert many.macs == copies * one.macs
    assert many.in_r == 0
    net = build(f"side_by_side({copies}, {base!r})", seed=3).double().eval()
    images = torch.randn(4, 3, 8, 8, dtype=torch.float64)
    slow = [sum(part(image[None])[0] for part in net.nets) / copies for image in images]
    torch.testing.assert_close(net(images), torch.stack(slow))


def test_copies_begin_apart_and_the_first_as_the_plain_network():
    plain, twice = build("resnet8(4)", seed=5), build("side_by_side(2, 'resnet8(4)')", seed=5)
    again = build("side_by_side(2, 'resnet8(4)')", seed=6)
    first, second = (nn.utils.parameters_to_vector(net.parameters()) for net in twice.nets)
    assert torch.equal(first, nn.utils.parameters_to_vector(plain.parameters()))
    others = [nn.utils.parameters_to_vector(net.parameters()) for net in again.nets]
    kernels = [v[:108] for v in (first, second, *others)]  # of the stem: no norm's ones among them
    assert all(not (a == b).any() for i, a in enumerate(kernels) for b in kernels[:i])


def test_one_copy_is_the_plain_network_bit_for_bit():
    runs = [
        train(TINY.replace(model=m), "cpu") for m in ("resnet8(4)", "side_by_side(1, 'resnet8(4)')")
    ]
    assert runs[0].epochs == runs[1].epochs


def test_copies_are_trained_on_the_loss_of_their_mean_and_not_each_on_its_own():
    net = build("side_by_side(2, 'resnet8(2)')").double()
    images, labels = torch.randn(6, 3, 8, 8, dtype=torch.float64), torch.arange(6)
    logits = [part(images) for part in net.nets]
    # By hand: the gradient of the loss by a copy's logits is half of that by the mean's.
    chances = (sum(logits) / 2).softmax(1)
    wanted = (chances - torch.eye(10, dtype=torch.float64)[labels]) / 6 / 2
    by_hand = torch.autograd.grad(logits[1], list(net.nets[1].parameters()), wanted.detach())
    cross_entropy(net(images), labels).backward()
    for mine, own in zip(by_hand, net.nets[1].parameters(), strict=True):
        torch.testing.assert_close(own.grad, mine)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("side_by_side(2)", "base='' given; a network by name"),
        ("side_by_side(0, 'resnet8(4)')", "copies=0 given; a whole number of 1 or more"),
        ("side_by_side(2, 'resnet88')", "did you mean 'resnet8'"),
        ("side_by_side(2, \"gc(2, base='resnet8')\")", "one without branches or copies"),
        ("gc(2, base=\"side_by_side(2, 'resnet8')\")", "one without branches or copies"),
        ("side_by_sid(2)", "did you mean 'side_by_side'"),
        ("wrn(28, 0.01)", "times=0.01 given; 0.0625 or more"),
    ],
)
def test_wrong_copies_are_refused_by_name(text, words):
    with pytest.raises(ValueError, match=words):
        model(text)


def test_copies_as_an_arm_take_the_network_of_their_cell():
    config = Classification(model="wrn(16, 1)")
    assert arm_of("side_by_side(3)", config).model == "side_by_side(3, 'wrn(16, 1)')"
    with pytest.raises(ConfigError, match="did you mean 'side_by_side'"):
        arm_of("side_by_sides(3)", config)
    with pytest.raises(ValueError, match="no networks given"):
        SideBySide([])


def test_a_wide_network_keeps_its_name_and_can_lie_between_two_widths():
    assert str(model("wrn(28, 10)")) == str(model("wrn")) == "wrn(28, 10)"
    assert str(changed("wider(6.2)", "wrn(28, 4)")) == "wrn(28, 10)"  # of Table 2


@pytest.mark.parametrize("base", ["wrn(40, 4)", "wrn(28, 4)", "wrn(16, 1)", "wrn(10, 0.5)"])
@pytest.mark.parametrize("times", [1, 2, 3])
def test_a_wider_network_has_as_much_arithmetic_as_the_counter_finds(base, times):
    wider = changed(f"wider({times})", base)
    channels = round(16 * wider.times)
    assert wider.times == channels / 16
    counted = cost(str(wider)).macs
    assert wrn_macs(wider.depth, channels) + 10 * 4 * channels == counted  # and the classifier
    gaps = [
        abs(wrn_macs(wider.depth, c) / wrn_macs(wider.depth, round(16 * model(base).times)) - times)
        for c in range(1, 200)
    ]
    assert channels == 1 + gaps.index(min(gaps))
