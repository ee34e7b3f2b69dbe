"""Training networks that label pixels: joint crops, the loss, what is measured, and the records."""

from __future__ import annotations

import dataclasses
import hashlib
import math

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from torch.nn import functional as F

from rgkit.chapters.pictures import overlays, tinted
from rgkit.data import pictures
from rgkit.data.augment import Augmenter, Masks, epoch_plan
from rgkit.data.compat import import_torchvision
from rgkit.data.scenes import VOID
from rgkit.data.source import DataError, Source
from rgkit.models.segmentation import build
from rgkit.runs.config import Classification, Segmentation, from_dict
from rgkit.runs.grid import Grid, cross
from rgkit.runs.records import SHOWN, Store, fingerprint_of, unpack
from rgkit.tasks.segmentation import AUXILIARY, evaluate, label_pixels
from rgkit.train.execute import run
from rgkit.train.loop import Training, train
from rgkit.train.perform import How, perform
from rgkit.train.step import PlainStep

import_torchvision()
from torchvision.models import resnet  # noqa: E402

pytestmark = pytest.mark.usefixtures("few_test_pictures")

TINY = Segmentation(
    data="scenes", images=24, size=16, model="pspnet('resnet18', 4)", epochs=2, batch=8, lr=0.05,
    precision="float32",
)  # fmt: skip


def test_pictures_and_masks_are_cut_and_mirrored_alike():
    """Pictures painted with the numbers of their masks: cut and mirrored, they still agree."""
    labels = torch.from_numpy(
        np.random.default_rng(0).integers(0, 11, (12, 20, 26)).astype(np.uint8)
    )
    pictures = labels[:, None].repeat(1, 3, 1, 1) * 20
    look = Augmenter(pictures, (0.0,) * 3, (1 / 255,) * 3, 3, torch.float64, margin=True)
    cut = Masks(labels, 3, margin=True)
    plan = epoch_plan(12, seed=1, epoch=0, augment="crop+flip", padding=3, device="cpu")
    assert plan[3].any()
    assert len({*plan[1].tolist()}) > 2
    images, found = look.batch(*plan), cut.batch(*plan)
    assert images.shape == (12, 3, 14, 20)
    assert found.dtype == torch.int64
    torch.testing.assert_close(images[:, 0], 20.0 * found.double())
    for place, (index, dy, dx, mirror) in enumerate(zip(*(p.tolist() for p in plan), strict=True)):
        one = labels[index, dy : dy + 14, dx : dx + 20]
        assert torch.equal(found[place], (one.flip(1) if mirror else one).long())
    assert torch.equal(cut.plain(torch.tensor([4]))[0], labels[4, 3:17, 3:23].long())


def test_what_is_padded_is_void():
    cut = Masks(torch.zeros(1, 4, 6, dtype=torch.uint8), 2)
    still, far = torch.tensor([2]), torch.tensor([0])
    plan = (torch.tensor([0]), far, still, torch.tensor([False]))
    found = cut.batch(*plan)[0]
    assert (found[:2] == VOID).all()
    assert (found[2:] == 0).all()
    assert (cut.plain(torch.tensor([0])) == 0).all()


@pytest.mark.parametrize(
    ("augment", "moves", "mirrors"),
    [
        ("none", False, False),
        ("flip", False, True),
        ("crop", True, False),
        ("crop+flip", True, True),
    ],
)
def test_each_way_to_augment_does_what_it_says(augment, moves, mirrors):
    _, dy, dx, mirror = epoch_plan(60, 0, 0, augment, 2, "cpu")
    assert (len({*dy.tolist(), *dx.tolist()}) > 1) == moves
    assert bool(mirror.any()) == mirrors


def batch(seed=0, void=0.2):
    random = torch.Generator().manual_seed(seed)
    images = torch.randn(4, 3, 16, 16, generator=random)
    labels = torch.randint(5, (4, 16, 16), generator=random)
    return images, torch.where(torch.rand(labels.shape, generator=random) < void, VOID, labels)


