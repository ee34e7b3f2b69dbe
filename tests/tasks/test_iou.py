"""Mean IoU against torchmetrics and against a loop over sets of pixels."""

from __future__ import annotations

import math

import pytest
import torch

from rgkit.data.compat import import_torchvision
from rgkit.tasks.segmentation import VOID, confusion, iou, mean_iou, mean_of_images

import_torchvision()  # torchmetrics imports it
from torchmetrics.functional.classification import multiclass_jaccard_index  # noqa: E402


def drawn(classes, seed, absent=()):
    """Labels and predictions of six images, a third of them right, some pixels void."""
    random = torch.Generator().manual_seed(seed)
    known = [c for c in range(classes) if c not in absent]
    labels, guess = (
        torch.tensor(known)[torch.randint(len(known), (6, 9, 7), generator=random)]
        for _ in range(2)
    )
    right = torch.rand(labels.shape, generator=random) < 0.33
    predicted = torch.where(right, labels, guess)
    void = torch.rand(labels.shape, generator=random) < 0.2
    return predicted, torch.where(void, VOID, labels)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("classes", [2, 5, 21])
def test_the_measure_of_a_set_is_torchmetrics(classes, seed):
    predicted, labels = drawn(classes, seed)
    theirs = multiclass_jaccard_index(predicted, labels, classes, average="none", ignore_index=VOID)
    counts = confusion(predicted, labels, classes)
    torch.testing.assert_close(iou(counts).float(), theirs)
    assert mean_iou(counts).item() == pytest.approx(100 * theirs.mean().item(), rel=1e-6)


def by_sets(predicted, labels, classes):
    """The slow twin: intersections and unions of sets of pixels."""
    places = [p for p, label in enumerate(labels.flatten().tolist()) if label != VOID]
    values = []
    for c in range(classes):
        true = {p for p in places if labels.flatten()[p] == c}
        said = {p for p in places if predicted.flatten()[p] == c}
        if true | said:
            values.append(len(true & said) / len(true | said))
    return 100 * sum(values) / len(values) if values else math.nan


@pytest.mark.parametrize("absent", [(), (0,), (3, 4)])
def test_classes_in_neither_do_not_count(absent):
    predicted, labels = drawn(6, 7, absent)
    counts = confusion(predicted, labels, 6)
    assert iou(counts).isnan().nonzero().flatten().tolist() == list(absent)
    assert mean_iou(counts).item() == pytest.approx(by_sets(predicted, labels, 6))


def test_a_class_that_is_only_predicted_counts_as_wrong():
    counts = confusion(torch.tensor([0, 1]), torch.tensor([0, 0]), 3)
    assert iou(counts).nan_to_num(-1).tolist() == [0.5, 0, -1]


def test_batches_add_up_to_the_set():
    predicted, labels = drawn(4, 1)
    parts = [confusion(p, y, 4) for p, y in zip(predicted, labels, strict=True)]
    assert torch.equal(torch.stack(parts).sum(0), confusion(predicted, labels, 4))


def test_the_mean_of_images_is_the_mean_of_each_ones_own():
    predicted, labels = drawn(4, 2)
    labels[3] = VOID  # nothing to measure
    tables = torch.stack([confusion(p, y, 4) for p, y in zip(predicted, labels, strict=True)])
    own = [by_sets(p, y, 4) for p, y in zip(predicted, labels, strict=True)]
    known = [value for value in own if not math.isnan(value)]
    assert len(known) == 5
    assert mean_of_images(tables).item() == pytest.approx(sum(known) / 5)
    assert abs(mean_of_images(tables) - mean_iou(tables.sum(0))) > 0.05  # another measure


def test_void_is_left_out_whatever_is_predicted_there():
    labels = torch.tensor([0, VOID, 1])
    a, b = (confusion(torch.tensor([0, guess, 1]), labels, 2) for guess in (0, 1))
    assert torch.equal(a, b)
    assert a.sum() == 2


def test_sizes_that_do_not_match_are_refused():
    with pytest.raises(ValueError, match=r"\(2,\) predicted, \(3,\) labelled"):
        confusion(torch.zeros(2), torch.zeros(3), 2)
