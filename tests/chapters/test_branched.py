"""The page of CSGD's Table 2: which runs it asks for, and what it draws of them."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import pandas as pd
import pytest

mpl.use("agg")

from rgkit.book.notebook import UsageError, check_parameters, grid
from rgkit.book.report import SOURCE_MIME, hide_unmeasured
from rgkit.chapters import branched, calibration
from rgkit.runs import profiles
from rgkit.runs.config import ConfigError
from rgkit.runs.grid import Grid
from rgkit.runs.results import Results

PAGE = Path(__file__).parents[2] / "notebooks" / "calibrated-sgd" / "csgd-table2.ipynb"
SMALL = {"smoke": ["resnet8(2)", "resnet8(3)"], "quick": ["resnet8(4)", "resnet8(6)"]}
SMALL |= {"short": ["resnet8(8)", "resnet8(9)"], "paper": ["wrn(40, 4)", "wrn(28, 4)"]}
PARTS = [branched.arms(2, 0.001), branched.arms(3, 0.001)]


def test_at_paper_the_page_trains_the_printed_networks_for_64k_steps():
    cells = grid(PAGE, {"profile": "paper", "seeds": 2, "data": ["cifar10", "cifar100"]})
    plain = {cell.labels["model"] for cell in cells}
    assert plain == {"wrn(40, 4)", "wrn(28, 4)"}
    assert "wrn(28, 10)" in {cell.config.model for cell in cells}
    for config in (cell.config for cell in cells):
        assert abs(config.steps - 64_000) < 352  # as near as whole epochs come
        assert (config.trained_on, config.validation, config.batch) == (45_000, 5_000, 128)
        assert (config.momentum, config.weight_decay) == (0.9, 1e-4)
        assert config.schedule.startswith("step(0.1, (0.5, 0.75)")
    by_data = {
        name: [c for c in cells if c.config.data == name] for name in ("cifar10", "cifar100")
    }
    assert len(by_data["cifar10"]) == len(by_data["cifar100"]) == len(cells) // 2
    assert len({c.config.key("x") for c in cells}) == len(cells)


def test_every_profile_has_its_networks_and_embedded_data_never_the_ones_asked_for(monkeypatch):
    monkeypatch.setenv("RGKIT_DATA", "/nowhere")
    smoke = grid(PAGE, {"profile": "smoke", "data": ["cifar100"]})
    assert {cell.config.data for cell in smoke} == {"digits"}
    vary = branched.turns(SMALL, PARTS, ["cifar100"])
    found = profiles.classification("quick", vary=vary, lr=[0.1])
    assert found.profile == "embedded"
    assert {cell.config.data for cell in found} == {"digits"}
    assert {cell.labels["model"] for cell in found} == {"resnet8(4)", "resnet8(6)"}
    assert {c.config.data for c in profiles.classification("short", vary=vary)} == {"cifar100"}
    assert found.axes == ("lr", "model", "arm", "data", "seed")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("rate=0", "rate=0.* given; a positive number"),
        ("branches=[2]", "given at smoke; 1 different ones, for as many numbers of branches"),
        ("paper=['wrn(40, 4)', 'wrn(40, 4)']", "given at paper; 2 different ones"),
        ("data=['cifar1000']", "data='cifar1000' given; did you mean 'cifar100'"),
        ("largest=widder(6)", "did you mean 'wider'"),
        ("seeds=1", "it takes two or more"),
    ],
)
def test_wrong_parameters_are_refused_before_a_kernel_starts(given, words):
    name, value = given.split("=")
    with pytest.raises(UsageError, match=words):
        check_parameters(PAGE, {name: value, "profile": "short"})


def test_vary_by_profile_wants_every_profile():
    with pytest.raises(ConfigError, match=r"vary=\['smoke'\] given by profile; give smoke, quick"):
        profiles.classification("smoke", vary={"smoke": [{"lr": [0.1]}]})


def test_the_line_of_the_figure_joins_plain_networks_and_no_others():
    cells = profiles.classification(
        "smoke", vary=branched.turns(SMALL, PARTS, ["digits"]), seed=[0], lr=[0.1]
    )
    costs = branched.by_part(calibration.costs(cells).reset_index(), PARTS)
    costs = costs.set_index(["model", "arm"])
    rows = [dict(cell.labels) | {"final": 50.0 + place} for place, cell in enumerate(cells)]
    own = branched.by_part(pd.DataFrame(rows), PARTS)
    results = Results(Grid((), "quick"), (), own, own)
    figure = calibration.error_by_cost(own, costs, results, "model")
    assert [ax.get_title() for ax in figure.axes] == ["resnet8(2)", "resnet8(3)"]
    for ax, model in zip(figure.axes, ("resnet8(2)", "resnet8(3)"), strict=True):
        (line,) = (
            line for line in ax.lines if line.get_color() == "#4c4c4c" and line.get_lw() == 1
        )
        wanted = [costs["macs"][model, arm] / 1e6 for arm in ("plain", "wider")]
        assert list(line.get_xdata()) == pytest.approx(wanted)
        names = [text.get_text() for text in figure.legends[0].get_texts()]
        assert names == ["plain", "branches", "R frozen", "wider", "copies"]


def test_what_a_paper_prints_is_shown_on_a_page_that_is_not_measured():
    prose = "{glue:text}`printed_error:.2f` % are printed, {glue:text}`error:.2f` % measured."
    about = {"scrapbook": {"name": "printed_error", "mime_prefix": "p/"}}
    outputs = [
        {"data": {"p/text/plain": "4.0"}, "metadata": about},
        {"data": {SOURCE_MIME: {"profile": "smoke"}}},
    ]
    page = {
        "cells": [
            {"cell_type": "markdown", "source": prose},
            {"outputs": outputs, "cell_type": "code"},
        ]
    }
    shown = hide_unmeasured(page)["cells"][0]["source"]
    assert shown == "4.00 % are printed, *not measured* % measured."
