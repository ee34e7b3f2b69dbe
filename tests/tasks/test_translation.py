"""Training pix2pix: the step against a plain loop, where u acts, what is measured, the records."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from rgkit.book.report import describe
from rgkit.chapters.blind import trials
from rgkit.chapters.pictures import TRANSLATION, made, on_the_way
from rgkit.data import pictures
from rgkit.data.augment import Augmenter, epoch_plan
from rgkit.data.compat import import_torchvision
from rgkit.data.source import Source
from rgkit.figures.plots import metrics
from rgkit.method import laws
from rgkit.models.translation import build
from rgkit.runs.config import Classification, Translation, from_dict
from rgkit.runs.grid import Grid, arm_of, cross
from rgkit.runs.profiles import translation
from rgkit.runs.records import KEPT, Store, fingerprint_of, unpack
from rgkit.tasks.translation import TASK, PairStep, edges, evaluate, psnr, ssim, two_weights
from rgkit.train.execute import run
from rgkit.train.loop import Training, train
from rgkit.train.perform import How, perform

import_torchvision()  # before torchmetrics, which imports it
from torchmetrics.functional.image import (  # noqa: E402
    peak_signal_noise_ratio,
    structural_similarity_index_measure,
)

pytestmark = pytest.mark.usefixtures("few_test_pictures")

TINY = Translation(
    data="scenes", images=24, size=16, model="unet(3, 8)", judge="patchgan(1, 8)", epochs=2,
    batch=8,
)  # fmt: skip
U = np.array([0.5, 0.25, 1.5])


def assert_same(a, b):
    """Of two outcomes, every number; a NaN, where a metric was not measured, is one, too."""
    np.testing.assert_equal(dataclasses.asdict(a), dataclasses.asdict(b))


def flat(net):
    return torch.cat([p.detach().flatten() for p in net.parameters()])


def one_epoch(config, u=U):
    """A stepper after an epoch of three steps, and the plan that it followed."""
    torch.manual_seed(0)
    (inputs, targets), *_ = TASK.splits(config, torch.device("cpu"))
    step = PairStep(config, inputs, targets)
    plan = epoch_plan(24, 0, 0, config.augment, inputs.padding, "cpu")
    losses, right = step.epoch(plan, np.full(len(u), config.lr), u)
    return step, plan, losses, right


@pytest.mark.parametrize("adversarial", ["least squares", "cross-entropy"])
@pytest.mark.parametrize("acts_on", ["generator", "discriminator", "both"])
def test_a_step_is_what_a_plain_loop_does(acts_on, adversarial):
    """The same weights as a loop that anyone would write with torch.optim; dropout included."""
    config = TINY.replace(acts_on=acts_on, adversarial=adversarial, precision="float64")
    step, plan, losses, _ = one_epoch(config)
    net, judge = (made.double() for made in build(config.model, config.judge, seed=0))
    first, second = (torch.optim.Adam(n.parameters(), 2e-4, (0.5, 0.999)) for n in (net, judge))
    fit = F.mse_loss if adversarial == "least squares" else F.binary_cross_entropy_with_logits
    found = pictures.load_pairs("scenes", 16, 1, "b_to_a")
    torch.manual_seed(0)
    for place, u in enumerate(U.tolist()):
        x, y = [], []
        for index, dy, dx, mirror in zip(*(p[8 * place :][:8].tolist() for p in plan), strict=True):
            for side, all_of in ((x, found.train.images), (y, found.train.targets)):
                cut = torch.from_numpy(all_of[index, :, dy : dy + 16, dx : dx + 16]).double()
                side.append((cut.flip(2) if mirror else cut) / 127.5 - 1)
        x, y = torch.stack(x), torch.stack(y)
        made = net(x)
        judged = judge(made, x)
        loss = fit(judged, torch.ones_like(judged)) + 100 * F.l1_loss(made, y)
        assert losses[place].item() == pytest.approx(loss.item(), rel=1e-9)
        first.zero_grad()
        ((u if acts_on != "discriminator" else 1) * loss).backward()
        first.step()
        second.zero_grad()
        real, fake = judge(y, x), judge(made.detach(), x)
        loss = (fit(real, torch.ones_like(real)) + fit(fake, torch.zeros_like(fake))) / 2
        ((u if acts_on != "generator" else 1) * loss).backward()
        second.step()
    # Sums in another order differ in the last digits, and Adam divides such by each other.
    torch.testing.assert_close(flat(step.net), flat(net), rtol=0, atol=1e-9)
    torch.testing.assert_close(flat(step.judge), flat(judge), rtol=0, atol=1e-9)


def test_inputs_and_targets_are_cut_and_mirrored_alike():
    """With a target that is its input, every batch has twice the same pictures."""
    images = torch.from_numpy(pictures.load_pairs("scenes", 16, 2).train.images[:12])
    middle = (0.5,) * 3
    x, y = (Augmenter(images, middle, middle, 2, torch.float64, margin=True) for _ in range(2))
    step = PairStep(TINY, x, y)
    plan = epoch_plan(12, 1, 0, "crop+flip", 2, "cpu")
    assert plan[3].any()
    assert len({*plan[1].tolist()}) > 2
    batches = list(step.batches(plan, 0))
    assert [len(a) for a, _ in batches] == [8, 4]
    assert all(torch.equal(a, b) for a, b in batches)
    assert batches[0][0].shape == (8, 3, 16, 16)
    assert batches[0][0].min() == -1


def test_under_adam_a_constant_weight_changes_nothing_but_the_last_digits():
    """Prediction 7: it cancels but for Adam's small number, here 1e-8 of gradients near 1."""
    config = TINY.replace(precision="float64", lambda_l1=100.0)
    plain, half = (one_epoch(config, np.full(3, u))[0] for u in (1.0, 0.5))
    moved = (flat(plain.net) - flat(build(config.model, config.judge)[0]).double()).norm()
    assert (flat(plain.net) - flat(half.net)).norm() < 1e-3 * moved
    random = one_epoch(config)[0]
    assert (flat(plain.net) - flat(random.net)).norm() > 0.1 * moved


