"""The distance between features: its formula, the networks that make them, what a run records."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from rgkit.chapters import own_classifier
from rgkit.data import images, pictures
from rgkit.data.augment import Augmenter
from rgkit.data.compat import import_torchvision
from rgkit.data.source import DataError
from rgkit.models import classification
from rgkit.runs.config import Translation, from_dict
from rgkit.runs.grid import Grid, cross
from rgkit.runs.records import Store
from rgkit.runs.results import collect
from rgkit.stats.differences import UNMEASURED, paired
from rgkit.tasks import classification as task
from rgkit.tasks.classification import evaluate as classified
from rgkit.tasks.translation import evaluate, kernel_distance
from rgkit.train.execute import run
from rgkit.train.loop import train

import_torchvision()  # before torchmetrics, which imports it
from torchmetrics.image import kid  # noqa: E402

TINY = Translation(
    data="scenes", images=24, size=16, model="unet(3, 8)", judge="patchgan(1, 8)", epochs=2,
    batch=8,
)  # fmt: skip


def by_loops(made, true):
    """The estimate term by term, over all ordered pairs of two different inputs."""

    def kernel(x, y):
        return (sum(float(a) * float(b) for a, b in zip(x, y, strict=True)) / len(x) + 1) ** 3

    total, count = 0.0, len(made)
    for i in range(count):
        for j in range(count):
            if i != j:
                total += kernel(made[i], made[j]) + kernel(true[i], true[j])
                total -= kernel(made[i], true[j]) + kernel(made[j], true[i])
    return total / (count * (count - 1))


def blurred(pictures, reach):
    """Means over squares of 2 reach + 1 pixels; the pictures themselves for 0."""
    return F.avg_pool2d(F.pad(pictures, [reach] * 4, mode="reflect"), 2 * reach + 1, 1)


@pytest.fixture(scope="module")
def true():
    """Test pictures from 0 to 1 [200, 3, 32, 32]."""
    return torch.from_numpy(pictures.load_pairs("scenes", 32).test.images).float() / 255


@pytest.fixture(scope="module")
def compared():
    return classification.own_features()


def test_the_distance_is_that_of_its_slow_twin():
    made, true = torch.randn(2, 7, 5, dtype=torch.float64, generator=torch.manual_seed(0))
    wanted = by_loops(made.tolist(), true.tolist())
    assert kernel_distance(made, true).item() == pytest.approx(wanted, rel=1e-12)
    assert kernel_distance(made.float(), true).dtype == torch.float64


def test_it_is_torchmetrics_but_for_the_pairs_of_one_input():
    """torchmetrics takes two sets for independent and keeps the kernel of each with its pair."""
    made, true = torch.randn(2, 9, 4, dtype=torch.float64, generator=torch.manual_seed(1))
    theirs = kid.poly_mmd(true, made, degree=3, gamma=None, coef=1.0).item()
    cross = ((made @ true.T) / 4 + 1) ** 3
    off = (cross.sum() - cross.trace()) / (9 * 8)
    assert kernel_distance(made, true).item() == pytest.approx(
        theirs + 2 * (cross.mean() - off).item(), rel=1e-9
    )


def test_it_has_no_bias_where_both_come_from_one_distribution():
    draws = torch.randn(400, 2, 20, 6, dtype=torch.float64, generator=torch.manual_seed(2))
    found = np.array([kernel_distance(a, b).item() for a, b in draws])
    assert abs(found.mean()) < 3 * found.std() / 20
    # Nor where the two of a pair depend on each other, as a picture and its truth do.
    paired = np.array([kernel_distance(a, -a).item() for a, _ in draws])
    assert abs(paired.mean()) < 3 * paired.std() / 20


def test_one_picture_has_no_distance_and_other_shapes_are_refused():
    assert kernel_distance(torch.ones(1, 3), torch.zeros(1, 3)).isnan()
    with pytest.raises(ValueError, match=r"features of \(4, 3\) and \(5, 3\) given; a row of each"):
        kernel_distance(torch.ones(4, 3), torch.ones(5, 3))


def test_a_blur_is_farther_the_wider_it_is_and_two_halves_are_near(true, compared):
    seen = compared(true)
    far = [kernel_distance(compared(blurred(true, reach)), seen).item() for reach in range(4)]
    assert far[0] == 0
    assert far == sorted(far)
    halves = kernel_distance(seen[:100], seen[100:]).item()
    assert abs(halves) < far[1]


def test_the_committed_file_is_small_whole_and_says_where_it_comes_from():
    assert classification.OWN.stat().st_size < 400_000
    net, facts = classification.read_classifier(classification.OWN)
    config = own_classifier.CONFIG
    assert from_dict(facts["config"]) == config
    assert {"accuracy", "commit", "fingerprint", "versions", "device", "seconds"} <= set(facts)
    fresh = classification.build(config.model).named_parameters()
    shapes = {name: p.shape for name, p in net.named_parameters()}
    assert shapes == {name: p.shape for name, p in fresh}
    assert all(p.isfinite().all() for p in net.state_dict().values())


@pytest.mark.skipif(
    not images.SOURCES["cifar10"].available(), reason="CIFAR-10 is not at hand (RGKIT_DATA)"
)
def test_the_committed_classifier_knows_the_test_images():
    net, facts = classification.read_classifier(classification.OWN)
    config = own_classifier.CONFIG.replace(images=100)
    _, (pictures, labels), *_ = task.TASK.splits(config, torch.device("cpu"))
    _, accuracy = classified(net, pictures, labels, autocast=False)
    assert accuracy.item() > 60
    assert accuracy.item() == pytest.approx(facts["accuracy"], abs=0.1)  # machines round


def test_another_file_in_its_place_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "own.npz"
    path.write_bytes(classification.OWN.read_bytes()[:5000])
    monkeypatch.setattr(classification, "OWN", path)
    with pytest.raises(DataError, match=rf"has the SHA-256 .*, not {classification.DIGEST}…"):
        classification.own_features()


def test_a_classifier_can_be_made_again_and_nothing_is_overwritten(tmp_path, monkeypatch, capsys):
    small = {"data": "digits", "images": 64, "model": "resnet8(2)", "epochs": 1, "batch": 32}
    config, path = own_classifier.CONFIG.replace(**small), tmp_path / "own.npz"
    own_classifier.make(path, config)
    assert "epoch 1 of 1" in capsys.readouterr().err
    net, facts = classification.read_classifier(path)
    assert set(facts) >= set(classification.read_classifier(classification.OWN)[1])
    assert net.training is False
    assert facts["config"]["model"] == "resnet8(2)"
    before = path.read_bytes()
    monkeypatch.setattr(own_classifier, "Training", lambda *a: pytest.fail("trained"))
    for wrong in (path, tmp_path / "own.txt", tmp_path / "no folder" / "own.npz"):
        with pytest.raises(ValueError, match=f"{wrong.name}' given; a new file ending with .npz"):
            own_classifier.make(wrong, config)
    assert path.read_bytes() == before


@pytest.mark.parametrize("given", ["resnet50-0676ba61.pth", "inception", None])
def test_another_network_is_refused(given):
    with pytest.raises(ValueError, match=f"features={given!r} given; '' is our own classifier"):
        Translation(features=given)


@pytest.mark.usefixtures("few_test_pictures")
def test_old_records_keep_their_keys_and_are_read_without_the_measure(tmp_path):
    config, store = TINY.replace(epochs=1), Store(tmp_path)
    axes = {"arm": ["plain", "RG"], "seed": [0]}
    grid = Grid(cross(config, axes), "quick", "", tuple(axes))
    new = run(grid, device="cpu", jobs=1, store=store, show=False)
    assert new.epochs["test_kid"].notna().all()  # of one epoch, the last
    for cell in grid[:1]:  # as it was before the measure
        path = store.path(cell.config)
        old = json.loads(path.read_text())
        del old["config"]["features"], old["epochs"]["test_kid"], old["digest"]
        path.write_text(json.dumps(old))
    results = collect(grid, store)
    assert results.epochs["test_kid"].isna().tolist() == [True, False]
    assert results.runs["final"].tolist() == new.runs["final"].tolist()
    ends = results.runs.join(results.epochs.groupby("key")[["test_kid"]].last(), on="key")
    row = paired(ends, "RG", "plain", value="test_kid").loc["all"]
    assert row["verdict"] == UNMEASURED
    assert math.isnan(row["difference"])


@pytest.mark.usefixtures("few_test_pictures")
def test_a_run_measures_it_after_its_last_epoch_and_one_seed_is_one_run():
    first, again = train(TINY, "cpu"), train(TINY.replace(validation=40), "cpu")
    for found in (first.epochs["test_kid"], again.epochs["validation_kid"]):
        before, last = found
        assert math.isnan(before)
        assert math.isfinite(last)
    np.testing.assert_equal(again.epochs["test_kid"], first.epochs["test_kid"])


def test_a_copy_of_every_picture_is_at_zero(true):
    levels = (255 * true[:30]).round().to(torch.uint8)
    side = Augmenter(levels, (0.5,) * 3, (0.5,) * 3, 0, torch.float32, margin=True)
    found = evaluate(torch.nn.Identity(), side, side, False, features=classification.own_features())
    assert found[-1].item() == pytest.approx(0, abs=1e-9)
    assert evaluate(torch.nn.Identity(), side, side, False)[-1].isnan()
