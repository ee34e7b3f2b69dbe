"""The training is right: plain PyTorch loops of a few lines are the reference twins."""

from __future__ import annotations

import json
import math
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from rgkit.data import images as labelled
from rgkit.data.augment import Augmenter, epoch_plan
from rgkit.method.laws import law, stream
from rgkit.method.schedules import schedule
from rgkit.models.classification import build
from rgkit.runs.config import Classification
from rgkit.runs.grid import ARMS
from rgkit.train.loop import Training, train
from rgkit.train.step import PlainStep, classify

LAWS = [
    "constant(1)",
    "constant(0.5)",
    "uniform(0, 1)",
    "uniform(0.5, 1)",
    "coin",
    "two_point",
    "beta",
    "linear(2, 0)",
    "linear(3, 0)",
    "long_tail",
    "late_drop",
    "triangle(100)",
    "triangle(50)",
    "triangle(20)",
    "triangle(10)",
    "triangle(5)",
]
SGD = [{"momentum": 0.0}, {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}]
STEPS, PER_EPOCH = 50, 5


def tiny_net() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3)).double()


def tiny_batches() -> list[tuple[torch.Tensor, torch.Tensor]]:
    draw = torch.Generator().manual_seed(2)
    return [
        (
            torch.randn(8, 6, generator=draw, dtype=torch.float64),
            torch.randint(3, (8,), generator=draw),
        )
        for _ in range(STEPS)
    ]


def by_step(config, net, batches):
    """The plain step on batches that are there, in float64."""
    images = SimpleNamespace(where="cpu")
    step = PlainStep(config.replace(precision="float64"), net, images, None, classify)
    step.batches = lambda plan, number: iter(batches)
    return step


def plain_loop(net, optimizer, batches, weights):
    """What a user would write: RG's code (section 4 of the paper)."""
    for (x, y), u in zip(batches, weights, strict=True):
        optimizer.zero_grad()
        loss = cross_entropy(net(x), y)
        loss_random = loss * u
        loss_random.backward()
        optimizer.step()


@pytest.mark.parametrize("text", LAWS)
@pytest.mark.parametrize("weight_decay", [0.0, 0.01])
@pytest.mark.parametrize("extra", [*SGD, "adam"], ids=str)
def test_every_law_and_optimizer_matches_a_plain_loop(text, weight_decay, extra):
    u = law(text).draw(
        np.arange(STEPS), np.arange(STEPS) // PER_EPOCH, epochs=STEPS // PER_EPOCH, seed=3
    )
    twin, ours = tiny_net(), tiny_net()
    if extra == "adam":
        own = {"optimizer": "adam", "momentum": 0.5, "beta2": 0.99}
        config = Classification(lr=0.01, weight_decay=weight_decay, **own)
        reference = torch.optim.Adam(
            twin.parameters(), 0.01, betas=(0.5, 0.99), weight_decay=weight_decay
        )
    else:
        config = Classification(lr=0.01, weight_decay=weight_decay, **extra)
        reference = torch.optim.SGD(twin.parameters(), 0.01, weight_decay=weight_decay, **extra)
    plain_loop(twin, reference, tiny_batches(), u.tolist())
    losses, _ = by_step(config, ours, tiny_batches()).epoch(None, np.full(STEPS, 0.01), u)
    assert len(losses) == STEPS
    moved = 0.0
    for a, b, start in zip(
        ours.parameters(), twin.parameters(), tiny_net().parameters(), strict=True
    ):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-10)
        moved += float((a - start).detach().abs().sum())
    assert moved > 0.01


def test_the_weight_scales_gradients_and_not_weight_decay():
    net, decay, lr = tiny_net(), 0.1, 0.5
    config = Classification(momentum=0.0, weight_decay=decay, lr=lr)
    before = [p.detach().clone() for p in net.parameters()]
    by_step(config, net, tiny_batches()[:1]).epoch(None, np.array([lr]), np.array([0.0]))
    for p, start in zip(net.parameters(), before, strict=True):
        torch.testing.assert_close(p.detach(), start * (1 - lr * decay), rtol=0, atol=1e-12)


