"""Folders of images: what a network sees of them, and runs that several processes share."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import cross_entropy

from rgkit import cli
from rgkit.chapters.image_folder import SOURCES, ImageFolder, task
from rgkit.chapters.image_folder.task import Folder, evaluate_folder
from rgkit.data.source import DataError, Dataset, Source, Split
from rgkit.models.classification import build
from rgkit.runs.config import Classification, ConfigError, from_dict
from rgkit.runs.grid import arm_of
from rgkit.runs.records import Store
from rgkit.train.execute import Pool
from rgkit.train.loop import train
from rgkit.train.perform import How, perform

TINY = ImageFolder(
    data="scenes", images=48, size=16, model="resnet8(2)", epochs=2, batch=16, lr=0.05,
    precision="float32",
)  # fmt: skip


def test_an_image_is_cut_by_draws_of_its_own_and_tested_whole():
    train_, again = (Folder("scenes", "train", 16, 48, seed=3) for _ in range(2))
    torch.manual_seed(1)
    first = [train_[number, 0][0] for number in range(8)]
    state = torch.get_rng_state()
    torch.manual_seed(2)
    backwards = [again[number, 0][0] for number in reversed(range(8))][::-1]
    for a, b in zip(first, backwards, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)
    torch.manual_seed(1)
    assert torch.equal(
        state, torch.get_rng_state()
    )  # reading draws nothing from training's numbers
    assert not torch.equal(first[0], train_[0, 1][0])  # another epoch
    assert not torch.equal(first[0], Folder("scenes", "train", 16, 48, seed=4)[0, 0][0])
    test = Folder("scenes", "val", 16)
    assert torch.equal(test[5, -1][0], test[5, -1][0])
    assert (len(train_), len(test), len(test.classes)) == (48, 500, 10)
    assert len({label for _, label in train_.samples}) > 5  # not the first folder alone


def test_a_part_of_cifar10_is_written_as_its_images_are_and_as_imagenet_is(tmp_path, monkeypatch):
    draws = np.random.default_rng(1)
    images = draws.integers(0, 256, (9, 3, 32, 32), np.uint8)
    labels = np.arange(9, dtype=np.int64) % 3
    three = Source((9, 9), ("class0", "class1", "class2"))
    whole = Dataset(three, Split(images, labels), Split(images[::-1], labels[::-1]), "drawn")
    monkeypatch.setattr(task, "load", {"cifar10": whole}.__getitem__)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    uncached = task._made.__wrapped__  # what is drawn here must not be found by other tests
    monkeypatch.setattr(task, "_made", uncached)
    part = dataclasses.replace(three, sizes=(7, 3), known="drawn")
    monkeypatch.setitem(SOURCES, "cifar10-5000", part)
    for split, first in (("train", images[:7]), ("val", images[::-1][:3])):
        folder = Folder("cifar10-5000", split, 28)
        assert (len(folder), folder.classes) == (len(first), ["class0", "class1", "class2"])
        for path, label in folder.samples:
            read = np.asarray(Image.open(path)).transpose(2, 0, 1)
            number = int(Path(path).stem)
            np.testing.assert_array_equal(read, first[number])
            assert label == (number if split == "train" else 8 - number) % 3
    assert ImageFolder(data="cifar10-5000").fingerprint() == "drawn"


def test_a_folder_that_is_not_what_its_name_says_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("RGKIT_DATA", str(tmp_path))
    with pytest.raises(
        DataError, match=r"imagenet/train: .*a folder of images has a folder a class"
    ):
        Folder("imagenet", "train", 16)
    assert ImageFolder().fingerprint() == "absent"
    for split in ("train", "val"):
        for name in ("cat", "dog"):
            (tmp_path / "imagenet" / split / name).mkdir(parents=True)
            Image.new("RGB", (20, 30)).save(tmp_path / "imagenet" / split / name / "1.JPEG")
    with pytest.raises(DataError, match="2 images are here, imagenet has 1,281,167"):
        Folder("imagenet", "train", 16)
    before = ImageFolder().fingerprint()
    two = dataclasses.replace(SOURCES["imagenet"], sizes=(2, 2))
    monkeypatch.setitem(SOURCES, "imagenet", two)
    image, label = Folder("imagenet", "val", 16)[1, -1]
    assert (image.shape, label) in [((3, 16, 16), 0), ((3, 16, 16), 1)]
    assert len(before) == 16


def test_what_is_measured_is_a_loop_over_the_images():
    net = build("resnet8(2)", seed=1).double()
    test = Folder("scenes", "val", 16)
    loss, first, five = evaluate_folder(net, test, test.samples, autocast=False)
    losses, ranks = [], []
    with torch.inference_mode():
        for number in range(len(test)):
            image, label = test[number, -1]
            logits = net(image[None].double())
            losses.append(cross_entropy(logits, torch.tensor([label])).item())
            ranks.append(int((logits[0] > logits[0, label]).sum()))
    assert loss.item() == pytest.approx(np.mean(losses), abs=1e-9)
    assert first.item() == pytest.approx(100 * np.mean(np.array(ranks) < 1))
    assert five.item() == pytest.approx(100 * np.mean(np.array(ranks) < 5))


def test_a_run_that_was_stopped_goes_on_as_if_it_had_not_been(resumed):
    whole = train(TINY, "cpu")
    assert resumed(TINY) == whole
    assert len(whole.epochs["test_top5"]) == 2


# No batch norm, which would see a share only; and noise, which every process must draw alike.
ALONE = TINY.replace(model="gc(2, 0.05, 0.001, base=\"plain_net(5, 4, 'none')\")", lr=0.01)


TOGETHER = """
import json, sys
from rgkit.runs.config import from_dict
from rgkit.runs.records import Store
from rgkit.train.execute import Pool

