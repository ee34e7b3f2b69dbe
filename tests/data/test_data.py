"""Data: both CIFAR layouts, order-free fingerprints, embedded sets, errors that name the file."""

from __future__ import annotations

import hashlib
import pickle
import re
from dataclasses import replace

import numpy as np
import pytest

from rgkit.data import images, source
from rgkit.data.source import DataError
from rgkit.runs.config import Classification, Segmentation, Translation
from rgkit.train.loop import Training

CIFAR = ("cifar10", "cifar100")
EMBEDDED = ("digits", "scenes")


@pytest.fixture(params=CIFAR)
def small(request, monkeypatch):
    """A set's official layouts with 20 images a file, so that tests need no real CIFAR."""
    official = images.SOURCES[request.param]
    official = replace(official, sizes=(20 * len(official.train), 20))
    monkeypatch.setitem(images.SOURCES, request.param, official)
    rng, files = np.random.default_rng(0), len(official.train) + 1
    labels = rng.integers(0, len(official.classes), (files, 20))
    return request.param, rng.integers(0, 256, (files, 20, 3072), np.uint8), labels


def write_binary(folder, name, pixels, labels):
    official = images.SOURCES[name]
    target = folder / official.binary
    target.mkdir()
    for file, x, y in zip((*official.train, official.test), pixels, labels, strict=True):
        above = np.full((len(y), official.labels - 1), 7)  # the superclass, which is not read
        rows = np.concatenate([above, y[:, None], x], 1).astype(np.uint8)
        (target / file).write_bytes(rows.tobytes())
    return target


def write_python(folder, name, pixels, labels, monkeypatch):
    from rgkit.data.compat import import_torchvision

    official, fine = images.SOURCES[name], "fine_labels" if name == "cifar100" else "labels"
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
    binary, python = (images.SOURCES[name].read(tmp_path / folder) for folder in ("b", "p"))
    assert binary[0].images.shape == (20 * len(images.SOURCES[name].train), 3, 32, 32)
    assert np.array_equal(binary[0].images, python[0].images)
    assert np.array_equal(binary[1].targets, python[1].targets)
    assert np.array_equal(binary[0].images[0].reshape(-1), pixels[0, 0])
    assert np.array_equal(binary[0].targets, labels[:-1].reshape(-1))


def test_python_layout_is_not_unpickled_unchecked(tmp_path, small, monkeypatch):
    target = write_python(tmp_path, *small, monkeypatch)

    class Evil:
        def __reduce__(self):
            return (pytest.fail, ("a damaged file was unpickled",))

    official = images.SOURCES[small[0]]
    (target / official.train[-1].removesuffix(".bin")).write_bytes(pickle.dumps(Evil()))
    with pytest.raises(DataError, match=f"{official.python}.*copy {official.title} again"):
        images.SOURCES[small[0]].read(tmp_path)


def test_a_short_file_and_a_missing_one_are_named(tmp_path, small):
    target, official = write_binary(tmp_path, *small), images.SOURCES[small[0]]
    path, whole = target / official.train[0], 20 * (official.labels + 3072)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match=f"{path.name} has {whole - 1:,} bytes, not {whole:,}"):
        images.SOURCES[small[0]].read(tmp_path)
    path.unlink()
    with pytest.raises(DataError, match=f"{official.binary}/{path.name} is missing"):
        images.SOURCES[small[0]].read(tmp_path)


def test_a_whole_layout_beside_a_broken_one_is_taken(tmp_path, small, monkeypatch):
    target = write_binary(tmp_path, *small)
    next(iter(target.glob("*.bin"))).write_bytes(b"short")
    write_python(tmp_path, *small, monkeypatch)
    official = images.SOURCES[small[0]]
    assert official.find(tmp_path).name == official.python
    assert len(official.read(tmp_path)[1].targets) == 20


def test_a_label_beyond_the_classes_is_refused(tmp_path, small):
    name, pixels, labels = small
    labels[-1, 3] = count = len(images.SOURCES[name].classes)
    write_binary(tmp_path, name, pixels, labels)
    with pytest.raises(DataError, match=f"has a label {count}, not 0 to {count - 1}; copy"):
        images.SOURCES[name].read(tmp_path)


def test_cifar100_is_known_by_its_files_until_its_pixels_are(tmp_path, monkeypatch):
    official = replace(images.SOURCES["cifar100"], sizes=(20, 20))
    monkeypatch.setitem(images.SOURCES, "cifar100", official)
    monkeypatch.setenv("RGKIT_DATA", str(tmp_path))
    assert official.fingerprint() == "absent"
    assert not official.available()
    with pytest.raises(DataError, match=r"set RGKIT_DATA.*rgkit data get cifar100"):
        images.load("cifar100")
    rng = np.random.default_rng(0)
    pixels, labels = rng.integers(0, 256, (2, 20, 3072), np.uint8), np.full((2, 20), 99)
    target = write_binary(tmp_path, "cifar100", pixels, labels)
    mark = official.fingerprint()
    assert official.available()
    assert re.fullmatch("[0-9a-f]{16}", mark)
    found = images.load("cifar100")
    assert (len(found.source.classes), found.train.targets.tolist()) == (100, [99] * 20)
    (target / "readme.html").write_text("not of the set")
    assert official.fingerprint() == Classification(data="cifar100").fingerprint()
    assert official.fingerprint() == mark
    (target / "test.bin").write_bytes(b"short")
    source._of_files.cache_clear()
    assert official.fingerprint() == "absent"
    assert not official.available()


