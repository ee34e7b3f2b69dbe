"""The bench measures what it says, on blocks too small to be a result; no test here is timed."""

from __future__ import annotations

import json

import pytest
import torch

from rgkit.bench import blocks, suite
from rgkit.bench.blocks import PADDING, OneByOne, pictures
from rgkit.book import scorecard
from rgkit.data.augment import Augmenter, epoch_plan
from rgkit.data.source import IMAGENET
from rgkit.runs.config import Classification

TINY = Classification(model="resnet8(2)", batch=16)


@pytest.mark.parametrize(
    "block",
    [
        lambda: blocks.paper_style(TINY, 1, "cpu"),
        lambda: blocks.ours(TINY, 1, "cpu"),
        lambda: blocks.ours(TINY, 1, "cpu", "float32"),
        lambda: blocks.ours(TINY, 1, "cpu", "bfloat16"),
    ],
    ids=["paper", "ours", "float32", "bfloat16"],
)
def test_every_block_trains_and_returns_a_speed(block):
    assert block()() > 0


def test_an_epoch_is_plain_training_or_random_gradient():
    epoch = blocks.training(TINY, 2, "cpu", kind="plain")
    assert float(epoch(None)) > float(epoch(0.5)) > 0, "it does not learn"


def test_processes_start_each_round_together():
    speeds = blocks.in_processes(TINY, 1, 2, "cpu", 2)
    assert len(speeds) == 2
    assert min(speeds) > 0


def test_the_paper_style_loop_and_ours_see_images_that_look_the_same():
    """Both crop, mirror and normalise: the mean of many images agrees."""
    theirs = OneByOne(200)
    shown, _ = pictures(200)
    ours = Augmenter(torch.from_numpy(shown), *IMAGENET, PADDING)
    plan = epoch_plan(200, 0, 0, "crop+flip", PADDING, "cpu")
    a = torch.stack([theirs[n][0] for n in range(200)])
    b = ours.batch(*plan)
    assert a.shape == b.shape
    assert abs(float(a.mean() - b.mean())) < 0.05
    assert abs(float(a.std() - b.std())) < 0.05


def test_blocks_are_interleaved():
    order: list[str] = []

    def block(name):
        return lambda: float(order.append(name) is None)

    found = blocks.interleaved({"a": block("a"), "b": block("b")}, 3)
    assert order == ["a", "b", "b", "a", "a", "b"]
    assert found == {"a": [1.0] * 3, "b": [1.0] * 3}


def test_a_ratio_is_a_geometric_mean_with_an_interval():
    middle, low, high = blocks.ratio([2.0, 8.0, 4.0], [1.0, 2.0, 1.0])
    assert low < middle < high
    assert middle == pytest.approx((2 * 4 * 4) ** (1 / 3))


def test_the_suite_writes_what_the_page_reads_and_replaces_nothing(tmp_path, monkeypatch):
    """Every section but the book, on blocks that make their speeds up."""
    speeds = iter(range(10, 10**6))
    for name in ("paper_style", "ours", "training", "timed"):
        monkeypatch.setattr(blocks, name, lambda *a, **k: lambda: float(next(speeds)))
    monkeypatch.setattr(blocks, "in_processes", lambda *a: [float(next(speeds))] * a[-1])
    monkeypatch.setattr(blocks, "matrix_rate", lambda *a: 1e9)
    monkeypatch.setattr(suite, "loading", lambda: [{"records": 100, "seconds": 0.1}])
    monkeypatch.setattr(suite.shutil, "which", lambda *a, **k: None)
    path = suite.run("cpu", quick=True, folder=tmp_path)
    found = json.loads(path.read_text())
    assert found["quick"]
    assert suite.run("cpu", quick=True, folder=tmp_path) != path
    path.write_text(json.dumps(found | {"quick": False}))
    text = scorecard.bench(tmp_path)
    assert "time of the choice ÷ the faster" in text
    assert "Random Gradient's cost per step" in text


@pytest.fixture
def measured():
    """A measurement with made-up numbers, in the form that the suite writes."""
    speeds = {"paper": [10.0, 10.0], "alone": [20.0, 20.0], "together": [40.0, 40.0]}
    return {
        "quick": False,
        "cores": 2,
        "loading": [{"records": 100, "seconds": 0.1}],
        "throughput": [
            {"model": "tiny", "jobs": 2, **speeds, "ratio_alone": [2.0, 1.9, 2.1],
             "ratio_together": [4.0, 3.9, 4.1], "runs_per_hour": 3.0, "share_of_matrix_rate": 0.5}
        ],
        "overhead": [{"model": "tiny", "pairs": 4, "percent": [0.1, -0.2, 0.4]}],
        "source": {"device": "Abacus, one thread", "seconds": 60.0, "date": "2026-01-01",
                   "versions": {"torch": "9"}, "commit": "abc"},
    }  # fmt: skip


def test_the_page_shows_the_newest_measurement_of_each_device(tmp_path, measured):
    for number, cores in ((1, 2), (2, 3), (10, 4)):
        path = tmp_path / f"abacus.{number}.json"
        path.write_text(json.dumps(measured | {"cores": cores}))
    (tmp_path / "abacus.11.json").write_text(json.dumps(measured | {"quick": True, "cores": 9}))
    text = scorecard.bench(tmp_path)
    assert "## Abacus, 4 cores" in text
    assert text.count("## Abacus") == 1
    assert "**4.0×** [3.9, 4.1]" in text


def test_the_bench_page_is_in_the_book(built):
    text = (built.html / "book" / "bench.html").read_text()
    assert "one run ÷ paper style" in text
