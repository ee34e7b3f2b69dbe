"""Protocols and laws as axes of a grid, and the figures that tell a law's mean from its chance."""

from __future__ import annotations

import pytest

from rgkit.figures import plots
from rgkit.runs.config import Classification, ConfigError, Segmentation, Translation
from rgkit.runs.grid import PROTOCOLS, Grid, cross, in_order
from rgkit.runs.records import Record, Store, fingerprint_of
from rgkit.runs.results import collect
from rgkit.train.loop import train

NOISIER = "half rate, twice decay, batch 96"
LAWS = ["plain", "constant 1/2", "constant(2)", "RG", "uniform(0, 2)", NOISIER]


def test_a_protocol_is_what_the_forensics_say():
    axes = {"protocol": list(PROTOCOLS["classification"]), "arm": ["plain"]}
    cells = cross(Classification(), axes)
    found = {c.labels["protocol"]: (c.config.schedule, c.config.weight_decay) for c in cells}
    assert found == {
        "code": ("poly(0.9, 'epoch')", 1e-4),
        "early code": ("constant", 1e-4),  # what its optimizer saw
        "paper": ("step(0.1, (0.5, 0.75))", 5e-4),
        "airbench": ("triangular(0.2, 0.23, 0.07)", 0.002),  # none of the paper's
    }


def test_segmentation_has_protocols_of_its_own_and_translation_none():
    cells = cross(Segmentation(), {"protocol": list(PROTOCOLS["segmentation"]), "arm": ["plain"]})
    found = {c.labels["protocol"]: (c.config.schedule, c.config.weight_decay) for c in cells}
    assert found == {"paper": ("poly(0.9, 'step')", 5e-4), "code": ("constant", 5e-4)}
    with pytest.raises(ConfigError, match="'early code' given; did you mean 'code'"):
        cross(Segmentation(), {"protocol": ["early code"]})
    with pytest.raises(ConfigError, match="translation has none: classification, segmentation do"):
        cross(Translation(), {"protocol": ["paper"]})


def test_an_arm_is_applied_after_the_protocol_and_no_axis_may_contradict_it():
    axes = {"protocol": ["paper"], "arm": ["half rate, twice decay"]}
    (cell,) = cross(Classification(weight_decay=0.5), axes)
    assert (cell.config.weight_decay, cell.config.lr) == (1e-3, 0.05)
    with pytest.raises(ConfigError, match="'protocol' and 'weight_decay' given"):
        cross(Classification(), axes | {"weight_decay": [1e-3]})


def test_an_unknown_protocol_is_refused_with_the_nearest_name():
    with pytest.raises(ConfigError, match=r"protocol='papr' given; did you mean 'paper'"):
        cross(Classification(), {"protocol": ["papr"]})


def test_variations_carry_the_protocol_that_they_have():
    base = {"protocol": ["paper"], "arm": ["plain"]}
    cells = cross(Classification(), base, vary=[{"momentum": [0.9]}, {"lr": [0.2]}])
    assert [c.labels["protocol"] for c in cells] == ["paper", "paper"]
    assert {c.config.schedule for c in cells} == {"step(0.1, (0.5, 0.75))"}


def test_runs_coincide_to_the_last_bit_until_a_late_law_sets_in():
    tiny = Classification(data="digits", images=64, batch=32, model="resnet8(2)", epochs=5, lr=0.05)
    laws = ["constant(1)", "late('uniform(0, 1)', 0.8)", "late('constant(0.1)', 0.8)"]
    plain, *others = (train(tiny.replace(weight=law), "cpu").epochs for law in laws)
    for epochs in others:
        for name, values in plain.items():
            if name != "u_std":
                assert epochs[name][:4] == values[:4], name
        assert epochs["weight_norm"][4] != plain["weight_norm"][4]
        assert epochs["lr"] == plain["lr"]


@pytest.fixture
def results(tmp_path):
    store, axes = (
        Store(tmp_path),
        {"momentum": [0.5], "lr": [0.1, 0.2], "arm": LAWS, "seed": [0, 1]},
    )
    grid = Grid(cross(Classification(data="digits"), axes), "quick", "", tuple(axes))
    source = {"commit": "c", "device": "d", "versions": {}, "seconds": 1.0, "date": "2026-01-01"}
    for n, cell in enumerate(grid):
        mark = fingerprint_of(cell.config)
        epochs = {"test_accuracy": [50.0, 60.0 + n]}
        record = Record(cell.config.key(mark), cell.config, mark, "finished", epochs, source)
        store.put(record)
    return collect(grid, store)


def test_every_law_stands_at_its_mean_and_the_line_joins_the_constants(results):
    part = Grid(tuple(c for c in results.grid if c.labels["lr"] == 0.1), "quick", "", ("arm",))
    runs = results.runs[results.runs["lr"] == 0.1]
    shown = type(results)(part, results.records, runs, results.epochs)
    (ax,) = plots.by_mean_weight(shown).axes
    means = {str(line.get_label()): line.get_xdata()[0] for line in ax.lines if line.get_ms() == 9}
    assert means == dict(zip(LAWS, [1.0, 0.5, 2.0, 0.5, 1.0, 0.5], strict=True))
    (line,) = [line for line in ax.lines if line.get_color() == "#4c4c4c" and line.get_lw() == 1]
    constants = runs[runs["arm"].isin(LAWS[:3])].groupby("arm")["final"].mean()
    assert list(line.get_xdata()) == [0.5, 1.0, 2.0]
    assert list(line.get_ydata()) == [
        constants[a] for a in ("constant 1/2", "plain", "constant(2)")
    ]


def test_nothing_recorded_is_drawn_as_that(tmp_path):
    axes = {"momentum": [0.5], "arm": LAWS}
    grid = Grid(cross(Classification(data="digits"), axes), "quick", "", tuple(axes))
    figure = plots.by_mean_weight(collect(grid, Store(tmp_path)))
    assert figure.axes[0].texts[0].get_text() == "not measured yet"


def test_a_panel_may_stand_for_several_axes(results):
    figure = plots.curves(results, panels=["lr", "arm"])
    titles = [ax.get_title() for ax in figure.axes]
    assert titles[:2] == ["lr 0.1, arm plain", "lr 0.1, arm constant 1/2"]
    assert len(titles) == 2 * len(LAWS)


def test_the_plan_takes_three_seeds_of_everything_before_more_of_anything():
    urgent, later = (
        Grid(cross(Classification(lr=lr), {"arm": ["plain", "RG"], "seed": range(5)}, priority))
        for lr, priority in ((0.1, 1), (0.2, 2))
    )
    tuning = Grid(cross(Classification(lr=0.4), {"arm": ["plain"], "seed": [100]}, 3))
    order = [(c.lr, c.seed) for c in in_order([later, tuning, urgent])]
    assert order[:6] == [(0.1, seed) for seed in (0, 0, 1, 1, 2, 2)]
    assert order[6:12] == [(0.2, seed) for seed in (0, 0, 1, 1, 2, 2)]
    assert order[12] == (0.4, 100)  # its first seed, whatever its number
    assert order[13:] == [(lr, seed) for lr in (0.1, 0.2) for seed in (3, 3, 4, 4)]
    order = [(c.lr, c.seed) for c in in_order([urgent + tuning])]  # one grid, as a notebook joins
    assert order[6:] == [(0.4, 100), *((0.1, seed) for seed in (3, 3, 4, 4))]
