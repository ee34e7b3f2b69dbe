"""Data: both CIFAR layouts, order-free fingerprints, embedded sets, errors that name the file."""

from __future__ import annotations

import hashlib
import pickle
import re
from dataclasses import replace

import numpy as np
import pytest

from rgkit import data as datasets
from rgkit.data import DataError, cifar
from rgkit.runs.kinds import Classification, Segmentation, Translation
from rgkit.train.loop import Training


@pytest.fixture(params=sorted(cifar.SETS))
def small(request, monkeypatch):
    """A set's official layouts with 20 images a file, so that tests need no real CIFAR."""
    official = replace(cifar.SETS[request.param], images=(20, 20))
    monkeypatch.setitem(cifar.SETS, request.param, official)
    rng, files = np.random.default_rng(0), len(official.train) + 1
    labels = rng.integers(0, datasets.CLASSES[request.param], (files, 20))
    return request.param, rng.integers(0, 256, (files, 20, 3072), np.uint8), labels


def write_binary(folder, name, pixels, labels):
    official = cifar.SETS[name]
    target = folder / official.binary
    target.mkdir()
    for file, x, y in zip((*official.train, official.test), pixels, labels, strict=True):
        above = np.full((len(y), official.labels - 1), 7)  # the superclass, which is not read
        rows = np.concatenate([above, y[:, None], x], 1).astype(np.uint8)
        (target / file).write_bytes(rows.tobytes())
    return target


def write_python(folder, name, pixels, labels, monkeypatch):
    from rgkit.data.vision import import_torchvision

    official, fine = cifar.SETS[name], "fine_labels" if name == "cifar100" else "labels"
    kind = getattr(import_torchvision().datasets, official.title.replace("-", ""))
    target = folder / official.python
    target.mkdir()
    sums = []
    for file, x, y in zip((*official.train, official.test), pixels, labels, strict=True):
        above = {"coarse_labels": [7] * len(y)} if name == "cifar100" else {}
        text = pickle.dumps({"data": x, fine: y.tolist()} | above)
        (target / file.removesuffix(".bin")).write_bytes(text)
        sums.append([file.removesuffix(".bin"), hashlib.md5(text).hexdigest()])
    meta = pickle.dumps({kind.meta["key"]: list("abcdefghij")})
    (target / kind.meta["filename"]).write_bytes(meta)
    monkeypatch.setattr(kind, "train_list", sums[:-1])
    monkeypatch.setattr(kind, "test_list", sums[-1:])
    monkeypatch.setattr(kind, "meta", kind.meta | {"md5": hashlib.md5(meta).hexdigest()})
    return target


def test_both_layouts_hold_the_same_images(tmp_path, small, monkeypatch):
    name, pixels, labels = small
    for folder in ("b", "p"):
        (tmp_path / folder).mkdir()
    write_binary(tmp_path / "b", *small)
    write_python(tmp_path / "p", *small, monkeypatch)
    binary, python = (cifar.load(name, tmp_path / folder) for folder in ("b", "p"))
    assert binary.train_images.shape == (20 * len(cifar.SETS[name].train), 3, 32, 32)
    assert np.array_equal(binary.train_images, python.train_images)
    assert np.array_equal(binary.test_labels, python.test_labels)
    assert np.array_equal(binary.train_images[0].reshape(-1), pixels[0, 0])
    assert np.array_equal(binary.train_labels, labels[:-1].reshape(-1))
    assert binary.classes == python.classes == datasets.CLASSES[name]


def test_python_layout_is_not_unpickled_unchecked(tmp_path, small, monkeypatch):
    target = write_python(tmp_path, *small, monkeypatch)

    class Evil:
        def __reduce__(self):
            return (pytest.fail, ("a damaged file was unpickled",))

    official = cifar.SETS[small[0]]
    (target / official.train[-1].removesuffix(".bin")).write_bytes(pickle.dumps(Evil()))
    with pytest.raises(DataError, match=f"{official.python}.*copy {official.title} again"):
        cifar.load(small[0], tmp_path)


def test_a_short_file_and_a_missing_one_are_named(tmp_path, small):
    target, official = write_binary(tmp_path, *small), cifar.SETS[small[0]]
    path, whole = target / official.train[0], 20 * (official.labels + 3072)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match=f"{path.name} has {whole - 1:,} bytes, not {whole:,}"):
        cifar.load(small[0], tmp_path)
    path.unlink()
    with pytest.raises(DataError, match=f"{official.binary}/{path.name} is missing"):
        cifar.load(small[0], tmp_path)


def test_a_label_beyond_the_classes_is_refused(tmp_path, small):
    name, pixels, labels = small
    labels[-1, 3] = datasets.CLASSES[name]
    write_binary(tmp_path, name, pixels, labels)
    with pytest.raises(DataError, match=f"has a label {datasets.CLASSES[name]}, .*copy it again"):
        cifar.load(name, tmp_path)


