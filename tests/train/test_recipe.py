"""The tuned recipe of the fast records: each ingredient, and the whole step against one by hand."""

import copy
import dataclasses
import functools
import math

import numpy as np
import pytest
import torch
from torch import nn

from rgkit.chapters import tuned_recipe
from rgkit.chapters.image_folder import ImageFolder
from rgkit.data import images as labelled
from rgkit.data.augment import Augmenter, epoch_plan
from rgkit.data.source import Split
from rgkit.method.schedules import schedule
from rgkit.models.cifar import SMALLEST, Airbench, Whitening
from rgkit.models.classification import build, cost
from rgkit.runs.config import Classification, ConfigError
from rgkit.runs.grid import arm_of
from rgkit.tasks import classification
from rgkit.train.loop import Training, on_device, train
from rgkit.train.step import Lookahead, groups

RECIPE = tuned_recipe.RECIPE["base"]
TINY = Classification(data="scenes", precision="float64").replace(
    **RECIPE | {"images": 75, "model": "airbench(2, 1)", "epochs": 3, "batch": 16, "lr": 0.05}
)


@pytest.fixture(scope="module", autouse=True)
def few_test_images():
    """Float64 is slow on a thousand."""
    found = labelled.load("scenes")
    few = {"test": Split(found.test.images[:30], found.test.targets[:30])}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(classification.datasets, "load", lambda _: dataclasses.replace(found, **few))
        on_device.cache_clear()
        yield
    on_device.cache_clear()


# --- the networks -----------------------------------------------------------------------------


def test_the_network_has_the_size_and_the_arithmetic_of_the_paper():
    net = build("airbench(64)")
    counted = sum(p.numel() for p in net.parameters() if p.requires_grad)
    counted += sum(m.weight.numel() for m in net.modules() if isinstance(m, Whitening))
    assert round(counted / 1e6, 2) == 1.97
    # 3.6e14 operations in 9.9 epochs, three passes of two operations each.
    assert 6 * cost("airbench(64)").macs * 9.9 * 50_000 == pytest.approx(3.6e14, rel=0.03)


def test_the_first_filters_of_a_convolution_hand_their_input_on():
    for layer in build("airbench(8)").modules():
        if isinstance(layer, nn.Conv2d) and not isinstance(layer, Whitening):
            passed = min(layer.in_channels, layer.out_channels)
            x = torch.randn(1, layer.in_channels, 5, 5)
            torch.testing.assert_close(layer(x)[:, :passed], x[:, :passed])


def test_the_first_layer_whitens_patches():
    layer, images = Whitening().double(), torch.rand(300, 3, 9, 9, dtype=torch.float64) ** 2
    layer.whiten(images)
    out = layer(images)[:, :12] - layer.bias[:12, None, None]
    flat = out.transpose(0, 1).flatten(1)
    second = flat @ flat.T / flat.shape[1]
    torch.testing.assert_close(second, torch.diag(second.diagonal()), atol=1e-9, rtol=0)
    # An eigenvalue v becomes v / (v + 0.0005): nearly one, but for directions that hardly occur.
    assert second.diagonal().max() < 1
    assert second.diagonal().max() > 1 - 10 * SMALLEST
    torch.testing.assert_close(layer.weight[12:], -layer.weight[:12])


def test_whitening_does_not_depend_on_the_signs_of_eigenvectors(monkeypatch):
    first, second = Whitening(), Whitening()
    images, found = torch.rand(50, 3, 9, 9), torch.linalg.eigh
    first.whiten(images)
    flip = torch.tensor([1.0, -1] * 6, dtype=torch.float64)
    monkeypatch.setattr(torch.linalg, "eigh", lambda m: (found(m)[0], found(m)[1] * flip))
    second.whiten(images)
    torch.testing.assert_close(first.weight, second.weight)


def test_pictures_that_are_too_small_are_refused_before_anything_starts():
    with pytest.raises(ConfigError, match=r"data='digits' given; its 8 pixels are too few"):
        Classification(data="digits", model="airbench(4)")


@pytest.mark.parametrize("model", ["gc(2, base='airbench(4)')", "side_by_side(2, 'airbench(4)')"])
def test_no_branches_or_copies_are_made_of_a_network_that_needs_images_first(model):
    with pytest.raises(ValueError, match="one that needs no images before it is trained"):
        Classification(model=model)
    with pytest.raises(ConfigError, match="a network that needs no images before it is trained"):
        ImageFolder(model="airbench(4)")


# --- the ingredients --------------------------------------------------------------------------