def test_the_weight_of_the_first_step_leaves_the_other_network_alone():
    for acts_on, same, other in (("generator", "judge", "net"), ("discriminator", "net", "judge")):
        # With SGD a weight of 0 is no step at all.
        config = TINY.replace(acts_on=acts_on, optimizer="sgd", momentum=0.0, lr=0.01, batch=24)
        still, moving = (one_epoch(config, np.array([u]))[0] for u in (0.0, 1.0))
        torch.testing.assert_close(flat(getattr(still, same)), flat(getattr(moving, same)))
        fresh = dict(zip(("net", "judge"), build(config.model, config.judge), strict=True))
        assert torch.equal(flat(getattr(still, other)), flat(fresh[other]))
        assert not torch.equal(flat(getattr(moving, other)), flat(fresh[other]))


def by_epochs(config, u):
    """The weights of both networks in all epochs of three steps, [2, steps]."""
    parts = [two_weights(config, part, epoch) for epoch, part in enumerate(np.split(u, 50))]
    return np.concatenate(parts, axis=1)


def test_two_draws_are_two_and_do_not_depend_on_where_an_epoch_begins():
    config = TINY.replace(acts_on="both, two draws", weight="uniform(0, 1)", epochs=50)
    steps = np.arange(150)
    u = laws.law("uniform").draw(steps, steps // 3, epochs=50, seed=0, per_epoch=3)
    mine, judges = by_epochs(config, u)
    np.testing.assert_array_equal(mine, u)
    assert abs(np.corrcoef(mine, judges)[0, 1]) < 0.25
    assert judges.mean() == pytest.approx(0.5, abs=0.1)
    own = laws.law("uniform").draw(steps, steps // 3, epochs=50, seed=2**32, per_epoch=3)
    np.testing.assert_array_equal(judges, own)
    one = by_epochs(config.replace(acts_on="both"), u)
    np.testing.assert_array_equal(one[0], one[1])
    # A law without chance has nothing to draw twice.
    falls = config.replace(weight="linear(2, 0)")
    u = laws.law("linear(2, 0)").draw(steps, steps // 3, epochs=50, seed=0, per_epoch=3)
    np.testing.assert_array_equal(*by_epochs(falls, u))


def test_what_is_right_is_a_part_of_the_patches():
    step, _, _, right = one_epoch(TINY, np.array([1.0, 1.0, 1.0]))
    assert right.shape == (3,)
    assert ((right >= 0) & (right <= 8)).all()
    # A judge that calls everything real is right on half of what it sees.
    torch.nn.init.zeros_(step.judge.parts[-1].weight)
    torch.nn.init.ones_(step.judge.parts[-1].bias)
    x, y = next(step.batches(epoch_plan(24, 0, 0, "none", 1, "cpu"), 0))
    assert step._tell_apart(x, y, step.net(x).detach(), 1.0).item() == 0.5


def test_measures_are_those_of_torchmetrics():
    torch.manual_seed(0)
    true = F.avg_pool2d(torch.rand(3, 3, 60, 80, dtype=torch.float64), 3, 1)
    made = (true + 0.1 * torch.randn_like(true)).clamp(0, 1)
    # Near the rim torchmetrics puts the window over reflected pixels; we leave those places out.
    _, each = structural_similarity_index_measure(
        made, true, data_range=1.0, reduction="none", return_full_image=True
    )
    wanted = each[..., 5:-5, 5:-5].mean((1, 2, 3))
    torch.testing.assert_close(ssim(made, true), wanted, rtol=0, atol=1e-9)
    each = [peak_signal_noise_ratio(a, b, data_range=1.0) for a, b in zip(made, true, strict=True)]
    torch.testing.assert_close(psnr(made, true), torch.stack(each))
    with pytest.raises(ValueError, match="pictures of 10x16 given; SSIM's window is 11 wide"):
        ssim(torch.zeros(1, 3, 10, 16), torch.zeros(1, 3, 10, 16))


def test_a_blurred_picture_is_less_sharp_and_a_copy_is_just_as_sharp():
    true = torch.from_numpy(pictures.load_pairs("scenes", 32).test.images[:20])
    middle = (0.5,) * 3
    side = Augmenter(true, middle, middle, 0, torch.float64, margin=True)
    measured = dict[str, list[float]]()
    nets = {"copy": torch.nn.Identity(), "blur": torch.nn.AvgPool2d(3, 1, 1)}
    for name, net in nets.items():
        measured[name] = [x.item() for x in evaluate(net, side, side, False, batch=7)]
    assert measured["copy"][:4] == pytest.approx([0, 100, 100, 100])
    assert measured["blur"][3] < 60
    assert measured["blur"][2] < 90
    pixels = true.double().mean(1).numpy() / 255
    dy, dx = np.diff(pixels, axis=1)[:, :, :-1], np.diff(pixels, axis=2)[:, :-1]
    np.testing.assert_allclose(edges(true / 255), np.hypot(dy, dx).mean((1, 2)), rtol=1e-6)


def test_what_is_measured_is_a_loop_over_the_pictures():
    (_, test, _, _) = TASK.splits(TINY, torch.device("cpu"))
    net = build("unet(3, 8)", "patchgan(1, 8)", seed=5)[0]
    values = [x.item() for x in evaluate(net, *test, False)]
    found = pictures.load_pairs("scenes", 16, 1, "b_to_a")
    each = []
    net.eval()
    for x, y in zip(found.test.images, found.test.targets, strict=True):
        with torch.no_grad():
            made = (net(torch.from_numpy(x)[None] / 127.5 - 1) + 1) / 2
        true = torch.from_numpy(y)[None] / 255
        both = psnr(made, true).item(), 100 * ssim(made, true).item()
        each.append([(made - true).abs().mean().item(), *both])
    l1, noise, alike = np.array(each, float).mean(0)
    assert values[:3] == pytest.approx([100 * l1, noise, alike], rel=1e-5)


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_a_run_learns_and_one_seed_is_one_run(norm):
    config = TINY.replace(direction="a_to_b", epochs=6, lr=2e-3, images=48, batch=4)
    config = config.replace(model=f"unet(3, 8, {norm!r})")
    first, again = train(config, "cpu"), train(config, "cpu")
    assert_same(first, again)
    assert first.epochs["train_loss"][-1] < 0.9 * first.epochs["train_loss"][0]
    assert first.epochs["test_l1"][-1] < first.epochs["test_l1"][0]
    names = {"test_l1", "test_psnr", "test_ssim", "test_sharpness", "test_kid", "u_mean"}
    assert set(first.epochs) >= names
    assert all(len(values) == 6 for values in first.epochs.values())
    other = train(config.replace(seed=1), "cpu")
    assert other.epochs["train_loss"] != first.epochs["train_loss"]


def test_a_run_that_was_stopped_goes_on_as_if_it_had_not_been(resumed):
    """The second draw knows where it was."""
    config = TINY.replace(epochs=3, weight="uniform", acts_on="both, two draws", batch=1, images=6)
    whole = train(config, "cpu")
    assert_same(resumed(config), whole)
    assert len(whole.along) == 2


def test_held_out_pairs_are_measured_and_change_nothing_else():
    plain, watched = train(TINY, "cpu"), train(TINY.replace(validation=40), "cpu")
    assert watched.epochs["test_ssim"] == plain.epochs["test_ssim"]
    assert len(watched.epochs["validation_ssim"]) == 2
    with pytest.raises(ValueError, match="images=24, validation=580 given; scenes has 600"):
        train(TINY.replace(validation=580), "cpu")


def test_a_record_is_judged_by_its_similarity(tmp_path):
    axes = {"arm": ["plain", "RG", "constant 1/2"], "seed": [0]}
    grid = Grid(cross(TINY, axes), "quick", "", tuple(axes))
    results = run(grid, device="cpu", jobs=1, store=Store(tmp_path), show=False)
    assert results.runs["status"].tolist() == ["finished"] * 3
    for row, record in zip(results.runs.itertuples(), results.records, strict=True):
        assert row.final == record.epochs["test_ssim"][-1]
    assert [r.config.weight for r in results.records] == [
        "constant(1)", "uniform(0, 1)", "constant(0.5)",
    ]  # fmt: skip
    again = run(grid, device="cpu", jobs=1, store=Store(tmp_path), show=False)
    assert again.records == results.records
    assert (tmp_path / "translation").is_dir()


def test_the_captured_step_is_refused_and_a_diverged_run_is_said_to_be_one():
    with pytest.raises(ValueError, match="step='captured' given with translation; use 'plain'"):
        Training(TINY, "cpu", "captured")
    wild = TINY.replace(lr=1e30, optimizer="sgd", momentum=0.0, epochs=3)
    record = perform(wild, How("cpu"))
    assert record.status == "diverged"
    assert record.diverged_at is not None
    assert math.isfinite(record.source["seconds"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": 100}, "size=100 given; 16 or more and a multiple of 256, for 8 levels"),
        ({"data": "mapps"}, "data='mapps' given; did you mean 'maps'"),
        ({"data": "cifar10"}, "data='cifar10' given"),
        ({"model": "resnet34"}, "unknown generator 'resnet34'"),
        ({"judge": "patchgun"}, "unknown discriminator 'patchgun'"),
        ({"judge": "halving(7)"}, r"judge='halving\(7\)' given; fewer layers, at a size of 256"),
        ({"direction": "a_to_a"}, "direction='a_to_a' given; did you mean"),
        ({"acts_on": "generators"}, "acts_on='generators' given; did you mean 'generator'"),
        ({"adversarial": "wgan"}, "adversarial='wgan' given; there are: cross-entropy, least"),
        ({"lambda_l1": -1}, "lambda_l1=-1 given; 0 or more"),
        ({"lambda_l1": float("inf")}, "lambda_l1=inf given; a finite number"),
        ({"batch": 0}, "batch=0 given; a whole number of 1 or more"),
    ],
)
def test_a_wrong_setting_is_refused_with_the_right_one(settings, message):
    with pytest.raises(ValueError, match=message):
        Translation(**settings)


def test_its_key_covers_every_setting_and_is_not_that_of_a_classification():
    names = {f.name for f in dataclasses.fields(Translation)}
    own = names - {f.name for f in dataclasses.fields(Classification)}
    assert own == {"size", "direction", "judge", "acts_on", "adversarial", "lambda_l1", "features"}
    changes = [{}, {"size": 24}, {"direction": "a_to_b"}, {"judge": "halving(1)"}]
    changes += [{"acts_on": "both"}, {"adversarial": "cross-entropy"}, {"lambda_l1": 10.0}]
    assert len({TINY.replace(**change).key("x") for change in changes}) == 7
    assert from_dict(TINY.as_dict()) == TINY
    assert fingerprint_of(TINY.replace(data="maps-200")) == pictures.PAIRS["maps-200"].known
    with pytest.raises(ValueError, match="batch=1 given; a whole number of 2 or more"):
        Classification(batch=1)


def test_every_profile_can_be_built_and_says_what_it_measures(tmp_path, monkeypatch):
    store = Store(tmp_path)
    for profile, data, size, batch in (
        ("smoke", "scenes", 16, 8),
        ("quick", "maps-200", 64, 8),
        ("short", "maps-200", 256, 8),
        ("paper", "maps", 256, 1),
    ):
        monkeypatch.setattr(Source, "available", lambda self: True)
        grid = translation(profile, arm=["plain", "RG"], store=store)
        found = {(c.config.data, c.config.size, c.config.batch) for c in grid}
        assert found == {(data, size, batch)}
        assert grid[0].config.beta2 == 0.999
        assert f"at {size} pixels" in describe(grid)
        assert ("labels → picture" if profile == "smoke" else "map → aerial") in describe(grid)
    monkeypatch.setattr(Source, "available", lambda self: False)
    here = translation("quick", arm=["plain"], base={"direction": "b_to_a"}, store=store)
    assert here.profile == "embedded"
    assert (here[0].config.data, here[0].config.direction) == ("scenes", "a_to_b")
    assert "maps is not at hand" in describe(here)


def test_the_figure_has_a_panel_for_every_measure(tmp_path):
    axes = {"arm": ["plain", "RG"], "seed": [0]}
    grid = Grid(cross(TINY, axes), "quick", "", tuple(axes))
    figure = metrics(
        run(grid, device="cpu", jobs=1, store=Store(tmp_path), show=False), TRANSLATION
    )
    assert len(figure.axes) == 6
    assert all(len(ax.lines) == 4 for ax in figure.axes)  # two seeds and two means
    assert figure.axes[0].lines[0].get_ydata().shape == (2,)


def test_an_arm_says_where_its_weight_acts():
    arm = arm_of("RG on both, two draws", TINY)
    assert (arm.weight, arm.acts_on) == ("uniform(0, 1)", "both, two draws")
    assert arm_of("RG on generator", TINY) == arm_of("RG", TINY)
    with pytest.raises(ValueError, match="acts_on='bth' given; did you mean 'both'"):
        arm_of("RG on bth", TINY)
    with pytest.raises(ValueError, match="unknown setting 'acts_on'"):
        arm_of("RG on both", Classification())


def test_the_length_of_a_step_is_that_of_the_weights_in_learning_rates():
    """The first step of Adam is the sign of the gradient: every weight moves by the rate."""
    config = TINY.replace(precision="float64", batch=24)
    step, *_ = one_epoch(config, np.array([1.0]))
    fresh = build(config.model, config.judge)
    for found, net, old in zip(step.own, (step.net, step.judge), fresh, strict=True):
        moved = flat(net) - flat(old).double()
        wanted = moved.square().mean().sqrt() / config.lr
        assert found.item() == pytest.approx(wanted.item(), rel=1e-9)
    assert step.own[1].item() == pytest.approx(1, abs=0.2)  # biases before a norm stay
    # Over an epoch it is the root mean square of all steps, a rate of its own for each.
    whole, *_ = one_epoch(config.replace(batch=8))
    (inputs, targets), *_ = TASK.splits(config, torch.device("cpu"))
    parts, squares = PairStep(config.replace(batch=8), inputs, targets), []
    torch.manual_seed(0)
    plan = epoch_plan(24, 0, 0, config.augment, inputs.padding, "cpu")
    for u, *batch in zip(U, *(p.split(8) for p in plan), strict=True):
        parts.epoch(tuple(batch), np.full(1, config.lr), np.full(1, u))
        squares.append(parts.own[0].item() ** 2)
    assert whole.own[0].item() == pytest.approx(np.mean(squares) ** 0.5, rel=1e-9)


def test_a_record_keeps_what_the_generator_makes_of_the_first_test_inputs(tmp_path):
    training = Training(TINY, "cpu")
    while not training.over:
        training.advance()
    inputs, _ = training.measured["test"]
    with torch.inference_mode():
        made_now = training.step.net(inputs.plain(torch.arange(KEPT)))
    wanted = (127.5 * (made_now + 1)).permute(0, 2, 3, 1).numpy()
    record = perform(TINY, How("cpu"))
    assert record is not None
    store = Store(tmp_path)
    kept = store.read(store.put(record)).samples
    assert kept == training.outcome.samples
    found = np.stack([unpack(text) for text in kept]).astype(float)
    assert found.shape == wanted.shape == (KEPT, 16, 16, 3)
    assert np.abs(found - wanted).mean() < 12  # of 255: WebP keeps half of the colours' places


def test_a_record_keeps_what_becomes_of_the_first_picture_on_the_way(tmp_path, monkeypatch):
    """And to look at it on the way changes no number."""
    longer = TINY.replace(epochs=4)
    training, seen = Training(longer, "cpu"), []
    while not training.over:
        training.advance()
        seen.append(training._samples()[0])
    record = perform(longer, How("cpu"))
    store = Store(tmp_path)
    kept = store.read(store.put(record))
    assert kept.along == seen[:3]
    assert len(set(seen)) == 4  # it learns something in every epoch
    assert kept.samples[0] == seen[-1]
    with monkeypatch.context() as patched:
        patched.setattr(
            "rgkit.tasks.translation.TASK", dataclasses.replace(TASK, along=lambda epochs: ())
        )
        unseen = perform(longer, How("cpu"))
    assert unseen.along == []
    np.testing.assert_equal(unseen.epochs, record.epochs)
    axes = {"arm": ["plain", "RG"], "seed": [0]}
    grid = Grid(cross(longer, axes), "quick", "", tuple(axes))
    results = run(grid, device="cpu", jobs=1, store=store, show=False)
    figure = on_the_way(results, ["plain", "RG"], seed=0)
    assert [a.get_title() for a in figure.axes[:5]] == [
        *(f"epoch {n}" for n in range(1, 5)),
        "truth",
    ]
    np.testing.assert_array_equal(figure.axes[2].images[0].get_array(), unpack(seen[2]))
    assert [a.texts[0].get_text() for a in figure.axes[::5]] == ["plain", "RG"]
    before = dataclasses.replace(
        results, records=[dataclasses.replace(r, along=[]) for r in results.records]
    )
    figure = on_the_way(before, ["plain", "RG"], seed=0)
    assert [a.get_title() for a in figure.axes[:2]] == ["epoch 1: none", "epoch 2: none"]


def test_pictures_stand_between_input_and_truth_where_the_data_are_at_hand(tmp_path, monkeypatch):
    axes = {"arm": ["plain", "RG"], "seed": [0]}
    grid = Grid(cross(TINY, axes), "quick", "", tuple(axes))
    results = run(grid, device="cpu", jobs=1, store=Store(tmp_path), show=False)
    figure = made(results, ["plain", "RG"], seed=0)
    assert [a.get_title() for a in figure.axes[:4]] == ["input", "plain", "RG", "truth"]
    true = pictures.load_pairs("scenes", 16, 0, TINY.direction)
    drawn = figure.axes[3].images[0].get_array()
    np.testing.assert_array_equal(drawn, true.test.targets[0].transpose(1, 2, 0))
    shown = figure.axes[1].images[0].get_array()
    np.testing.assert_array_equal(shown, unpack(results.records[0].samples[0]))
    asked = trials(results, [("RG", "plain"), ("constant 1/2", "plain")])
    assert [trial["pair"] for trial in asked] == ["RG|plain"] * (KEPT // 2)  # the other: not run
    rg, plain = (record.samples for record in reversed(results.records))
    assert [t["first"].partition(",")[2] for t in asked] == rg[::2]
    assert [t["second"].partition(",")[2] for t in asked] == plain[::2]
    shown = [t[side] for t in trials(results, [("RG", "plain"), ("plain", "RG")])
             for side in ("first", "second")]  # fmt: skip
    assert len(shown) == len(set(shown)) == 2 * KEPT
    monkeypatch.setattr(Source, "available", lambda self: False)
    figure = made(results, ["plain", "RG"], seed=0)
    assert [a.get_title() for a in figure.axes[:2]] == ["plain", "RG"]
