"""Pictures with masks: the layouts, one size for both, and files that are not as they should be."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from rgkit.data import source
from rgkit.data.pictures import MASKS as SOURCES
from rgkit.data.pictures import fit
from rgkit.data.pictures import load_masks as load
from rgkit.data.scenes import VOID
from rgkit.data.source import DataError


def picture(seed, width=40, height=30):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def mask_of(seed, labels, width=40, height=30):
    pixels = np.random.default_rng(100 + seed).choice(labels, (height, width)).astype(np.uint8)
    return Image.fromarray(pixels)


def save(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


@pytest.fixture
def camvid(tmp_path, monkeypatch):
    monkeypatch.setenv("RGKIT_DATA", str(tmp_path))
    for name in ("camvid", "camvid-png"):
        monkeypatch.setitem(SOURCES, name, replace(SOURCES[name], sizes=(3, 2)))
    source._of_files.cache_clear()
    (tmp_path / "camvid" / "train").mkdir(parents=True)
    (tmp_path / "camvid" / "train" / ".DS_Store").write_text("what a file browser leaves behind")
    for split, count in (("train", 3), ("test", 2)):
        for i in range(count):
            save(tmp_path / "camvid" / split / f"{i}.png", picture(10 * count + i))
            labels = mask_of(10 * count + i, range(12))
            save(tmp_path / "camvid" / f"{split}annot" / f"{i}.png", labels)
    return tmp_path


def test_camvid_in_segnets_layout(camvid):
    found = load("camvid-png", 24)
    assert found.train.images.shape == (3, 3, 24, 32)  # four thirds as wide
    assert found.train.targets.shape == (3, 24, 32)
    assert found.test.images.shape == (2, 3, 24, 32)
    assert set(np.unique(found.train.targets)) == {*range(11), VOID}  # 11 is void
    assert len(found.source.classes) == 11
    wider = load("camvid-png", 24, 4)  # made smaller as a whole: there is nothing beyond its rim
    assert (wider.train.targets.shape, wider.margin) == ((3, 24, 32), 0)


def test_voc_in_torchvisions_layout(tmp_path, monkeypatch):
    """The palette of a mask is not looked at; a picture that is too small gets void around it."""
    monkeypatch.setenv("RGKIT_DATA", str(tmp_path))
    monkeypatch.setitem(SOURCES, "voc2012", replace(SOURCES["voc2012"], sizes=(2, 1)))
    base = tmp_path / "VOCdevkit" / "VOC2012"
    sizes = {"a": (40, 30), "b": (20, 50), "c": (33, 31)}
    for seed, (name, (width, height)) in enumerate(sizes.items()):
        save(base / "JPEGImages" / f"{name}.jpg", picture(seed, width, height))
        mask = mask_of(seed, [0, 7, 20, VOID], width, height)
        mask.putpalette([(i * 7) % 256 for i in range(768)])
        assert mask.mode == "P"
        save(base / "SegmentationClass" / f"{name}.png", mask)
    lists = base / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("a\nb\n")
    (lists / "val.txt").write_text("c\n")
    found = load("voc2012", 32)
    assert found.train.images.shape == (2, 3, 32, 32)
    assert found.test.targets.shape == (1, 32, 32)
    narrow = found.train.targets[(found.train.targets[:, :, :6] == VOID).all((1, 2))]
    assert len(narrow) == 1  # 20 of 32 columns are the picture's
    assert (narrow[0][:, 26:] == VOID).all()
    assert (narrow[0][:, 6:26] != VOID).any()
    assert set(np.unique(found.train.targets)) == {0, 7, 20, VOID}
    wider = load("voc2012", 32, 4)  # the middle of what is kept is what was cut
    assert wider.margin == 4
    np.testing.assert_array_equal(wider.test.targets[:, 4:-4, 4:-4], found.test.targets)
    (lists / "val.txt").write_text("c\nd\n")
    with pytest.raises(DataError, match=r"val\.txt names 'd', which is not in"):
        load("voc2012", 40)


def test_scenes_are_embedded():
    found = load("scenes", 32, 4)
    assert found.train.images.shape == (600, 3, 32, 32)
    assert set(np.unique(found.train.targets)) == {*range(11), VOID}


def test_the_order_and_the_fingerprint_are_those_of_the_pixels(camvid):
    before = load("camvid-png", 16)
    for split in ("train", "trainannot"):
        folder = camvid / "camvid" / split
        for old, new in (("0", "z"), ("2", "0")):
            (folder / f"{old}.png").rename(folder / f"{new}.png")
    after = load("camvid-png", 17)  # another size, so that nothing is from a cache
    assert after.fingerprint == before.fingerprint
    again = load("camvid-png", 18)
    assert again.train.targets.shape[0] == 3
    save(camvid / "camvid" / "train" / "0.png", picture(77))
    assert load("camvid-png", 19).fingerprint != before.fingerprint


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("size", [(24, 32), (30, 40), (96, 90)])
def test_picture_and_mask_are_moved_together(whole, size):
    """A mask painted in the colours of its classes has to end where the mask itself ends."""
    blocks = np.kron(np.random.default_rng(0).integers(0, 4, (5, 5)), np.ones((16, 16))).astype(
        np.uint8
    )
    painted = Image.fromarray(np.repeat(blocks[..., None] * 60 + 20, 3, axis=2))
    image, mask = fit(painted, Image.fromarray(blocks), *size, whole)
    assert image.shape == (3, *size)
    assert mask.shape == size
    known = mask != VOID
    close = np.abs(image[0].astype(int) - (mask.astype(int) * 60 + 20)) < 8
    assert close[known].mean() > (0.75 if whole else 0.999)  # edges are blurred in a picture
    assert (image[:, ~known] == 0).all()
    assert known.all() or not whole


def test_cutting_keeps_every_label_as_it_is():
    labels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    _, mask = fit(picture(0, 16, 16), Image.fromarray(labels), 16, 16, whole=False)
    np.testing.assert_array_equal(mask, labels)


def test_files_that_are_not_what_they_should_be_are_named(camvid):
    annot = camvid / "camvid" / "trainannot" / "1.png"
    save(annot, mask_of(0, range(11), 41, 30))
    with pytest.raises(DataError, match=r"1\.png and its mask .*1\.png differ in size: 40x30 and"):
        load("camvid-png", 20)
    save(annot, mask_of(0, [3, 40]))
    with pytest.raises(DataError, match=r"1\.png has the label 40; this set has 0 to 10"):
        load("camvid-png", 21)
    save(annot, picture(0))
    with pytest.raises(DataError, match=r"1\.png has the mode RGB; a mask has one number a pixel"):
        load("camvid-png", 22)
    annot.write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"1\.png cannot be read"):
        load("camvid-png", 23)
    annot.unlink()
    with pytest.raises(DataError, match=r"1\.png is not there; copy the data set again"):
        load("camvid-png", 24)


def test_other_pixels_than_those_that_were_measured_are_refused(camvid):
    with pytest.raises(DataError, match=r"camvid: the pixels have fingerprint .*data='camvid-png'"):
        load("camvid", 24)


def test_a_set_without_a_known_fingerprint_is_named_by_its_files(camvid, monkeypatch):
    before = SOURCES["camvid-png"].fingerprint()
    assert len(before) == 16
    annot = camvid / "camvid" / "testannot" / "0.png"
    annot.write_bytes(annot.read_bytes() + b"more")
    source._of_files.cache_clear()
    assert SOURCES["camvid-png"].fingerprint() != before
    more = replace(SOURCES["camvid-png"], sizes=(3, 3))
    monkeypatch.setitem(SOURCES, "camvid-png", more)
    with pytest.raises(DataError, match="3 to train on and 2 to test on are here, the set has 3"):
        load("camvid-png", 24)


def test_a_set_that_is_not_there_names_the_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("RGKIT_DATA", str(tmp_path))
    source._of_files.cache_clear()
    for name, said in (("camvid", "camvid/train"), ("voc2012", "train.txt")):
        assert SOURCES[name].fingerprint() == (SOURCES[name].known or "absent")
        with pytest.raises(DataError, match=said):
            load(name, 16)
    with pytest.raises(DataError, match="unknown data set 'camvit'; did you mean 'camvid'"):
        load("camvit", 16)
    with pytest.raises(ValueError, match="size is 4; it must be from 16 to 256"):
        load("scenes", 4)