def test_the_loss_is_cross_entropy_of_the_known_pixels_and_four_tenths_of_the_second():
    images, labels = batch()
    net = build("pspnet('resnet18', 4)", 5)
    for module in net.modules():
        if isinstance(module, torch.nn.Dropout2d):
            module.p = 0.0
    loss, right = label_pixels(net, images, labels, False)
    main, second = net(images)
    parts = [F.cross_entropy(x, labels, ignore_index=VOID) for x in (main, second)]
    torch.testing.assert_close(loss, parts[0] + 0.4 * parts[1])
    assert AUXILIARY == 0.4
    known = labels != VOID
    assert right.item() == pytest.approx(
        4 * (main.argmax(1) == labels)[known].double().mean().item(), rel=1e-6
    )


def test_a_batch_without_a_labelled_pixel_has_no_loss_and_no_nan():
    images, labels = batch()
    loss, right = label_pixels(build("pspnet('resnet18', 4)", 5), images, labels * 0 + VOID, False)
    assert (loss.item(), right.item()) == (0, 0)


def test_the_loss_weight_acts_on_both_losses():
    """Twice u at half the rate is the same step, the auxiliary loss included."""
    ends = []
    for u, lr in ((2.0, 0.01), (1.0, 0.02)):
        torch.manual_seed(0)
        net = build("pspnet('resnet18', 4)", 5).double()
        config = TINY.replace(momentum=0.0, weight_decay=0.0, precision="float64")
        images, labels = batch()
        look = Augmenter(torch.zeros(1, 3, 16, 16, dtype=torch.uint8), (0.0,) * 3, (1.0,) * 3, 0)
        step = PlainStep(config, net, look, None, label_pixels)
        ready = images.double(), labels
        step.batches = lambda plan, number, ready=ready: iter([ready])
        step.epoch(None, np.array([lr]), np.array([u]))
        ends.append(torch.cat([p.detach().flatten() for p in net.parameters()]))
    torch.testing.assert_close(*ends, rtol=0, atol=1e-12)


def test_what_is_measured_is_a_loop_over_the_pictures():
    found = pictures.load_masks("scenes", 16)
    net = build("duc_hdc('resnet18', 4)", 11)
    count = 20
    look = Augmenter(
        torch.from_numpy(found.test.images[:count]),
        found.source.mean,
        found.source.std,
        0,
        margin=True,
    )
    labels = torch.from_numpy(found.test.targets[:count])
    values = [x.item() for x in evaluate(net, look, Masks(labels, 0), False, batch=7)]
    net.eval()
    with torch.no_grad():
        logits = net(look.plain(torch.arange(count)))
    known, guess = labels != VOID, logits.argmax(1)
    loss = F.cross_entropy(logits, labels.long(), ignore_index=VOID)
    assert values[0] == pytest.approx(loss.item(), rel=1e-5)
    assert values[1] == pytest.approx(100 * (guess == labels)[known].double().mean().item())

    def miou(guess, labels):
        every = []
        for c in range(11):
            said, true = (guess == c) & (labels != VOID), labels == c
            if (said | true).any():
                every.append(((said & true).sum() / (said | true).sum()).item())
        return 100 * sum(every) / len(every)

    assert values[2] == pytest.approx(miou(guess, labels), rel=1e-6)
    own = [miou(g, y) for g, y in zip(guess, labels, strict=True)]
    assert values[3] == pytest.approx(sum(own) / count, rel=1e-6)


@pytest.mark.parametrize("model", ["pspnet('resnet18', 4)", "duc_hdc('resnet18', 4)"])
def test_a_run_learns_and_one_seed_is_one_run(model):
    config = TINY.replace(model=model, images=48, epochs=6, momentum=0.9, augment="crop+flip")
    first, again = train(config, "cpu"), train(config, "cpu")
    assert first == again
    assert first.epochs["train_loss"][-1] < first.epochs["train_loss"][0]
    assert set(first.epochs) >= {"test_miou", "test_miou_of_images", "test_accuracy", "u_mean"}
    assert all(len(values) == 6 for values in first.epochs.values())
    other = train(config.replace(seed=1), "cpu")
    assert other.epochs["train_loss"] != first.epochs["train_loss"]


