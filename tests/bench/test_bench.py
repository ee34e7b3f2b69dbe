"""The bench measures what it says, on blocks too small to be a result; no test here is timed."""

from __future__ import annotations

import json

import pytest
import torch

from rgkit.bench import blocks, paper_style, pictures, suite
from rgkit.book import bench_page
from rgkit.data.augment import Augmenter, epoch_plan

TINY = "resnet8(2)"


@pytest.mark.parametrize(
    "block",
    [
        lambda: paper_style.paper_style(TINY, 1, "cpu"),
        lambda: blocks.ours(TINY, 1, "cpu"),
        lambda: blocks.ours(TINY, 1, "cpu", precision="float32", channels_last=False),
        lambda: blocks.plain(TINY, "cpu", "bfloat16"),
        lambda: pictures.plain("cpu", "float32"),
        lambda: blocks.in_streams(TINY, 1, 2, "cpu"),
        lambda: blocks.stacked(TINY, 1, 2, "cpu"),
    ],
    ids=["paper", "ours", "contiguous", "plain", "plain masks", "in turn", "stacked"],
)
def test_every_block_trains_and_returns_a_speed(block):
    assert block()() > 0


def test_processes_start_each_round_together():
    assert min(blocks.in_processes(TINY, 1, 2, "cpu", 2)) > 0


def test_the_paper_style_loop_and_ours_see_images_that_look_the_same():
    """Both crop, mirror and normalise: the mean of many images agrees."""
    theirs = paper_style._Images(200)
    shown, _ = paper_style.pixels(200)
    look = (paper_style.MEAN, paper_style.STD, paper_style.PADDING)
    ours = Augmenter(torch.from_numpy(shown), *look)
    plan = epoch_plan(200, 0, 0, "crop+flip", paper_style.PADDING, "cpu")
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


def test_both_loops_with_masks_take_their_steps():
    """On a tiny network: speeds are positive, and what the yardstick reads is what ours cuts."""
    small = "pspnet('resnet18', 4)"
    for block in (pictures.paper_style(1, "cpu", small), pictures.ours(1, "cpu", small)):
        assert block() > 0
    one, mask = pictures._Pairs(2)[1]
    images, masks = (torch.from_numpy(part) for part in pictures.pictures(2))
    look = Augmenter(images, *pictures.IMAGENET, 0).plain(torch.tensor([1]))[0]
    theirs = [(x, y) for x, y in ((one, mask), (one.flip(-1), mask.flip(-1)))]
    assert any(
        torch.allclose(x, look, atol=1e-5) and torch.equal(y, masks[1].long()) for x, y in theirs
    )


def test_a_ratio_is_a_geometric_mean_with_an_interval():
    middle, low, high = suite._bounds(suite._ratio([2.0, 8.0, 4.0], [1.0, 2.0, 1.0]))
    assert low < middle < high
    assert middle == pytest.approx((2 * 4 * 4) ** (1 / 3))


@pytest.fixture
def measured():
    """A measurement with made-up numbers, in the form that the suite writes."""
    speeds = {"paper": [10.0, 10.0], "alone": [20.0, 20.0], "together": [40.0, 40.0]}
    return {
        "quick": False,
        "cores": 2,
        "loading": [{"records": 100, "seconds": 0.1}],
        "throughput": [
            {"model": TINY, "jobs": 2, **speeds, "ratio_alone": [2.0, 1.9, 2.1],
             "ratio_together": [4.0, 3.9, 4.1], "runs_per_hour": 3.0, "share_of_matrix_rate": 0.5}
        ],
        "masked": [{"model": "tiny", "paper": [5.0], "alone": [15.0],
                    "ratio_alone": [3.0, 2.5, 3.5]}],
        "ways": [{"model": TINY, "way": "a process each", "jobs": 2, "images_per_s": [40.0]}],
        "choices": [{"model": TINY, "choice": "<float32>", "images_per_s": [20.0]}],
        "overhead": [{"model": TINY, "pairs": 4, "percent": [0.1, -0.2, 0.4]}],
        "source": {"device": "Abacus, one thread", "seconds": 60.0, "date": "2026-01-01",
                   "versions": {"torch": "9"}, "commit": "abc"},
    }  # fmt: skip


def test_the_page_shows_the_newest_measurement_of_each_device(tmp_path, measured):
    for number, cores in ((1, 2), (2, 3), (10, 4)):
        path = tmp_path / f"abacus.{number}.json"
        path.write_text(json.dumps(measured | {"cores": cores}))
    (tmp_path / "abacus.11.json").write_text(json.dumps(measured | {"quick": True, "cores": 9}))
    text = bench_page.page(tmp_path)
    assert "## Abacus, 4 cores" in text
    assert text.count("## Abacus") == 1
    assert "**4.0×** [3.9, 4.1]" in text
    assert "15; 5; **3.0×** [2.5, 3.5]" in text
    assert "&lt;float32&gt;" in text


def test_the_bench_page_is_in_the_book(built):
    text = (built.html / "book" / "bench.html").read_text()
    assert "Several runs at once" in text
    assert 'class="bars"' in text