put = Store.put
Store.put = lambda self, record: print(json.dumps(record.epochs)) or put(self, record)
pool = Pool(Store(sys.argv[1]), "cpu", every=0.0)
finished = pool.run([from_dict(json.loads(sys.argv[2]))]).finished
sys.stdout.write(f"{len(finished)} finished\\n")  # at once: two processes share the line
"""


def test_two_processes_that_torchrun_starts_do_what_one_does(tmp_path):
    both = ALONE.replace(precision="float64", processes=2)
    script = tmp_path / "together.py"
    script.write_text(TOGETHER)
    words = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    words += [str(script), str(tmp_path), json.dumps(both.as_dict())]
    said = subprocess.run(words, capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    exact, *finished = sorted(said.stdout.splitlines(), key=len, reverse=True)
    assert finished == ["1 finished"] * 2
    assert said.stderr.count("[1/1]") == 1  # the first of them speaks and writes
    two = Store(tmp_path).get(both)
    assert two is not None
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == [script.name, f"{two.key}.json"]
    one = perform(ALONE.replace(precision="float64"), How("cpu"))
    assert one is not None
    measured = json.loads(exact)
    for name, values in one.epochs.items():
        np.testing.assert_allclose(measured[name], values, rtol=0, atol=1e-9, err_msg=name)


def test_what_several_processes_are_to_share_is_left_to_torchrun(tmp_path, monkeypatch, capsys):
    both = TINY.replace(processes=2)
    command = r"processes=2 given, and 1 here to train it; start them with\s+torchrun "
    command += r"--nproc-per-node 2 -m rgkit.cli run --plan .* -p processes=2"
    with pytest.raises(ConfigError, match=command):
        Pool(Store(tmp_path), "cpu").run([TINY, both])
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setenv("RGKIT_RESULTS", str(tmp_path))
    words = ["run", "--plan", "--profile", "smoke", "--only", "csgd-table3", "--device", "cpu"]
    assert cli.main([*words, "-p", "processes=2"]) == 0
    said = capsys.readouterr().out
    assert "0 runs: 0 were recorded, 0 trained now" in said
    assert re.search(r"\d+ more are left: " + command, said)
    assert cli.main([*words, "-p", "proceses=2"]) == 2
    assert "did you mean 'processes'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"processes": 0}, "processes=0 given; a whole number of 1 or more"),
        ({"size": 4}, "size=4 given; a whole number of 8 or more"),
        ({"validation": 5}, "validation=5 given; 0; none are held out here"),
        ({"augment": "flip"}, "augment='flip' given; did you mean 'crop\\+flip'"),
        ({"batch": 47, "processes": 2}, "batch=47 given; one whose last batch, here of 1, has two"),
        ({"data": "imagnet"}, "did you mean 'imagenet'"),
    ],
)
def test_a_wrong_setting_is_refused_with_the_right_one(settings, message):
    with pytest.raises(ConfigError, match=message):
        TINY.replace(**settings)


def test_its_key_covers_every_setting_and_is_not_that_of_a_classification():
    assert from_dict(TINY.as_dict()) == TINY
    keys = {TINY.key("f"), Classification(data="scenes", images=48).key("f")}
    others = {"size": 24, "processes": 2, "seed": 1, "data": "imagenet", "epochs": 3}
    keys |= {TINY.replace(**{name: value}).key("f") for name, value in others.items()}
    assert len(keys) == 2 + len(others)
    assert {f.name for f in dataclasses.fields(ImageFolder)} >= set(others)


def test_imagenets_resnet_has_its_published_size_and_can_be_branched_and_widened():
    net = build("large_resnet", 1000)
    assert sum(p.numel() for p in net.parameters()) == 11_689_512  # torchvision's ResNet-18
    assert net(torch.zeros(1, 3, 64, 64)).shape == (1, 1000)
    branched = arm_of("gc(2, 0.001)", ImageFolder())
    assert "large_resnet(64)" in branched.model
    assert arm_of("wider(4)", ImageFolder()).model == "large_resnet(128)"