def image_by_image(config: Classification) -> tuple[list[float], list[float]]:
    """The whole run again as a plain loop: per-image crops, one array at a time, float64."""
    found = labelled.load(config.data)
    count = config.images
    net = build(config.model, seed=config.seed).double()
    optimizer = torch.optim.SGD(
        net.parameters(), config.lr, momentum=config.momentum, weight_decay=config.weight_decay
    )
    u = stream(config.seed, "weight").random((10_000, 2))[:, 1]
    mean, std = (np.reshape(v, (3, 1, 1)) for v in (found.source.mean, found.source.std))
    pad, size = found.source.padding, found.train.images.shape[-1]
    losses, accuracies, step = [], [], 0
    for epoch in range(config.epochs):
        net.train()
        for group in optimizer.param_groups:
            group["lr"] = config.lr * (1 - epoch / config.epochs) ** 0.9
        order = stream(config.seed, "order", epoch).permutation(count)
        draws = stream(config.seed, "augment", epoch)
        dy, dx = draws.integers(0, 2 * pad + 1, size=(2, count))
        mirror = draws.integers(0, 2, size=count)
        total = 0.0
        for first in range(0, count, config.batch):
            places = range(first, min(first + config.batch, count))
            images = []
            for place in places:
                padded = np.pad(found.train.images[order[place]], ((0, 0), (pad, pad), (pad, pad)))
                y, x = dy[place], dx[place]
                crop = padded[:, y : y + size, x : x + size]
                crop = crop[:, :, ::-1] if mirror[place] else crop
                images.append((crop / 255 - mean) / std)
            batch = torch.from_numpy(np.stack(images))
            labels = torch.from_numpy(found.train.targets[order[list(places)]])
            loss = cross_entropy(net(batch), labels)
            optimizer.zero_grad()
            (loss * u[step]).backward()
            optimizer.step()
            total += loss.item() * len(places)
            step += 1
        losses.append(total / count)
        net.eval()
        with torch.no_grad():
            test = torch.from_numpy((found.test.images / 255 - mean) / std)
            right = (net(test).argmax(1).numpy() == found.test.targets).mean()
        accuracies.append(100 * right)
    return losses, accuracies


def test_a_whole_run_matches_a_loop_over_single_images():
    config = Classification(
        data="digits", images=150, model="resnet8(4)", epochs=3, batch=32, momentum=0.9,
        weight_decay=1e-3, weight="uniform(0, 1)", precision="float64", seed=5,
    )  # fmt: skip
    ours = train(config, "cpu").epochs
    losses, accuracies = image_by_image(config)
    np.testing.assert_allclose(ours["train_loss"], losses, rtol=0, atol=1e-8)
    np.testing.assert_allclose(ours["test_accuracy"], accuracies, rtol=0, atol=1e-9)


SMALL = Classification(data="digits", images=128, model="resnet8(4)", epochs=2, batch=32)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_same_config_same_bits_whatever_ran_before(precision):
    config = SMALL.replace(precision=precision, weight="uniform(0, 1)")
    first = train(config, "cpu").epochs
    train(SMALL.replace(model="resnet8(6)", seed=9, epochs=1), "cpu")
    torch.rand(17)
    torch.set_num_threads(2)
    assert train(config, "cpu").epochs == first


def test_global_state_is_left_alone():
    torch.manual_seed(4)
    torch.set_num_threads(2)
    expected = torch.rand(3)
    torch.manual_seed(4)
    train(SMALL.replace(epochs=1), "cpu")
    assert torch.equal(torch.rand(3), expected)
    assert torch.get_num_threads() == 2


def test_arms_of_one_seed_share_initial_weights_order_and_crops():
    a, b = build("resnet8(4)", seed=3), build("resnet8(4)", seed=3)
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))
    other = build("resnet8(4)", seed=4)
    assert not torch.equal(next(a.parameters()), next(other.parameters()))
    # At loss weight 1 and lr -> 0 the epoch loss depends on images, order and crops alone.
    quiet = SMALL.replace(lr=1e-12, epochs=1, weight_decay=0.0, precision="float64")
    losses = [
        train(quiet.replace(**ARMS[arm](quiet)), "cpu").epochs["train_loss"][0]
        for arm in ("plain", "RG", "constant 1/2", "half rate, twice decay")
    ]
    assert max(losses) - min(losses) < 1e-9
    assert abs(train(quiet.replace(seed=1), "cpu").epochs["train_loss"][0] - losses[0]) > 1e-6


