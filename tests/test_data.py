"""Data: both CIFAR layouts, order-free fingerprints, embedded sets, errors that name the file."""

from __future__ import annotations

import hashlib
import pickle

import numpy as np
import pytest

from rgkit import data as datasets
from rgkit.data import DataError, cifar


@pytest.fixture
def small_files(monkeypatch):
    """CIFAR's layouts with 20 images a file, so that tests need no real CIFAR."""
    monkeypatch.setattr(cifar, "IMAGES_PER_FILE", 20)
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (6, 20, 3072), np.uint8), rng.integers(0, 10, (6, 20))


def write_binary(folder, pixels, labels):
    target = folder / cifar.BINARY
    target.mkdir()
    names = [*cifar.TRAIN, "test_batch.bin"]
    for name, x, y in zip(names, pixels, labels, strict=True):
        rows = np.concatenate([y[:, None].astype(np.uint8), x], 1)
        (target / name).write_bytes(rows.tobytes())
    return target


def write_python(folder, pixels, labels, monkeypatch):
    from rgkit._torchvision import import_torchvision

    kind = import_torchvision().datasets.CIFAR10
    target = folder / cifar.PYTHON
    target.mkdir()
    sums = {}
    names = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
    for name, x, y in zip(names, pixels, labels, strict=True):
        text = pickle.dumps({"data": x, "labels": y.tolist()})
        (target / name).write_bytes(text)
        sums[name] = hashlib.md5(text).hexdigest()
    meta = pickle.dumps({"label_names": list("abcdefghij")})
    (target / "batches.meta").write_bytes(meta)
    monkeypatch.setattr(kind, "train_list", [[n, sums[n]] for n in names[:5]])
    monkeypatch.setattr(kind, "test_list", [[names[5], sums[names[5]]]])
    about = {"filename": "batches.meta", "key": "label_names"}
    monkeypatch.setattr(kind, "meta", about | {"md5": hashlib.md5(meta).hexdigest()})
    return target


def test_both_layouts_hold_the_same_images(tmp_path, small_files, monkeypatch):
    for name in ("b", "p"):
        (tmp_path / name).mkdir()
    write_binary(tmp_path / "b", *small_files)
    write_python(tmp_path / "p", *small_files, monkeypatch)
    binary, python = cifar.load(tmp_path / "b"), cifar.load(tmp_path / "p")
    assert binary.train_images.shape == (100, 3, 32, 32)
    assert np.array_equal(binary.train_images, python.train_images)
    assert np.array_equal(binary.test_labels, python.test_labels)
    assert np.array_equal(binary.train_images[0].reshape(-1), small_files[0][0, 0])


def test_python_layout_is_not_unpickled_unchecked(tmp_path, small_files, monkeypatch):
    target = write_python(tmp_path, *small_files, monkeypatch)

    class Evil:
        def __reduce__(self):
            return (pytest.fail, ("a damaged file was unpickled",))

    (target / "data_batch_3").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(DataError, match="cifar-10-batches-py"):
        cifar.load(tmp_path)


def test_a_short_file_and_a_missing_one_are_named(tmp_path, small_files):
    target = write_binary(tmp_path, *small_files)
    path = target / "data_batch_2.bin"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"data_batch_2.bin has 61,459 bytes, not 61,460"):
        cifar.load(tmp_path)
    path.unlink()
    with pytest.raises(DataError, match=r"cifar-10-batches-bin/data_batch_2.bin is missing"):
        cifar.load(tmp_path)


def test_no_cifar_says_where_it_looked_and_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("RGKIT_DATA", str(tmp_path))
    assert not datasets.available("cifar10")
    with pytest.raises(DataError, match=r"set RGKIT_DATA.*rgkit data get cifar10"):
        datasets.load("cifar10")


def test_other_images_under_the_name_are_refused(tmp_path, small_files, monkeypatch):
    write_binary(tmp_path, *small_files)
    monkeypatch.setenv("RGKIT_DATA", str(tmp_path))
    with pytest.raises(DataError, match=r"fingerprint \w{16}, the data set of that name has"):
        datasets.load("cifar10")


def test_fingerprint_and_canonical_order_do_not_depend_on_the_order():
    rng = np.random.default_rng(1)
    x, y = rng.integers(0, 256, (30, 3, 4, 4), np.uint8), rng.integers(0, 10, 30)
    shuffled = rng.permutation(30)
    assert datasets.fingerprint((x, y)) == datasets.fingerprint((x[shuffled], y[shuffled]))
    a, b = datasets.canonical(x, y), datasets.canonical(x[shuffled], y[shuffled])
    assert np.array_equal(a[0], b[0])
    assert np.array_equal(a[1], b[1])
    changed = x.copy()
    changed[7, 0, 0, 0] ^= 1
    assert datasets.fingerprint((changed, y)) != datasets.fingerprint((x, y))
    relabelled = y.copy()
    relabelled[3] = (relabelled[3] + 1) % 10
    assert datasets.fingerprint((x, relabelled)) != datasets.fingerprint((x, y))
    assert datasets.fingerprint((x, y), (x, y)) != datasets.fingerprint((x, y))


@pytest.mark.parametrize("name", datasets.EMBEDDED)
def test_embedded_sets_are_what_their_fingerprint_says(name, monkeypatch, tmp_path):
    monkeypatch.setenv("RGKIT_DATA", str(tmp_path))  # they need no files
    found = datasets.load(name)
    assert found.train_images.dtype == np.uint8
    assert set(found.train_labels) == set(range(10))
    scaled = found.train_images / 255
    np.testing.assert_allclose(found.mean, scaled.mean((0, 2, 3)), atol=0.03)
    np.testing.assert_allclose(found.std, scaled.std((0, 2, 3)), atol=0.03)
    train = {image.tobytes() for image in found.train_images}
    assert not any(image.tobytes() in train for image in found.test_images)


@pytest.mark.skipif(not datasets.available("cifar10"), reason="set RGKIT_DATA to have CIFAR-10")
def test_real_cifar():
    found = datasets.load("cifar10")
    assert found.train_images.shape == (50_000, 3, 32, 32)
    assert np.bincount(found.train_labels).tolist() == [5000] * 10
    assert np.bincount(found.test_labels).tolist() == [1000] * 10
    # The first images in canonical order are a fair sample: every class within 5 sigma.
    first = np.bincount(found.train_labels[:20_000])
    assert abs(first - 2000).max() < 5 * (2000 * 0.9 * 0.6) ** 0.5


def test_a_failed_download_says_what_to_do(tmp_path, monkeypatch, capsys):
    from urllib.error import URLError

    from rgkit._torchvision import import_torchvision
    from rgkit.cli import main

    def refuse(*args, **kwargs):
        raise URLError("no network")

    monkeypatch.setenv("RGKIT_DATA", str(tmp_path))
    monkeypatch.setattr(import_torchvision().datasets, "CIFAR10", refuse)
    assert main(["data", "get", "cifar10"]) == 1
    said = capsys.readouterr().err
    assert "could not be downloaded" in said
    assert "set RGKIT_DATA" in said


def test_unknown_data_set():
    with pytest.raises(DataError, match="unknown data set 'cifer10'; did you mean 'cifar10'"):
        datasets.load("cifer10")
