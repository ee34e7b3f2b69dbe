"""Scenes are reproducible, consistent with each other, and give the class away by form only."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from rgkit.data.scenes import CLASSES, PALETTE, VOID, Scenes, scenes

FIELDS = ("images", "labels", "masks", "maps")


@pytest.fixture(scope="module")
def many() -> Scenes:
    return scenes(2000)


def same(a: Scenes, b: Scenes, count: int) -> bool:
    return all(np.array_equal(getattr(a, f)[:count], getattr(b, f)[:count]) for f in FIELDS)


def nearest_mean_accuracy(features: NDArray[np.floating[Any]], labels: NDArray[np.int64]) -> float:
    """Fit class means on the first half of the scenes, classify the second half."""
    half = len(labels) // 2
    means = np.stack([features[:half][labels[:half] == k].mean(0) for k in range(len(CLASSES))])
    guess = ((features[half:, None] - means) ** 2).sum(-1).argmin(1)
    return float((guess == labels[half:]).mean())


@pytest.mark.parametrize("size", [16, 33, 256])
def test_shapes_and_types(size: int) -> None:
    batch = scenes(3, size)
    assert batch.images.shape == batch.maps.shape == (3, 3, size, size)
    assert batch.masks.shape == (3, size, size)
    assert batch.labels.shape == (3,)
    assert batch.images.dtype == batch.maps.dtype == batch.masks.dtype == np.uint8
    assert batch.labels.dtype == np.int64
    assert len(CLASSES) == 10
    assert PALETTE.shape == (11, 3)
    assert len(np.unique(PALETTE, axis=0)) == 11


def test_a_scene_does_not_depend_on_the_count(many: Scenes) -> None:
    for count in (1, 31, 33, 100):  # below, around and above the number painted at once
        assert same(scenes(count), many, count)
    assert same(scenes(2, 256), scenes(3, 256), 2)


def test_splits_differ() -> None:
    sets = [scenes(600), scenes(600, split="test")]
    for images in ([s.images for s in sets], [s.maps for s in sets]):  # with and without noise
        pictures = {picture.tobytes() for part in images for picture in part}
        assert len(pictures) == 1200


def test_every_size_shows_the_same_scenes() -> None:
    small, large = scenes(50, 32), scenes(50, 96)
    centres = large.maps[:, :, 1::3, 1::3]  # the pixels of the large map at the small one's centres
    clear = (small.masks != VOID)[:, None]
    assert np.array_equal(small.labels, large.labels)
    assert np.array_equal(np.where(clear, small.maps, 0), np.where(clear, centres, 0))


def test_masks_agree_with_maps_and_labels(many: Scenes) -> None:
    assert set(np.unique(many.masks)) == {*range(11), VOID}
    clear = many.masks != VOID
    assert np.array_equal(PALETTE[many.masks[clear]], many.maps.transpose(0, 2, 3, 1)[clear])
    assert 0.05 < (~clear).mean() < 0.15
    main = many.masks == (many.labels + 1)[:, None, None]
    assert main.mean((1, 2)).min() > 0.04
    smallest = scenes(1000, 16)
    main = smallest.masks == (smallest.labels + 1)[:, None, None]
    assert main.mean((1, 2)).min() > 0.02


def test_void_follows_the_outlines() -> None:
    """Void is where the region changes, and nowhere else, save between shapes of one class."""
    batch = scenes(300, 64)
    void = batch.masks == VOID
    across = (batch.maps[..., 1:] != batch.maps[..., :-1]).any(1)
    assert not (across & ~void[..., 1:] & ~void[..., :-1]).any()
    red, green, blue = batch.maps.astype(np.int32).transpose(1, 0, 2, 3)
    regions = (red << 16) + (green << 8) + blue
    near = np.lib.stride_tricks.sliding_window_view(regions, (3, 3), (1, 2))
    inner = void[:, 1:-1, 1:-1]
    lone = (inner & (near == near[..., 1:2, 1:2]).all((3, 4))).sum((1, 2)) / inner.sum((1, 2))
    assert max(lone[batch.labels == k].mean() for k in range(len(CLASSES))) < 0.04


def test_classes_are_balanced(many: Scenes) -> None:
    counts = np.bincount(many.labels, minlength=10)
    assert np.abs(counts - 200).max() < 4 * np.sqrt(2000 * 0.1 * 0.9)


def test_colour_and_area_do_not_give_the_class_away(many: Scenes) -> None:
    pixels = many.images / np.float32(255)
    colour = np.concatenate([pixels.mean((2, 3)), pixels.std((2, 3))], axis=1)
    main = (many.maps == PALETTE[many.labels + 1][:, :, None, None]).all(1)
    inside = (pixels * main[:, None]).sum((2, 3)) / main.sum((1, 2))[:, None]
    for features in (colour, inside, main.mean((1, 2))[:, None]):
        assert nearest_mean_accuracy(features, many.labels) < 0.14  # chance is 0.10


def test_the_picture_shows_the_shapes(many: Scenes) -> None:
    """The main shape differs from the ground in colour, in nearly every scene."""
    main = (many.masks == (many.labels + 1)[:, None, None])[:, None]
    ground = (many.masks == 0)[:, None]
    inside, outside = (
        (many.images * m).sum((2, 3)) / m.sum((2, 3)).clip(1) for m in (main, ground)
    )
    assert (np.linalg.norm(inside - outside, axis=1) > 60).mean() > 0.98


@pytest.mark.parametrize(
    ("count", "options", "message"),
    [
        (0, {}, "count is 0; it must be at least 1"),
        (1, {"size": 15}, "size is 15; it must be from 16 to 256"),
        (1, {"size": 257}, "size is 257; it must be from 16 to 256"),
        (1, {"split": "val"}, "split is 'val'; it must be one of 'train', 'test'"),
    ],
)
def test_errors_name_the_parameter(count: int, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        scenes(count, **options)


def test_the_first_scenes_are_pinned() -> None:
    """Recorded results depend on these bytes: whoever changes the generator must mean to."""
    batch = scenes(64)
    assert {f: hashlib.sha256(getattr(batch, f).tobytes()).hexdigest() for f in FIELDS} == {
        "images": "6c2766533ec3cab7690ae1b91171c806a60e4a024413b11de8ed295c53734e8f",
        "labels": "651b4bef61621ab241ed58c1e3b3a0275c53844e5f6a4ada35770d89018da7b7",
        "masks": "9afbd33f116120feab3bb4db34f1c6162de6776838987b3c61134881f90c02a7",
        "maps": "2a6890a72d8c3d9af22656c6ab06339a0b106f0a2b9cab1e595d5efc164dc2db",
    }