def test_weights_are_found_by_their_name_and_held_against_it(tmp_path, monkeypatch):
    monkeypatch.setenv("RGKIT_DATA", str(tmp_path))
    (tmp_path / "weights").mkdir()
    file = tmp_path / "weights" / "state.pth"
    given = resnet.resnet18()
    torch.save(given.state_dict(), file)
    digits = hashlib.sha256(file.read_bytes()).hexdigest()[:8]
    name = f"resnet18-{digits}.pth"
    file.rename(file.with_name(name))
    config = TINY.replace(model="pspnet('resnet18')", weights=name)
    net = Training(config, "cpu").step.net
    assert torch.equal(net.backbone["conv1"].weight, given.conv1.weight)
    with pytest.raises(DataError, match=r"resnet18-00000000\.pth is not here \(looked in"):
        Training(config.replace(weights="resnet18-00000000.pth"), "cpu")
    file.with_name(name).rename(file.with_name("resnet18-00000000.pth"))
    with pytest.raises(DataError, match=f"has the SHA-256 {digits}.*, not 00000000"):
        Training(config.replace(weights="resnet18-00000000.pth"), "cpu")


def test_a_run_that_was_stopped_goes_on_as_if_it_had_not_been(resumed):
    assert resumed(TINY) == train(TINY, "cpu")


def test_held_out_images_are_measured_and_change_nothing_else():
    plain, watched = train(TINY, "cpu"), train(TINY.replace(validation=40), "cpu")
    assert watched.epochs["test_miou"] == plain.epochs["test_miou"]
    assert len(watched.epochs["validation_miou"]) == 2
    with pytest.raises(ValueError, match="images=24, validation=580 given; scenes has 600"):
        train(TINY.replace(validation=580), "cpu")


def test_a_record_is_judged_by_its_mean_iou(tmp_path):
    axes = {"arm": ["plain", "RG", "half rate, twice decay"], "seed": [0]}
    grid = Grid(cross(TINY, axes), "quick", "", tuple(axes))
    results = run(grid, device="cpu", jobs=1, store=Store(tmp_path), show=False)
    assert results.runs["status"].tolist() == ["finished"] * 3
    for row, record in zip(results.runs.itertuples(), results.records, strict=True):
        assert row.final == record.epochs["test_miou"][-1]
        assert row.best == max(record.epochs["test_miou"])
    weights = [record.config.weight for record in results.records]
    assert weights == ["constant(1)", "uniform(0, 1)", "constant(1)"]
    assert results.records[2].config.weight_decay == 2 * TINY.weight_decay
    again = run(grid, device="cpu", jobs=1, store=Store(tmp_path), show=False)
    assert again.records == results.records
    assert (tmp_path / "segmentation").is_dir()


def test_frozen_norms_stay_what_they_are():
    training = Training(TINY.replace(model="pspnet('resnet18', 4, 'frozen')"), "cpu")
    norm = training.step.net.backbone["bn1"]
    before = norm.weight.clone(), norm.running_mean.clone()
    training.advance()
    assert torch.equal(norm.weight, before[0])
    assert not torch.equal(norm.running_mean, before[1])  # its statistics are not frozen


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": 30}, "size=30 given; a multiple of 8"),
        ({"data": "camvit"}, "data='camvit' given; did you mean 'camvid'"),
        ({"data": "cifar10"}, "data='cifar10' given"),
        ({"model": "resnet34"}, "unknown segmentation network 'resnet34'"),
        ({"augment": "mirror"}, "augment='mirror' given"),
        ({"weights": "best.pth"}, "weights='best.pth' given; a file as torchvision names them"),
        ({"lr": -1}, "lr=-1 given; a positive number"),
    ],
)
def test_a_wrong_setting_is_refused_with_the_right_one(settings, message):
    with pytest.raises(ValueError, match=message):
        Segmentation(**settings)