@pytest.mark.parametrize("extra", SGD, ids=str)
def test_constant_half_is_half_the_rate_with_twice_the_decay_to_the_last_bit(extra):
    """For SGD the two controls are one run: a factor of two is exact in floating point."""
    base = SMALL.replace(weight_decay=1e-3, **extra)
    half = train(base.replace(**ARMS["constant 1/2"](base)), "cpu").epochs
    slow = train(base.replace(**ARMS["half rate, twice decay"](base)), "cpu").epochs
    for name in ("train_loss", "test_loss", "test_accuracy", "weight_norm"):
        assert half[name] == slow[name]
    assert half["train_loss"] != train(base, "cpu").epochs["train_loss"]


def test_logged_loss_is_unweighted():
    quiet = SMALL.replace(lr=1e-12, epochs=1, precision="float64", weight_decay=0.0)
    plain = train(quiet, "cpu").epochs["train_loss"]
    heavy = train(quiet.replace(weight="constant(7)"), "cpu").epochs["train_loss"]
    np.testing.assert_allclose(plain, heavy, rtol=1e-9)


def test_divergence_is_recorded_with_its_step():
    outcome = train(SMALL.replace(lr=1e30, precision="float32", weight_decay=0.5), "cpu")
    assert outcome.status == "diverged"
    assert outcome.diverged_at is not None
    assert 1 <= outcome.diverged_at < 8
    assert len(outcome.epochs["train_loss"]) == outcome.diverged_at // 4


def test_too_many_images_is_an_error_that_says_how_many_there_are():
    with pytest.raises(ValueError, match="images=2000 given; digits has 1,500"):
        train(SMALL.replace(images=2000), "cpu")


def test_held_out_images_are_measured_and_change_nothing_else():
    """The last images of the canonical order, never trained on, by the evaluation loop's twin."""
    base = SMALL.replace(images=100, precision="float64")
    alone, watched = train(base, "cpu"), Training(base.replace(validation=60), "cpu")
    while not watched.over:
        watched.advance()
    for name, values in alone.epochs.items():
        assert watched.outcome.epochs[name] == values
    found = labelled.load("digits")
    images = found.train.images[-60:].transpose(0, 2, 3, 1) / 255
    x = torch.from_numpy(((images - found.source.mean) / found.source.std).transpose(0, 3, 1, 2))
    y = torch.from_numpy(found.train.targets[-60:])
    net = watched.step.net.eval()
    with torch.no_grad():
        logits = net(x)
    last = {
        name: watched.outcome.epochs[name][-1]
        for name in ("validation_loss", "validation_accuracy")
    }
    assert last["validation_loss"] == pytest.approx(float(cross_entropy(logits, y)), rel=1e-6)
    right = 100 * (logits.argmax(1) == y).double().mean().item()
    assert last["validation_accuracy"] == pytest.approx(right, abs=1e-9)


def test_all_images_are_those_that_are_not_held_out():
    some = train(SMALL.replace(images=1400, epochs=1), "cpu").epochs["train_loss"]
    rest = train(SMALL.replace(images=0, epochs=1, validation=100), "cpu").epochs["train_loss"]
    assert rest == some
    with pytest.raises(ValueError, match="images=1450, validation=60 given; digits has 1,500"):
        train(SMALL.replace(images=1450, validation=60), "cpu")
    with pytest.raises(ValueError, match="validation=1500 given"):
        train(SMALL.replace(images=0, validation=1500), "cpu")


@pytest.mark.parametrize("augment", ["none", "crop", "crop+flip"])
def test_batched_augmentation_matches_one_image_at_a_time(augment):
    images = np.random.default_rng(0).integers(0, 256, (20, 3, 16, 16), dtype=np.uint8)
    mean, std, pad = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3), 4
    fast = Augmenter(torch.from_numpy(images), mean, std, pad, torch.float64)
    order, dy, dx, mirror = epoch_plan(20, 0, 1, augment, pad, "cpu")
    batch = fast.batch(order, dy, dx, mirror).numpy()
    assert fast.batch(order, dy, dx, mirror).is_contiguous(memory_format=torch.channels_last)
    for place in range(20):
        padded = np.pad(images[order[place]], ((0, 0), (pad, pad), (pad, pad)))
        y, x = int(dy[place]), int(dx[place])
        one = padded[:, y : y + 16, x : x + 16]
        one = one[:, :, ::-1] if mirror[place] else one
        one = (one / 255 - np.reshape(mean, (3, 1, 1))) / np.reshape(std, (3, 1, 1))
        np.testing.assert_allclose(batch[place], one, atol=1e-12)
    moved = bool((dy != pad).any()), bool(mirror.any())
    assert moved == (augment != "none", augment == "crop+flip")


