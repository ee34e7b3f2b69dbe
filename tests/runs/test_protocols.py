"""Protocols and laws as axes of a grid."""

from __future__ import annotations

import pytest

from rgkit.runs.config import Classification, ConfigError, Segmentation, Translation
from rgkit.runs.grid import PROTOCOLS, Grid, cross, in_order
from rgkit.train.loop import train


def test_a_protocol_is_what_the_forensics_say():
    axes = {"protocol": list(PROTOCOLS["classification"]), "arm": ["plain"]}
    cells = cross(Classification(), axes)
    found = {c.labels["protocol"]: (c.config.schedule, c.config.weight_decay) for c in cells}
    assert found == {
        "code": ("poly(0.9, 'epoch')", 1e-4),
        "early code": ("constant", 1e-4),  # what its optimizer saw
        "paper": ("step(0.1, (0.5, 0.75))", 5e-4),
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
