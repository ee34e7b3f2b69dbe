"""The GC layer and Algorithm 1, each against loops of a few lines."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.functional import conv2d, cross_entropy

from rgkit.models.calibrated import Calibrated, GCConv2d, calibrate_after, gc_layers, optimized
from rgkit.models.classification import build, cost
from rgkit.models.names import GC, changed, model
from rgkit.runs.config import Classification, ConfigError
from rgkit.runs.grid import arm_of
from rgkit.tasks.classification import make_step
from rgkit.train.loop import Training, train
from rgkit.train.step import make_optimizer

DOUBLE = torch.float64
TINY = Classification(data="digits", images=64, batch=32, epochs=2, augment="none", lr=0.05)


def layer(spec: GC, groups: int = 1, bias: bool = True) -> GCConv2d:
    torch.manual_seed(0)
    conv = nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=groups, bias=bias, dtype=DOUBLE)
    return GCConv2d(conv, spec).to(DOUBLE)


def by_branches(gc: GCConv2d, x: torch.Tensor) -> torch.Tensor:
    """One branch after another: equation 4 as it stands."""
    found, branches = [], gc.spec.branches
    for k in range(branches):
        kernel = torch.empty_like(gc.weight)
        for o in range(kernel.shape[0]):
            for i in range(kernel.shape[1]):
                kernel[o, i] = gc.R[k] * gc.weight[o, i]
        part = x[:, 4 * k : 4 * (k + 1)]
        groups = gc.options[3] // branches
        found.append(conv2d(part, kernel, gc.bias, stride=2, padding=1, groups=groups))
    return torch.cat(found, 1)


@pytest.mark.parametrize("branches", [1, 2, 5])
@pytest.mark.parametrize("groups", [1, 2])
def test_one_grouped_convolution_is_the_loop_over_branches(branches, groups):
    gc = layer(GC(branches=branches), groups)
    x = torch.randn(3, 4 * branches, 7, 7, dtype=DOUBLE, requires_grad=True)
    slow = by_branches(gc, x)
    torch.testing.assert_close(gc(x), slow, rtol=1e-12, atol=1e-12)
    wanted = [x, gc.weight, gc.R]
    for fast, by_loop in zip(
        torch.autograd.grad(gc(x).square().sum(), wanted),
        torch.autograd.grad(slow.square().sum(), wanted),
        strict=True,
    ):
        torch.testing.assert_close(fast, by_loop, rtol=1e-10, atol=1e-10)


def test_the_chain_rule_by_finite_differences():
    gc = layer(GC(branches=3), bias=False)
    x = torch.randn(2, 12, 5, 5, dtype=DOUBLE)

    def loss_of(weight, r):
        return torch.func.functional_call(gc, {"weight": weight, "R": r}, (x,)).square().sum()

    assert torch.autograd.gradcheck(loss_of, (gc.weight, gc.R))


def test_equation_2_read_as_it_stands_has_r_once_more_in_the_gradient_of_w_only():
    chain, again = (layer(GC(branches=3, reading=r), bias=False) for r in ("chain", "again"))
    again.load_state_dict(chain.state_dict())
    x = torch.randn(2, 12, 5, 5, dtype=DOUBLE)
    torch.testing.assert_close(chain(x), again(x), rtol=0, atol=0)
    kernels = chain.kernels().detach().requires_grad_()
    conv2d(x, kernels, None, *chain.options).square().sum().backward()
    dh = kernels.grad.unflatten(0, (3, 6))
    for gc, power in ((chain, 1), (again, 2)):
        gc(x).square().sum().backward()
        by_hand = sum(gc.R[k].detach() ** power * dh[k] for k in range(3))
        torch.testing.assert_close(gc.weight.grad, by_hand)
    torch.testing.assert_close(chain.R.grad, again.R.grad)


def test_one_branch_is_the_plain_network_bit_for_bit():
    x = torch.randn(4, 3, 32, 32)
    plain, one = build("resnet8(4)", seed=3), build("gc(1, base='resnet8(4)')", seed=3)
    assert torch.equal(plain(x), one(x))
    for layer in gc_layers(one):
        assert torch.equal(layer.R, torch.ones_like(layer.R))
    runs = [train(TINY.replace(model=m), "cpu") for m in ("resnet8(4)", "gc(1, base='resnet8(4)')")]
    assert runs[0].epochs == runs[1].epochs


@pytest.mark.parametrize("join", ["concat", "mean"])
def test_equal_branches_are_one_layer_at_k_times_the_arithmetic(join):
    """Prediction 11: each branch is the plain layer times 1/K, which batch norm divides out."""
    x = torch.randn(4, 3, 16, 16, dtype=DOUBLE)
    plain = build("resnet8(4)", seed=1).to(DOUBLE)
    branched = Calibrated(plain, GC(branches=4, join=join)).to(DOUBLE)
    with torch.no_grad():
        for gc in gc_layers(branched):
            gc.R.fill_(0.25)
        for norm in (m for m in branched.modules() if isinstance(m, nn.BatchNorm2d)):
            norm.eps /= 16  # the epsilon is the only thing that knows the kernel's size
        if join == "concat":
            last = branched.net[0][-1]
            last.weight.copy_(plain[-1].weight.repeat(1, 4) / 4)
            last.bias.copy_(plain[-1].bias)
    torch.testing.assert_close(branched(x), plain(x), rtol=1e-10, atol=1e-10)
    few, many = cost("resnet8(4)"), cost(f"gc(4, join={join!r}, base='resnet8(4)')")
    spared = 0 if join == "concat" else 3 * 16 * 10  # a mean is classified once
    assert many.macs == 4 * few.macs - spared


@pytest.mark.parametrize("sign", ["ascent", "descent"])
def test_r_stays_on_the_simplex_for_a_thousand_random_steps(sign):
    gc = layer(GC(branches=4, rate=0.3, sign=sign))
    generator = torch.Generator().manual_seed(5)
    for _ in range(1000):
        before = gc.R.detach().clone()
        gc.R.grad = torch.randn(gc.R.shape, generator=generator, dtype=DOUBLE)
        moved = before + (0.3 if sign == "ascent" else -0.3) * gc.R.grad
        gc.calibrate()
        torch.testing.assert_close(gc.R.detach(), moved.abs() / moved.abs().sum(0))
        assert gc.R.min() >= 0
        torch.testing.assert_close(gc.R.detach().sum(0), torch.ones(3, 3, dtype=DOUBLE))
    assert not gc.R.grad


def test_a_step_moves_w_by_sgd_and_r_by_algorithm_1_from_the_same_point():
    config = TINY.replace(model="gc(2, 0.5, base='resnet8(2)')", momentum=0.0, weight_decay=0.0)
    net = build(config.model).to(DOUBLE)
    optimizer = make_optimizer(config, net)
    images, labels = torch.randn(8, 3, 8, 8, dtype=DOUBLE), torch.arange(8)
    gc = gc_layers(net)[2]
    w, r = gc.weight.detach().clone(), gc.R.detach().clone()
    cross_entropy(net(images), labels).backward()
    dw, dr = gc.weight.grad.clone(), gc.R.grad.clone()
    optimizer.step()
    torch.testing.assert_close(gc.weight.detach(), w - 0.05 * dw)
    moved = (r + 0.5 * dr).abs()
    torch.testing.assert_close(gc.R.detach(), moved / moved.sum(0))
    assert gc.R.grad is None
    assert dr.abs().max() > 0


def test_no_optimizer_has_r_and_plain_networks_have_all_they_had():
    net = build("gc(3, base='resnet8(2)')")
    rs = {id(gc.R) for gc in gc_layers(net)}
    assert len(rs) == 9
    assert rs.isdisjoint(id(p) for p in optimized(net))
    assert len(optimized(net)) + 9 == len(list(net.parameters()))
    plain = build("resnet8(2)")
    assert [id(p) for p in optimized(plain)] == [id(p) for p in plain.parameters()]


def test_noise_has_the_size_that_was_asked_for():
    conv = nn.Conv2d(64, 64, 3, bias=False)
    before = conv.weight.detach().clone()
    gc = GCConv2d(conv, GC(branches=2, rate=0.0, noise=0.01))
    optimizer = torch.optim.SGD([gc.weight], lr=0.0)
    calibrate_after(optimizer, nn.Sequential(gc))
    gc.weight.grad = torch.zeros_like(gc.weight)
    for _ in range(4):
        optimizer.step()
    assert (gc.weight.detach() - before).std().item() == pytest.approx(0.02, rel=0.02)


def test_rate_0_leaves_r_and_training_goes_on_from_a_checkpoint():
    frozen = Training(TINY.replace(model="gc(2, 0, base='resnet8(2)')"), "cpu")
    before = [gc.R.detach().clone() for gc in gc_layers(frozen.step.net)]
    frozen.advance()
    assert all(map(torch.equal, before, [gc.R for gc in gc_layers(frozen.step.net)]))
    config = TINY.replace(model="gc(2, 0.5, 0.001, base='resnet8(2)')")
    whole = train(config, "cpu")
    first, second = Training(config, "cpu"), Training(config, "cpu")
    first.advance()
    second.load(first.state())
    second.advance()
    assert second.outcome.epochs == whole.epochs


def test_parameters_are_shared_and_arithmetic_is_not():
    plain, four = cost("resnet8(8)"), cost("gc(4, base='resnet8(8)')")
    convs = sum(
        m.weight.numel() for m in build("resnet8(8)").modules() if m._get_name() == "Conv2d"
    )
    norms = 2 * (8 + 2 * 8 + 3 * 16 + 3 * 32)
    assert plain.parameters == convs + norms + 32 * 10 + 10
    assert four.parameters == convs + 4 * norms + 4 * 32 * 10 + 10
    assert four.in_r == 4 * (7 * 9 + 2)
    assert four.macs == 4 * plain.macs


def test_the_networks_of_the_tables_have_their_printed_sizes():
    """In millions, as Table 2 prints them for the networks that are not its own."""
    printed = {
        "staged_resnet((16, 32, 64), (18, 18, 18))": 1.7,  # ResNet-110
        "wrn(40, 4)": 8.9,
        "wrn(28, 10)": 36.5,
    }
    for name, millions in printed.items():
        assert round(cost(name).parameters / 1e6, 1) == millions


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("gc(4)", "base='' given; a network by name"),
        ("gc(0, base='resnet8(4)')", "branches=0 given; a whole number of 1 or more"),
        ("gc(2, sign='decent', base='resnet8(4)')", "did you mean 'descent'"),
        ("gc(2, base='resnet88')", "did you mean 'resnet8'"),
        ("wrn(27)", "10, 16, 22"),
        ("staged_resnet((16, 32), (1,))", "as many widths as blocks"),
    ],
)
def test_wrong_networks_are_refused_by_name(text, words):
    with pytest.raises(ValueError, match=words.replace("(", r"\(")):
        model(text)


def test_arms_take_the_network_of_their_cell():
    config = Classification(model="resnet8(8)")
    assert arm_of("gc(2)", config).model == str(model("gc(2, base='resnet8(8)')"))
    assert arm_of("wider(4)", config).model == "resnet8(16)"
    assert changed("wider(4)", "staged_resnet").widths == (32, 32, 64, 128)
    with pytest.raises(ValueError, match="has no width to change"):
        arm_of("wider(4)", Classification(model="resnet18"))
    with pytest.raises(ConfigError, match="did you mean 'wider'"):
        arm_of("widder(4)", config)


def test_what_has_no_branches_is_refused():
    with pytest.raises(ValueError, match=r"layer 0\.1 is a GroupNorm"):
        Calibrated(nn.Sequential(nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4)), GC())
    with pytest.raises(ValueError, match="pads with zeros"):
        Calibrated(nn.Sequential(nn.Conv2d(3, 4, 3, padding_mode="reflect")), GC())
    config = TINY.replace(model="gc(2, base='resnet8(2)')")
    with pytest.raises(ValueError, match="no GC layers, use 'plain'"):
        make_step("captured", config, 10, None, torch.zeros(2))