def test_its_key_covers_every_setting_and_is_not_that_of_a_classification():
    names = {f.name for f in dataclasses.fields(Segmentation)}
    own = names - {f.name for f in dataclasses.fields(Classification)}
    assert own == {"size", "weights"}
    changes = {}, {"size": 24}, {"lr": 0.1}, {"images": 25}, {"weights": "resnet18-f37072fd.pth"}
    assert len({TINY.replace(**change).key("x") for change in changes}) == 5
    assert from_dict(TINY.as_dict()) == TINY
    assert fingerprint_of(TINY.replace(data="camvid")) == "febd9e1e7350596f"


def test_the_captured_step_is_refused_and_a_diverged_run_is_said_to_be_one():
    with pytest.raises(ValueError, match="step='captured' given with segmentation; use 'plain'"):
        Training(TINY, "cpu", "captured")
    with pytest.raises(ValueError, match="batch=23 given; the last batch of 24 images would be a"):
        Training(TINY.replace(batch=23), "cpu")
    record = perform(TINY.replace(lr=1e9, momentum=0.0, epochs=3), How("cpu"))
    assert record.status == "diverged"
    assert record.diverged_at is not None
    assert math.isfinite(record.source["seconds"])


def test_a_record_keeps_what_the_network_labels_in_the_first_test_pictures(tmp_path):
    training = Training(TINY, "cpu")
    while not training.over:
        assert training.outcome.samples == []
        training.advance()
    images, _ = training.measured["test"]
    index = torch.arange(SHOWN)
    with torch.inference_mode():
        wanted = training.step.net(images.plain(index)).argmax(1).numpy()
    record = perform(TINY, How("cpu"))
    assert record is not None
    store = Store(tmp_path)
    again = store.read(store.put(record))
    assert again.samples == record.samples == training.outcome.samples
    np.testing.assert_array_equal(np.stack([unpack(text) for text in again.samples]), wanted)
    digits = Classification(data="digits", images=64, model="resnet8(2)", epochs=1)
    other = perform(digits, How("cpu"))
    assert other is not None
    assert other.samples == []
    assert "samples" not in other.as_dict()


def test_overlays_show_truth_where_it_is_at_hand_and_labels_in_any_case(tmp_path, monkeypatch):
    axes = {"arm": ["plain", "RG"], "lr": [0.05], "seed": [0, 1]}
    grid = Grid(cross(TINY, axes), "quick", "", tuple(axes))
    results = run(grid, device="cpu", jobs=1, store=Store(tmp_path), show=False)
    figure = overlays(results, ["plain", "RG"], seed=0)
    assert [a.get_title() for a in figure.axes[:4]] == ["picture", "truth", "plain", "RG"]
    assert len(figure.axes) == 4 * SHOWN
    assert [t.get_text() for t in figure.legends[0].get_texts()][:1] == ["background"]
    true = pictures.load_masks("scenes", 16)
    guess = unpack(results.records[0].samples[0])
    shades = plt.get_cmap("tab20")(np.arange(11))[:, :3]
    drawn = figure.axes[2].images[0].get_array()
    np.testing.assert_allclose(drawn, tinted(guess, shades, true.test.images[0]))
    with pytest.raises(ValueError, match="that leaves 2 runs of 'plain'; name one"):
        overlays(results, ["plain", "RG"])
    monkeypatch.setattr(Source, "available", lambda self: False)
    figure = overlays(results, ["plain"], seed=1)
    assert [a.get_title() for a in figure.axes[:1]] == ["plain"]
    assert len(figure.axes) == SHOWN
    figure = overlays(results, ["constant 1/2", "plain"], seed=1)  # the first was not run
    assert [a.get_title() for a in figure.axes[:2]] == ["constant 1/2: none", "plain"]
    assert [len(a.images) for a in figure.axes[:2]] == [0, 1]