def test_a_run_that_diverged_counts_as_a_guess_among_its_classes():
    assert (Classification().chance, Classification(data="cifar100").chance) == (10.0, 1.0)
    for name, found in images.SOURCES.items():
        assert Classification(data=name).chance == 100 / len(found.classes)
    assert Segmentation().chance == Translation().chance == 0


def test_a_network_learns_a_hundred_classes(tmp_path, monkeypatch):
    """From the files to a finished run: 100 outputs, and accuracies that are parts of 20 images."""
    official = replace(images.SOURCES["cifar100"], sizes=(20, 20))
    monkeypatch.setitem(images.SOURCES, "cifar100", official)
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
    assert not images.SOURCES["cifar10"].available()
    with pytest.raises(DataError, match=r"set RGKIT_DATA.*rgkit data get cifar10"):
        images.load("cifar10")


@pytest.mark.parametrize("small", ["cifar10"], indirect=True)
def test_other_images_under_the_name_are_refused(tmp_path, small, monkeypatch):
    write_binary(tmp_path, *small)
    monkeypatch.setenv("RGKIT_DATA", str(tmp_path))
    with pytest.raises(DataError, match=r"fingerprint \w{16}, those that were .* 829383a3be7af59e"):
        images.load("cifar10")


def test_fingerprint_and_canonical_order_do_not_depend_on_the_order():
    def of(x, y):
        return source.ordered(images.hashed(x, y))

    rng = np.random.default_rng(1)
    x, y = rng.integers(0, 256, (30, 3, 4, 4), np.uint8), rng.integers(0, 10, 30)
    shuffled = rng.permutation(30)
    first, a = of(x, y)
    again, b = of(x[shuffled], y[shuffled])
    assert first == again
    assert np.array_equal(a.images, b.images)
    assert np.array_equal(a.targets, b.targets)
    changed = x.copy()
    changed[7, 0, 0, 0] ^= 1
    assert of(changed, y)[0] != first
    relabelled = y.copy()
    relabelled[3] = (relabelled[3] + 1) % 10
    assert of(x, relabelled)[0] != first


@pytest.mark.parametrize("name", EMBEDDED)
def test_embedded_sets_are_what_their_fingerprint_says(name, monkeypatch, tmp_path):
    monkeypatch.setenv("RGKIT_DATA", str(tmp_path))  # they need no files
    found = images.load(name)
    assert found.train.images.dtype == np.uint8
    assert set(found.train.targets) == set(range(10))
    scaled = found.train.images / np.float32(255)
    np.testing.assert_allclose(found.source.mean, scaled.mean((0, 2, 3)), atol=0.03)
    np.testing.assert_allclose(found.source.std, scaled.std((0, 2, 3)), atol=0.03)
    train = {image.tobytes() for image in found.train.images}
    assert not any(image.tobytes() in train for image in found.test.images)


@pytest.mark.skipif(
    not images.SOURCES["cifar10"].available(), reason="set RGKIT_DATA to have CIFAR-10"
)
def test_real_cifar():
    found = images.load("cifar10")
    assert found.train.images.shape == (50_000, 3, 32, 32)
    assert np.bincount(found.train.targets).tolist() == [5000] * 10
    assert np.bincount(found.test.targets).tolist() == [1000] * 10
    # The first images in canonical order are a fair sample: every class within 5 sigma.
    first = np.bincount(found.train.targets[:20_000])
    assert abs(first - 2000).max() < 5 * (2000 * 0.9 * 0.6) ** 0.5


@pytest.mark.parametrize("name", CIFAR)
def test_a_failed_download_says_what_to_do(name, tmp_path, monkeypatch, capsys):
    from urllib.error import URLError

    from rgkit.cli import main
    from rgkit.data.compat import import_torchvision

    def refuse(*args, **kwargs):
        raise URLError("no network")

    monkeypatch.setenv("RGKIT_DATA", str(tmp_path))
    monkeypatch.setattr(import_torchvision().datasets, name.upper(), refuse)
    assert main(["data", "get", name]) == 1
    said = capsys.readouterr().err
    assert f"{images.SOURCES[name].title} could not be downloaded" in said
    assert "set RGKIT_DATA" in said


def test_unknown_data_set():
    with pytest.raises(DataError, match="unknown data set 'cifer10'; did you mean 'cifar10'"):
        images.load("cifer10")


def test_the_list_says_what_is_here_and_how_it_is_known(tmp_path, monkeypatch, capsys):
    from rgkit.cli import main

    monkeypatch.setenv("RGKIT_DATA", str(tmp_path))
    official = images.SOURCES["cifar10"]
    (tmp_path / official.python).mkdir()
    for name in (*official.train, official.test):
        (tmp_path / official.python / name.removesuffix(".bin")).touch()
    assert main(["data", "list"]) == 0
    rows = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert f"{official.known}  here " in rows["cifar10"]
    assert re.search(r"by its files +not here", rows["cifar100"])
    assert "embedded" in rows["digits"]
