"""Detection: boxes, their losses, what is measured, and runs from start to end."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from PIL import Image

from rgkit.chapters import detection
from rgkit.chapters.detection import Detection
from rgkit.chapters.detection.figures import detections
from rgkit.chapters.detection.network import BINS, RegionAlign, build
from rgkit.chapters.detection.task import (
    KEPT,
    Boxes,
    evaluate_boxes,
    first_detections,
    targets_of,
)
from rgkit.data import source
from rgkit.data.augment import Augmenter, epoch_plan
from rgkit.data.scenes import scenes
from rgkit.data.source import DataError
from rgkit.models.calibrated import gc_layers
from rgkit.runs.config import Classification, from_dict
from rgkit.runs.grid import Grid, arm_of, cross
from rgkit.runs.records import SHOWN, Store
from rgkit.train.execute import run
from rgkit.train.loop import Training, on_device, train
from rgkit.train.perform import How, perform

TINY = Detection(
    data="scenes", images=12, size=32, model="staged_resnet((4, 8), (1, 1))", head=8, proposals=8,
    epochs=2, batch=4, optimizer="adam", lr=0.002, precision="float32",
)  # fmt: skip
NET = {"size": 32, "head": 8, "proposals": 8}


@pytest.fixture(autouse=True, scope="module")
def few():
    """A few of the scenes, so that an epoch of these tests takes no time."""
    caches = detection._load, on_device
    with pytest.MonkeyPatch.context() as patch:
        small = dataclasses.replace(detection.SOURCES["scenes"], sizes=(60, 10))
        patch.setitem(detection.SOURCES, "scenes", small)
        for cache in caches:
            cache.cache_clear()
        yield
    for cache in caches:
        cache.cache_clear()


def test_boxes_of_scenes_hold_what_is_seen_of_the_shapes():
    """Against a loop over the mask: every pixel of a class is in a box of that class."""
    found = scenes(40, 32)
    assert found.objects.shape == (40, 4, 6)
    for mask, rows in zip(found.masks, found.objects, strict=True):
        own = rows[rows[:, 4] >= 0]
        assert (own[:, :2] < own[:, 2:4]).all()
        assert own[:, :4].min() >= 0
        assert own[:, :4].max() <= 32
        for y, x in np.argwhere((mask > 0) & (mask < 255)):
            inside = (own[:, 0] <= x) & (x < own[:, 2]) & (own[:, 1] <= y) & (y < own[:, 3])
            assert int(mask[y, x]) - 1 in own[inside, 4]
    again = scenes(3, 32).objects
    np.testing.assert_array_equal(again, found.objects[:3])
    np.testing.assert_array_equal(found.objects[:, 2, 4], found.labels)  # the main shape
    assert 0.02 < found.objects[..., 5].mean() < 0.4  # some are difficult, most are not


def test_pictures_are_mirrored_with_their_boxes_and_back():
    """Each box is painted into its picture; mirrored, it still holds exactly what was painted."""
    random = np.random.default_rng(0)
    low = random.integers(0, 8, (10, 2))
    ends = np.concatenate([low, low + random.integers(1, 8, (10, 2))], 1)
    objects = torch.full((10, 2, 6), 0.0)
    objects[:, 0, :4], objects[:, 1, 4] = torch.from_numpy(ends).float(), -1
    pictures = torch.zeros(10, 3, 16, 16, dtype=torch.uint8)
    for picture, (x1, y1, x2, y2) in zip(pictures, ends, strict=True):
        picture[:, y1:y2, x1:x2] = 1
    look = Augmenter(pictures, (0.0,) * 3, (1 / 255,) * 3, 0)
    cut = Boxes(objects, 16)
    plan = epoch_plan(10, seed=1, epoch=0, augment="flip", padding=0, device="cpu")
    assert plan[3].any()
    assert not plan[3].all()
    images, found = look.batch(*plan), cut.batch(*plan)
    for picture, rows in zip(images, found, strict=True):
        x1, y1, x2, y2 = rows[0, :4].long().tolist()
        assert picture[:, y1:y2, x1:x2].min() == 1
        assert picture.sum() == 3 * (y2 - y1) * (x2 - x1)
    assert (found[:, 1] == torch.tensor([0, 0, 0, 0, -1, 0])).all()
    twice = Boxes(found, 16).batch(torch.arange(10), *plan[1:])
    assert torch.equal(twice, objects[plan[0]])


def test_regions_equal_torchvisions_roi_align():
    from torchvision.ops import roi_align

    random = torch.Generator().manual_seed(0)
    maps = torch.randn(2, 5, 8, 16, generator=random, dtype=torch.float64, requires_grad=True)
    ends = torch.rand(9, 2, 2, generator=random, dtype=torch.float64).sort(1).values
    # A box is at least a pixel of the map, 4 of the image. All end inside: beyond it torchvision's
    # compiled way has zeros, and its twin in Python the pixels of the rim.
    own = (ends * torch.tensor([60.0, 28.0])).flatten(1)
    own[0] = torch.tensor([0.0, 0, 64, 32])
    for parts in ([own, own[:3]], [own, own[:0]]):
        ours = RegionAlign(4)({"0": maps}, parts, None)
        with torch.compiler.set_stance("force_eager"):  # its Python twin would be compiled
            theirs = roi_align(maps, parts, BINS, 0.25, 2)
        torch.testing.assert_close(ours, theirs)
        slopes = [torch.autograd.grad(x.square().sum(), maps)[0] for x in (ours, theirs)]
        torch.testing.assert_close(*slopes)


def test_only_what_is_not_difficult_is_taught():
    rows = torch.tensor([[[0.0, 0, 4, 4, 2, 0], [1, 1, 3, 3, 5, 1], [0, 0, 0, 0, -1, 0]]])
    (target,) = targets_of(rows)
    assert target["labels"].tolist() == [3]  # 0 is torchvision's background
    assert target["boxes"].tolist() == [[0, 0, 4, 4]]


def test_the_loss_is_the_sum_of_four_and_a_picture_without_objects_has_one():
    net = build("staged_resnet((4, 8), (1, 1))", 3, **NET).train()
    images, parts = torch.randn(2, 3, 32, 32), []
    features = net.see(images)
    boxed = {"boxes": torch.tensor([[4.0, 4, 20, 28]]), "labels": torch.tensor([2])}
    targets = [boxed, {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}]
    rpn, roi = net.rpn.forward, net.roi_heads.forward

    def watched(old):
        def forward(*given):
            found = old(*given)
            parts.extend(found[1].values())
            return found

        return forward

    net.rpn.forward, net.roi_heads.forward = watched(rpn), watched(roi)
    loss, right = net.losses(images, features, targets)
    assert len(parts) == 4
    torch.testing.assert_close(loss, sum(parts))
    assert 1 <= right.item() <= 2  # the empty picture counts whole
    loss.backward()
    assert all(p.grad is not None for p in net.backbone.parameters())


def test_arms_of_one_seed_begin_with_the_same_heads():
    base = "staged_resnet((4, 8), (1, 1))"
    names = base, f"gc(2, 0.001, base={base!r})", "staged_resnet((8, 16), (1, 1))"
    plain, branched, wider = (build(name, 3, seed=1, **NET) for name in names)
    for other in (branched, wider):
        for ours, theirs in ((plain.rpn, other.rpn), (plain.roi_heads, other.roi_heads)):
            for one, two in zip(ours.parameters(), theirs.parameters(), strict=True):
                assert torch.equal(one, two)
    assert torch.equal(gc_layers(branched)[0].weight, plain.backbone.body[0].weight)
    mean = build(f"gc(2, 0.1, join='mean', base={base!r})", 3, **NET)
    x = torch.randn(1, 3, 32, 32)
    whole = mean.backbone.body(x)
    torch.testing.assert_close(mean.backbone(x), (whole[:, :8] + whole[:, 8:]) / 2)
    assert branched.backbone(x).shape[1] == 2 * mean.backbone(x).shape[1] == 16


def test_what_is_measured_knows_a_perfect_detector_and_one_that_repeats_itself():
    data = detection.load("scenes", 32)
    count = 10
    images, objects = (torch.from_numpy(half[:count]) for half in data.test)
    look = Augmenter(images, data.source.mean, data.source.std, 0)
    net = build("staged_resnet((4, 8), (1, 1))", 10, **NET)
    for copies, wanted in ((1, 100.0), (2, 100.0), (0, 0.0)):
        shown = iter(objects)

        def detect(images, features, copies=copies, shown=shown):
            found = []
            for rows in (next(shown) for _ in images):
                real = rows[rows[:, 4] >= 0].repeat_interleave(copies, 0)
                scores = torch.linspace(0.9, 0.1, len(real))
                found.append(
                    {"boxes": real[:, :4], "labels": real[:, 4].long() + 1, "scores": scores}
                )
            return found

        net.detect = detect
        loss, eleven, area = evaluate_boxes(net, look, Boxes(objects, 32), False, batch=7)
        assert math.isfinite(loss)
        if copies < 2:
            assert (eleven.item(), area.item()) == (wanted, wanted)
        else:  # a duplicate is false, so some precision is lost
            assert 50 < area.item() < 100


@pytest.mark.parametrize("arm", ["plain", "gc(2, 0.001, 0.0001)"])
def test_a_run_learns_and_one_seed_is_one_run(arm):
    config = arm_of(arm, TINY).replace(images=16, epochs=4)
    first, again = train(config, "cpu"), train(config, "cpu")
    assert first == again
    assert first.epochs["train_loss"][-1] < first.epochs["train_loss"][0]
    assert set(first.epochs) >= {"test_loss", "test_map_11", "test_map_area", "train_accuracy"}
    assert all(0 <= v <= 100 for v in first.epochs["test_map_11"])
    other = train(config.replace(seed=1), "cpu")
    assert other.epochs["train_loss"] != first.epochs["train_loss"]


def test_a_run_that_was_stopped_goes_on_as_if_it_had_not_been(resumed):
    assert resumed(TINY) == train(TINY, "cpu")


def test_the_loss_weight_multiplies_the_sum_and_held_out_images_change_nothing():
    """Twice u at half the rate is the same step of SGD without decay."""
    sgd = TINY.replace(optimizer="sgd", lr=0.01, momentum=0.0, weight_decay=0.0, epochs=1)
    plain = train(sgd.replace(precision="float64"), "cpu")
    weighted = sgd.replace(precision="float64", lr=0.005, weight="constant(2)")
    np.testing.assert_allclose(
        train(weighted, "cpu").epochs["train_loss"], plain.epochs["train_loss"], rtol=1e-9
    )
    watched = train(sgd.replace(validation=10), "cpu")
    assert watched.epochs["test_map_11"] == train(sgd, "cpu").epochs["test_map_11"]
    assert len(watched.epochs["validation_map_11"]) == 1


def test_on_64_pixels_with_8_channels_it_trains():
    """Where torch 2.13 writes past its memory if the channels come last."""
    config = TINY.replace(size=64, images=4, epochs=1, model="staged_resnet((8, 16), (1, 1))")
    training = Training(config, "cpu")
    training.advance()
    conv = training.step.net.backbone.body[0].weight
    assert conv.is_contiguous()
    assert not conv.is_contiguous(memory_format=torch.channels_last)
    assert training.outcome.status == "finished"


def test_a_record_keeps_detections_and_a_page_draws_them(tmp_path):
    axes = {"arm": ["plain", "gc(2, 0.001)"], "seed": [0, 1]}
    grid = Grid(cross(TINY.replace(epochs=1), axes), "smoke", "", tuple(axes))
    store = Store(tmp_path)
    results = run(grid, device="cpu", jobs=1, store=store, show=False)
    assert (tmp_path / "detection").is_dir()
    for row, record in zip(results.runs.itertuples(), results.records, strict=True):
        assert row.final == record.epochs["test_map_11"][-1]
        assert len(record.samples) == SHOWN
    box = [*4 * [[0.25, 0.5, 0.75, 1.0, 3, 0.93]], [0, 0, 1, 1, 4, 0.4]]  # the last is one too many
    samples = [json.dumps(box), "[]", "[]"]
    first = dataclasses.replace(results.records[0], samples=samples)
    results = dataclasses.replace(results, records=(first, *results.records[1:]))
    figure = detections(results, ["plain", "gc(2, 0.001)"], seed=0)
    assert [a.get_title() for a in figure.axes[:3]] == ["truth", "plain", "gc(2, 0.001)"]
    assert [t.get_text() for t in figure.axes[1].texts] == 4 * ["ring 0.93"]
    patch = figure.axes[1].patches[0]
    assert (*patch.get_xy(), patch.get_width(), patch.get_height()) == (7.5, 15.5, 16, 16)
    true = detection.load("scenes", 32).test.targets[0]
    assert len(figure.axes[0].patches) == ((true[:, 4] >= 0) & (true[:, 5] == 0)).sum()
    with pytest.raises(ValueError, match="that leaves 2 runs of 'plain'; name one"):
        detections(results, ["plain"])


def test_samples_are_the_detections_in_parts_of_the_picture():
    training = Training(TINY, "cpu")
    images, objects = training.measured["test"]
    net = training.step.net
    found = [
        {
            "boxes": torch.tensor([[8.0, 16, 24, 32], [0, 0, 1, 1]]),
            "labels": torch.tensor([4, 1]), "scores": torch.tensor([0.9, KEPT - 0.01]),
        }
    ]  # fmt: skip
    net.detect = lambda x, features: found * len(x)
    texts = first_detections(net, images, objects, False)
    assert [json.loads(text) for text in texts] == SHOWN * [[[0.25, 0.5, 0.75, 1.0, 3, 0.9]]]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": 40}, "size=40 given; a multiple of 16"),
        ({"head": 0}, "head=0 given; a whole number of 1 or more"),
        ({"proposals": True}, "proposals=True given; a whole number of 8 or more"),
        ({"data": "voc2017"}, "data='voc2017' given; did you mean 'voc2007'"),
        ({"model": "resnet18"}, r"model='resnet18' given; staged_resnet\(...\) or gc"),
        ({"model": "gc(2, base='wrn')"}, "staged_resnet"),
        ({"augment": "crop"}, "augment='crop' given; there are: flip, none"),
        ({"images": 61}, "images=61 given; scenes has 60 to train on"),
    ],
)
def test_a_wrong_setting_is_refused_with_the_right_one(settings, message):
    with pytest.raises(ValueError, match=message):
        Training(TINY.replace(**settings), "cpu")


def test_its_key_covers_every_setting_and_a_run_that_diverges_says_so():
    own = {f.name for f in dataclasses.fields(Detection)}
    assert own - {f.name for f in dataclasses.fields(Classification)} == {
        "size", "head", "proposals",
    }  # fmt: skip
    changes = {}, {"size": 48}, {"head": 9}, {"proposals": 9}
    assert len({TINY.replace(**change).key("x") for change in changes}) == 4
    assert from_dict(TINY.as_dict()) == TINY
    with pytest.raises(ValueError, match="step='captured' given with detection; use 'plain'"):
        Training(TINY, "cpu", "captured")
    record = perform(TINY.replace(optimizer="sgd", lr=1e9, momentum=0.0), How("cpu"))
    assert record.status == "diverged"


ANNOTATION = """<annotation><size><width>100</width><height>50</height></size>
<object><name>{name}</name><difficult>1</difficult>
<bndbox><xmin>11</xmin><ymin>1</ymin><xmax>{right}</xmax><ymax>25</ymax></bndbox></object>
</annotation>"""


def test_annotations_of_voc_are_read_and_wrong_ones_named(tmp_path):
    path = tmp_path / "000001.xml"
    path.write_text(ANNOTATION.format(name="diningtable", right=60))
    table = detection.SOURCES["voc2007"].classes.index("diningtable")
    first, *others = detection.read_objects(path, 200)
    np.testing.assert_allclose(first, [20, 0, 120, 100, table, 1])
    assert {row[4] for row in others} == {-1}
    path.write_text(ANNOTATION.format(name="diningtabel", right=60))
    with pytest.raises(DataError, match=r"000001\.xml has .*'diningtabel'; did you mean"):
        detection.read_objects(path, 200)
    path.write_text(ANNOTATION.format(name="cat", right=101))
    with pytest.raises(DataError, match="has the box 11, 1, 101, 25; the picture is 100x50"):
        detection.read_objects(path, 200)
    path.write_text("<annotation>")
    with pytest.raises(DataError, match="cannot be read"):
        detection.read_objects(path, 200)
    with pytest.raises(DataError, match=r"none\.xml cannot be read .*No such file"):
        detection.read_objects(tmp_path / "none.xml", 200)


def test_voc_is_found_in_torchvisions_layout(tmp_path, monkeypatch):
    monkeypatch.setenv("RGKIT_DATA", str(tmp_path))
    voc = dataclasses.replace(detection.SOURCES["voc2007"], sizes=(2, 1))
    monkeypatch.setitem(detection.SOURCES, "voc2007", voc)
    assert not voc.available()
    assert voc.fingerprint() == "absent"
    with pytest.raises(DataError, match=r"trainval\.txt is not there; copy the data set again"):
        detection.load("voc2007", 32)
    base = tmp_path / "VOCdevkit" / "VOC2007"
    for name in ("ImageSets/Main", "JPEGImages", "Annotations"):
        (base / name).mkdir(parents=True)
    for split, names in (("trainval", "000001 000002"), ("test", "000003")):
        (base / "ImageSets" / "Main" / f"{split}.txt").write_text(names.replace(" ", "\n"))
    for name in ("000001", "000002", "000003"):
        Image.new("RGB", (100, 50), (10, 20, 30)).save(base / "JPEGImages" / f"{name}.jpg")
        text = ANNOTATION.format(name="cat", right=60)
        (base / "Annotations" / f"{name}.xml").write_text(text)
    source._of_files.cache_clear()
    found = detection.load("voc2007", 32)
    assert voc.available()
    assert len(voc.fingerprint()) == 16
    assert found.train.images.shape == (2, 3, 32, 32)
    assert voc.classes[found.train.targets[0, 0, 4].astype(int)] == "cat"
    assert (found.test.targets[0, 1:, 4] == -1).all()
    monkeypatch.setitem(detection.SOURCES, "voc2007", dataclasses.replace(voc, sizes=(3, 1)))
    detection._load.cache_clear()
    with pytest.raises(DataError, match="2 to train on and 1 to test on are here, the set has 3"):
        detection.load("voc2007", 32)
    source._of_files.cache_clear()
    detection._load.cache_clear()