def test_a_half_of_the_images_is_mirrored_in_even_epochs_and_the_other_in_odd_ones():
    mirrored = []
    for epoch in range(4):
        order, _, _, mirror = epoch_plan(500, 7, epoch, "crop+alternate", 2, "cpu")
        mirrored.append(torch.zeros(500, dtype=torch.bool).index_put((order,), mirror))
    assert 200 < int(mirrored[0].sum()) < 300
    assert torch.equal(mirrored[0], mirrored[2])
    assert torch.equal(mirrored[1], ~mirrored[0])
    assert torch.equal(mirrored[3], mirrored[1])


def test_alternating_changes_no_other_draw():
    ours, usual = (epoch_plan(50, 1, 2, a, 2, "cpu") for a in ("crop+alternate", "crop+flip"))
    for mine, other in zip(ours[:3], usual[:3], strict=True):
        assert torch.equal(mine, other)


def test_a_crop_is_filled_by_reflection():
    image = torch.randint(0, 256, (1, 3, 6, 5), dtype=torch.uint8)
    images = Augmenter(image, (0.0,) * 3, (1 / 255,) * 3, 2, reflect=True)
    wanted = nn.functional.pad(image.float(), [2] * 4, mode="reflect")
    corner = torch.tensor([0])
    found = images.batch(corner, corner, corner, corner.bool())
    torch.testing.assert_close(found, wanted[..., :6, :5])


def test_the_triangle_has_its_corners():
    factor = schedule("triangular").draw(np.arange(1000), per_epoch=100, epochs=10)
    assert factor[0] == pytest.approx(0.2)
    assert factor.argmax() == 230
    assert factor[230] == pytest.approx(1)
    assert factor[999] == pytest.approx(0.07, abs=0.002)
    assert np.diff(factor, 2)[[*range(228), *range(231, 998)]] == pytest.approx(0)  # two lines