def test_golden_numbers_of_a_tiny_run():
    """If this fails, training has changed: raise NUMERICS in rgkit/runs/config.py, take the new.

    Float64 on one thread; the tolerance leaves room for other processors' summation.
    """
    from pathlib import Path

    config = SMALL.replace(weight="uniform(0, 1)", precision="float64", momentum=0.9, images=96)
    ours = train(config, "cpu").epochs
    golden = json.loads((Path(__file__).parent / "golden.json").read_text())
    assert set(golden) == {"train_loss", "test_loss", "weight_norm"}
    for name, values in golden.items():
        np.testing.assert_allclose(ours[name], values, rtol=1e-7)


def test_learning_rate_and_weight_are_logged():
    outcome = train(SMALL.replace(schedule="poly", weight="uniform(0, 1)"), "cpu")
    factors = schedule("poly").draw([3, 7], per_epoch=4, epochs=2)
    np.testing.assert_allclose(outcome.epochs["lr"], 0.1 * factors)
    u = law("uniform(0, 1)").draw(np.arange(8), seed=0)
    np.testing.assert_allclose(outcome.epochs["u_mean"], [u[:4].mean(), u[4:].mean()])
    assert math.isclose(outcome.epochs["u_std"][1], u[4:].std())


FAST = Classification(
    data="digits", images=150, model="resnet8(4)", epochs=3, batch=32, weight_decay=1e-3,
    weight="uniform(0, 1)", precision="float64",
)  # fmt: skip


@pytest.mark.parametrize("extra", SGD, ids=str)
@pytest.mark.parametrize("schedule", ["constant", "poly"])
def test_the_captured_step_is_the_plain_one(extra, schedule):
    """Its code, run operation by operation on a CPU; the last batch is a smaller one."""
    config = FAST.replace(schedule=schedule, **extra)
    fast, slow = train(config, "cpu", step="captured"), train(config, "cpu", step="plain")
    for name, values in slow.epochs.items():
        np.testing.assert_allclose(fast.epochs[name], values, rtol=1e-9, err_msg=name)


def test_a_captured_step_serves_every_arm_and_seed_and_remembers_none():
    first = train(FAST.replace(momentum=0.9), "cpu", step="captured").epochs
    train(FAST.replace(seed=4, weight="coin", lr=0.3, weight_decay=0.1), "cpu", step="captured")
    assert train(FAST.replace(momentum=0.9), "cpu", step="captured").epochs == first


@pytest.mark.filterwarnings("ignore:.*3.13.0")  # of which torch.compile has a word to say
@pytest.mark.skipif(not shutil.which("g++"), reason="torch.compile needs a compiler on a CPU")
def test_the_compiled_step_is_the_plain_one():
    config = FAST.replace(epochs=1, images=64, precision="float32")
    fast, slow = train(config, "cpu", step="compiled"), train(config, "cpu", step="plain")
    for name, values in slow.epochs.items():
        np.testing.assert_allclose(fast.epochs[name], values, rtol=1e-4, err_msg=name)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("step", ["captured", "compiled"])
def test_on_a_gpu_the_replayed_step_is_the_plain_one(step):
    config = FAST.replace(precision="float32", epochs=2, lr=0.01)
    fast, slow = train(config, "cuda", step=step), train(config, "cuda", step="plain")
    for name, values in slow.epochs.items():
        np.testing.assert_allclose(fast.epochs[name], values, rtol=1e-2, err_msg=name)


def test_a_captured_step_knows_sgd_alone():
    with pytest.raises(ValueError, match="step='captured' given with adam"):
        train(FAST.replace(optimizer="adam"), "cpu", step="captured")
    with pytest.raises(ValueError, match="step='capturd' given; did you mean 'captured'"):
        train(FAST, "cpu", step="capturd")
