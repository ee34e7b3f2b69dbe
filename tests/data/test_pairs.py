"""Pairs of pictures side by side: both directions, one order, and files that are not in order."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from rgkit.data import pictures, source
from rgkit.data.pictures import PAIRS as SOURCES
from rgkit.data.pictures import load_pairs as load
from rgkit.data.pictures import margin_of, words
from rgkit.data.source import DataError


def halves(seed, size=32):
    """A on the left has no blue, B on the right no red."""
    pixels = np.random.default_rng(seed).integers(1, 256, (size, 2 * size, 3), dtype=np.uint8)
    pixels[:, :size, 2] = 0
    pixels[:, size:, 0] = 0
    return pixels


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def maps(tmp_path, monkeypatch):
    monkeypatch.setenv("RGKIT_DATA", str(tmp_path))
    monkeypatch.setitem(SOURCES, "maps", replace(SOURCES["maps"], sizes=(4, 3)))
    source._of_files.cache_clear()
    for split, count in (("train", 4), ("val", 3)):
        for i in range(count):
            save(tmp_path / "maps" / split / f"{i}.png", halves(10 * count + i))
        (tmp_path / "maps" / split / ".DS_Store").write_text("what a file browser leaves behind")
    return tmp_path


def test_both_halves_are_found_and_either_can_be_the_input(maps):
    found = load("maps", 16, 2, "a_to_b")
    assert found.train.images.shape == found.train.targets.shape == (4, 3, 20, 20)
    assert found.test.images.shape == (3, 3, 16, 16)
    assert not found.train.images[:, 2].any()  # A, the left half
    assert not found.train.targets[:, 0].any()
    swapped = load("maps", 16, 2, "b_to_a")
    np.testing.assert_array_equal(swapped.train.images, found.train.targets)
    np.testing.assert_array_equal(swapped.test.targets, found.test.images)
    assert swapped.fingerprint == found.fingerprint


def test_pictures_of_the_right_size_are_kept_as_they_are(maps):
    found = load("maps", 32)
    wanted = {halves(40 + i)[:, :32].tobytes() for i in range(4)}
    assert {a.transpose(1, 2, 0).tobytes() for a in found.train.images} == wanted


def test_the_order_and_the_fingerprint_are_those_of_the_pixels(maps):
    before = load("maps", 17)
    folder = maps / "maps" / "train"
    for old, new in (("0", "z"), ("2", "0")):
        (folder / f"{old}.png").rename(folder / f"{new}.png")
    pictures._load.cache_clear()
    after = load("maps", 17)
    assert after.fingerprint == before.fingerprint
    np.testing.assert_array_equal(after.train.images, before.train.images)
    save(folder / "0.png", halves(77))
    pictures._load.cache_clear()
    assert load("maps", 17).fingerprint != before.fingerprint


def test_a_set_without_a_known_fingerprint_is_named_by_its_files(maps):
    before = SOURCES["maps"].fingerprint()
    assert len(before) == 16
    save(maps / "maps" / "val" / "0.png", np.zeros((32, 64, 3), np.uint8))
    source._of_files.cache_clear()
    assert SOURCES["maps"].fingerprint() != before
    assert SOURCES["maps-200"].fingerprint() == "eb0a04b981b5843a"  # known, whatever lies there


def test_embedded_scenes_are_pictures_and_their_label_maps():
    found = load("scenes", 24, 1)
    assert found.train.images.shape == (600, 3, 26, 26)
    assert found.test.targets.shape == (200, 3, 24, 24)
    colours = np.unique(found.test.targets.transpose(0, 2, 3, 1).reshape(-1, 3), axis=0)
    assert len(colours) == 11  # flat ones: the map of ten shapes and the background
    assert SOURCES["scenes"].available()


def test_the_margin_is_in_proportion_to_pix2pix():
    assert [margin_of(size) for size in (256, 128, 64, 16)] == [15, 8, 4, 1]
    assert words("maps-200", "b_to_a") == "map → aerial"


def test_files_that_are_not_what_they_should_be_are_named(maps):
    assert SOURCES["maps"].available()
    save(maps / "maps" / "train" / "1.png", np.zeros((8, 15, 3), np.uint8))
    with pytest.raises(DataError, match=r"1\.png is 15 pixels wide; a pair has two halves"):
        load("maps", 18)
    (maps / "maps" / "train" / "1.png").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"1\.png cannot be read .*; copy the data set again"):
        load("maps", 18)
    (maps / "maps" / "train" / "1.png").unlink()
    with pytest.raises(DataError, match="maps: 3 to train on and 3 to test on are here, the set"):
        load("maps", 18)
    assert not SOURCES["maps"].available()


def test_another_copy_of_maps_is_told_to_use_its_own_name(maps, monkeypatch):
    for name, sizes in (("maps", (4, 9)), ("maps-200", (4, 3))):
        monkeypatch.setitem(SOURCES, name, replace(SOURCES[name], sizes=sizes))
    with pytest.raises(DataError, match="name it as what it is: data='maps-200'"):
        load("maps", 19)
    with pytest.raises(
        DataError, match=r"maps-200: the pixels have fingerprint .*, those that were"
    ):
        load("maps-200", 19)


def test_what_is_not_there_or_not_known_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("RGKIT_DATA", str(tmp_path))
    source._of_files.cache_clear()
    assert SOURCES["facades"].fingerprint() == "absent"
    with pytest.raises(DataError, match=r"facades/train/\*: no pictures; unpack pix2pix's facades"):
        load("facades", 64)
    with pytest.raises(DataError, match="unknown data set 'map'; did you mean 'maps'"):
        load("map", 64)
    with pytest.raises(DataError, match="size=250, margin=15 given; scenes have 16 to 256"):
        load("scenes", 250, 15)