def test_biases_of_norms_have_a_rate_of_their_own_and_the_same_pull_of_the_decay():
    net = build("airbench(4, 0)")
    rest, norms = groups(net, 64)
    biases = [m.bias for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    assert norms["scale"] == 64
    assert [id(p) for p in norms["params"]] == [id(b) for b in biases]
    assert len(rest["params"]) + len(norms["params"]) == len(list(net.parameters()))
    found = Training(TINY, "cpu").step.optimizer.param_groups
    pulls = [group["scale"] * group["weight_decay"] * TINY.lr for group in found]
    assert pulls == pytest.approx([RECIPE["weight_decay"]] * 3)


@pytest.mark.parametrize("step", ["plain", "captured"])
def test_the_first_bias_learns_for_an_epoch_and_then_no_more(step):
    """Without Lookahead, which would go on pulling it towards its slow weights."""
    training, seen = Training(TINY.replace(lookahead=0), "cpu", step), []
    for _ in range(3):
        seen.append(training.step.net[0].bias.detach().clone())
        training.advance()
    assert not torch.equal(seen[0], seen[1])
    assert torch.equal(seen[1], seen[2])


def test_lookahead_ends_at_the_slow_weights():
    net = nn.Linear(1, 1, bias=False).double()
    with torch.no_grad():
        net.weight.fill_(1.0)
    slow, look = 1.0, Lookahead(net, 2, 5)
    for step in range(1, 6):
        with torch.no_grad():
            net.weight += step
        fast = net.weight.item()
        look.step()
        if step % 2 == 0:
            slow += (1 - 0.95**5 * (step / 5) ** 3) * (fast - slow)
            assert net.weight.item() == pytest.approx(slow)
    assert net.weight.item() == pytest.approx(slow)


def test_smoothed_labels_are_trained_on_and_not_tested_on():
    sharp, smooth = (train(TINY.replace(label_smoothing=s, epochs=1), "cpu") for s in (0.0, 0.2))
    assert sharp.epochs["train_loss"] != smooth.epochs["train_loss"]
    assert smooth.epochs["test_loss"][0] == pytest.approx(math.log(10), rel=0.3)


@pytest.mark.parametrize(
    "wrong", [{"reflect": 8}, {"independent_decay": "no"}, {"label_smoothing": 1}, {"bias_rate": 0}]
)
def test_a_wrong_ingredient_is_refused_by_name(wrong):
    (name, value), *_ = wrong.items()
    with pytest.raises(ConfigError, match=f"{name}={value!r}"):
        Classification(**wrong)


def test_half_the_rate_leaves_a_decay_of_its_own_alone():
    base = TINY.replace(precision="float32", epochs=1)
    ours = train(arm_of("half rate, twice decay", base), "cpu")
    theirs = train(arm_of("constant 1/2", base), "cpu")
    assert ours.epochs["weight_norm"] == theirs.epochs["weight_norm"]


def test_frozen_parameters_stay_in_the_optimizer_as_in_older_checkpoints():
    net = build("resnet8(2)")
    next(net.parameters()).requires_grad_(False)
    assert sum(len(group["params"]) for group in groups(net)) == len(list(net.parameters()))


@pytest.mark.parametrize("name", ["lookahead", "bias_rate", "independent_decay"])
def test_adam_is_told_what_it_cannot_have(name):
    with pytest.raises(ConfigError, match=f"{name}=.* only sgd has it, not adam"):
        Classification(optimizer="adam", **{name: RECIPE[name]})


# --- the whole step ---------------------------------------------------------------------------


@functools.cache
def by_hand(config: Classification) -> nn.Module:
    """Train as the recipe says, written out for one run, in float64."""
    whole = Training(config, "cpu")  # only its data, its first weights, its rates and its u
    net, images, labels = whole.step.net, whole.step.images, whole.step.labels
    learn = {n: p for n, p in net.named_parameters() if p.requires_grad}
    norms = {n + ".bias" for n, m in net.named_modules() if isinstance(m, nn.BatchNorm2d)}
    speed = {n: torch.zeros_like(p) for n, p in learn.items()}
    slow = {n: t.clone() for n, t in net.state_dict().items() if t.is_floating_point()}
    done = 0
    for epoch in range(config.epochs):
        plan = epoch_plan(len(labels), config.seed, epoch, config.augment, config.reflect, "cpu")
        for part in zip(*(p.split(config.batch) for p in plan), strict=True):
            net.train()
            log = net(images.batch(*part)).log_softmax(1)
            right = log.gather(1, labels[part[0]][:, None])[:, 0]
            loss = -(0.8 * right + 0.2 * log.mean(1)).mean()
            grads = torch.autograd.grad(whole.u[done] * loss, list(learn.values()))
            with torch.no_grad():
                for (name, p), g in zip(learn.items(), grads, strict=True):
                    if name == "0.bias" and epoch >= 1:
                        continue
                    rate = whole.lr[done] * (64 if name in norms else 1)
                    peak = config.lr * (64 if name in norms else 1)
                    g = g + config.weight_decay / peak * p
                    speed[name] = 0.85 * speed[name] + g
                    p -= rate * (g + 0.85 * speed[name])
                done += 1
                state = net.state_dict()
                if done % 5 == 0:
                    for name, old in slow.items():
                        pull = 1 - 0.95**5 * (done / config.steps) ** 3
                        old += pull * (state[name] - old)
                        state[name].copy_(old)
    for name, old in slow.items():
        net.state_dict()[name].copy_(old)
    return net


@pytest.mark.parametrize("step", ["plain", "captured"])
def test_the_whole_step_is_the_one_by_hand(step):
    config = TINY.replace(weight="uniform(0, 1)")
    training = Training(config, "cpu", step)
    while not training.over:
        training.advance()
    wanted = by_hand(config).state_dict()
    for name, tensor in training.step.net.state_dict().items():
        torch.testing.assert_close(tensor, wanted[name], rtol=1e-9, atol=1e-11, msg=name)


@pytest.mark.parametrize("step", ["plain", "captured"])
def test_a_run_goes_on_where_it_was_stopped(step):
    whole, first = train(TINY, "cpu", step=step), Training(TINY, "cpu", step)
    for _ in range(2):
        first.advance()
    state = copy.deepcopy(first.state())  # runs of one network share a captured step
    second = Training(TINY, "cpu", step)
    second.load(state)
    second.advance()
    assert second.outcome.epochs == whole.epochs


def test_half_the_weight_at_twice_the_rate_is_plain_training_to_the_last_bit():
    """So the constant 1/2 is no arm where rate times decay is fixed."""
    base = TINY.replace(precision="float32")
    half = base.replace(weight="constant(0.5)", lr=2 * base.lr)
    ours, theirs = train(base, "cpu"), train(half, "cpu")
    for name in ("train_loss", "test_loss", "test_accuracy", "weight_norm"):
        assert ours.epochs[name] == theirs.epochs[name]


def test_random_gradient_at_twice_the_rate_is_the_noise_alone():
    base = TINY.replace(precision="float32")
    rg = train(base.replace(weight="uniform(0, 1)", lr=2 * base.lr), "cpu")
    noise = train(base.replace(weight="uniform(0, 2)"), "cpu")
    for name in ("train_loss", "test_loss", "test_accuracy", "weight_norm"):
        assert rg.epochs[name] == noise.epochs[name]


def test_a_network_without_a_whitening_layer_takes_the_recipe_too():
    config = TINY.replace(model="resnet8(2)")
    assert train(config, "cpu", step="captured").epochs["test_loss"] == pytest.approx(
        train(config, "cpu", step="plain").epochs["test_loss"], rel=1e-9
    )
    assert not isinstance(build("resnet8(2)"), Airbench)