def test_cifar100_is_known_by_its_files_until_its_pixels_are(tmp_path, monkeypatch):
    official = replace(cifar.SETS["cifar100"], images=(20, 20))
    monkeypatch.setitem(cifar.SETS, "cifar100", official)
    monkeypatch.setenv("RGKIT_DATA", str(tmp_path))
    assert datasets.fingerprint_of("cifar100") == "absent"
    assert not datasets.available("cifar100")
    with pytest.raises(DataError, match=r"set RGKIT_DATA.*rgkit data get cifar100"):
        datasets.load("cifar100")
    rng = np.random.default_rng(0)
    pixels, labels = rng.integers(0, 256, (2, 20, 3072), np.uint8), np.full((2, 20), 99)
    target = write_binary(tmp_path, "cifar100", pixels, labels)
    mark = datasets.fingerprint_of("cifar100")
    assert datasets.available("cifar100")
    assert re.fullmatch("[0-9a-f]{16}", mark)
    found = datasets.load("cifar100")
    assert (found.classes, found.train_labels.tolist()) == (100, [99] * 20)
    (target / "readme.html").write_text("not of the set")
    assert datasets.fingerprint_of("cifar100") == Classification(data="cifar100").fingerprint()
    assert datasets.fingerprint_of("cifar100") == mark
    (target / "test.bin").write_bytes(b"short")
    assert datasets.fingerprint_of("cifar100") not in (mark, "absent")


def test_a_run_that_diverged_counts_as_a_guess_among_its_classes():
    chances = {name: Classification(data=name).chance for name in datasets.NAMES}
    assert chances == {"cifar10": 10.0, "cifar100": 1.0, "digits": 10.0, "scenes": 10.0}
    assert Segmentation().chance == Translation().chance == 0


def test_a_network_learns_a_hundred_classes(tmp_path, monkeypatch):
    """From the files to a finished run: 100 outputs, and accuracies that are parts of 20 images."""
    official = replace(cifar.SETS["cifar100"], images=(20, 20))
    monkeypatch.setitem(cifar.SETS, "cifar100", official)
    monkeypatch.setenv("RGKIT_DATA", str(tmp_path))
    rng = np.random.default_rng(0)
    labels = rng.integers(80, 100, (2, 20))
    write_binary(tmp_path, "cifar100", rng.integers(0, 256, (2, 20, 3072), np.uint8), labels)
    config = Classification(data="cifar100", images=20, model="resnet8(2)", epochs=1, batch=10)
    run = Training(config, "cpu")
    assert run.step.net[-1].out_features == 100
    run.advance()
    assert run.over
    assert run.outcome.epochs["test_accuracy"][0] % 5 == pytest.approx(0)


def test_no_cifar_says_where_it_looked_and_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("RGKIT_DATA", str(tmp_path))
    assert not datasets.available("cifar10")
    with pytest.raises(DataError, match=r"set RGKIT_DATA.*rgkit data get cifar10"):
        datasets.load("cifar10")


@pytest.mark.parametrize("small", ["cifar10"], indirect=True)
def test_other_images_under_the_name_are_refused(tmp_path, small, monkeypatch):
    write_binary(tmp_path, *small)
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


@pytest.mark.parametrize("name", cifar.SETS)
def test_a_failed_download_says_what_to_do(name, tmp_path, monkeypatch, capsys):
    from urllib.error import URLError

    from rgkit.cli import main
    from rgkit.data.vision import import_torchvision

    def refuse(*args, **kwargs):
        raise URLError("no network")

    monkeypatch.setenv("RGKIT_DATA", str(tmp_path))
    monkeypatch.setattr(import_torchvision().datasets, name.upper(), refuse)
    assert main(["data", "get", name]) == 1
    said = capsys.readouterr().err
    assert f"{cifar.SETS[name].title} could not be downloaded" in said
    assert "set RGKIT_DATA" in said


def test_unknown_data_set():
    with pytest.raises(DataError, match="unknown data set 'cifer10'; did you mean 'cifar10'"):
        datasets.load("cifer10")


def test_the_list_says_what_is_here_and_how_it_is_known(tmp_path, monkeypatch, capsys):
    from rgkit.cli import main

    monkeypatch.setenv("RGKIT_DATA", str(tmp_path))
    (tmp_path / cifar.SETS["cifar10"].python).mkdir()
    assert main(["data", "list"]) == 0
    rows = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert f"{datasets.FINGERPRINTS['cifar10']}  here " in rows["cifar10"]
    assert re.search(r"by its files +not here", rows["cifar100"])
    assert "embedded" in rows["digits"]
