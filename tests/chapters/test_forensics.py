"""What a difference between paper and code is worth: paired changes, logged losses, rates."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from rgkit.chapters import forensics
from rgkit.chapters.library import labels_of
from rgkit.figures import plots
from rgkit.method.schedules import Discarded
from rgkit.runs.config import Classification, Segmentation
from rgkit.runs.grid import Cell, Grid
from rgkit.runs.records import Record, Store
from rgkit.runs.results import Results, collect

BASE = Classification(epochs=2, images=1_000)
NEVER = {"schedule": "discarded"}
SOURCE = {"commit": "x", "device": "x", "versions": {}, "seconds": 1.0, "date": "2026-01-01"}


def results_of(store: Store, made: dict[Classification, dict[str, list[float]]]) -> Results:
    """The results of runs whose epochs are given."""
    for config, epochs in made.items():
        key = config.key(config.fingerprint())
        store.put(Record(key, config, config.fingerprint(), "finished", epochs, SOURCE))
    return collect(Grid(tuple(Cell(labels_of(c), c) for c in made), "quick"), store)


@pytest.fixture
def results(tmp_path):
    """Poly and never decayed, plain and RG, two seeds; one seed more of plain training alone."""
    made = {}
    for seed in range(2):
        for schedule, plain, rg in (("poly", 80.0, 78.0), ("discarded", 75.0 + seed, 70.0 + seed)):
            for weight, final in (("constant", plain), ("uniform", rg)):
                config = BASE.replace(weight=weight, schedule=schedule, seed=seed)
                made[config] = {
                    "test_accuracy": [final + 1, final],
                    "train_loss": [2.0, 1.0 + seed],
                }
                made[config]["u_mean"] = [1.0, 1.0] if weight == "constant" else [0.5, 0.4]
    made[BASE.replace(seed=5)] = {"test_accuracy": [50.0, 50.0], "train_loss": [9.0, 9.0]}
    made[BASE.replace(seed=5)]["u_mean"] = [1.0, 1.0]
    return results_of(Store(tmp_path), made)


def test_a_change_is_paired_by_seed_in_each_arm_and_in_their_gap(results):
    table = forensics.swapped(results, BASE.replace(seed=3), NEVER)
    assert table["difference"].tolist() == [-4.5, -7.5, -3.0]
    assert table["pairs"].tolist() == [2, 2, 2]
    assert table.loc["gap", ["low", "high"]].tolist() == [-3.0, -3.0]  # both seeds agree
    assert table.loc["plain", "low"] < -4.5 < table.loc["plain", "high"]
    back = forensics.swapped(results, BASE.replace(**NEVER), {"schedule": "poly"})
    assert back["difference"].tolist() == [4.5, 7.5, 3.0]


def test_the_best_epoch_can_be_read_after_the_change(results):
    table = forensics.swapped(results, BASE, {}, after="best")
    assert table["difference"].tolist() == [
        pytest.approx(2 / 3),
        1.0,
        0.0,
    ]  # the third stands still


def test_what_is_not_recorded_is_nan_and_draws_nothing(results):
    table = forensics.swapped(results, BASE, {"momentum": 0.95})
    assert table["difference"].isna().all()
    assert table["pairs"].tolist() == [0, 0, 0]
    known = pd.concat({"y": forensics.swapped(results, BASE, NEVER), "x": table})
    (ax,) = plots.differences(known.drop("RG", level=1).dropna(), results, delta=0.3).axes
    assert [label.get_text() for label in ax.get_yticklabels()] == ["y: plain", "y: gap"]
    plt.close("all")


def test_a_change_in_another_task_is_read_by_its_own_measure(tmp_path):
    store, base, made = Store(tmp_path), Segmentation(data="scenes", epochs=1, size=16), {}
    for seed in range(2):
        for weight, end in (("constant", 30.0), ("uniform", 20.0 + seed), ("coin", 27.0)):
            made[base.replace(weight=weight, seed=seed)] = end
        made[base.replace(schedule="discarded", seed=seed)] = 33.0 - seed
    for config, end in made.items():
        key, print_of = config.key(config.fingerprint()), config.fingerprint()
        epochs = {"test_miou": [end]}
        store.put(Record(key, config, print_of, "finished", epochs, SOURCE))
    labelled = collect(Grid(tuple(Cell({"seed": c.seed}, c) for c in made), "quick"), store)
    table = forensics.swapped(labelled, base, {"schedule": "discarded"})
    assert table["pairs"].tolist() == [2, 0, 0]  # Random Gradient was not run there
    assert table.loc["plain", "difference"] == 2.5
    coin = forensics.between(labelled, base, "RG", "coin(0.5)")
    assert (coin["difference"], coin["pairs"]) == (-6.5, 2)


def test_the_logged_loss_is_the_true_one_times_the_mean_weight(results):
    losses = forensics.logged(results, BASE)
    assert len(losses) == 2 * 5
    plain, rg = (losses[losses["arm"] == arm] for arm in ("plain", "RG"))
    assert plain["weighted"].tolist() == plain["unweighted"].tolist()
    assert rg["weighted"].tolist() == [1.0, 0.4, 1.0, 0.8]
    table = forensics.lead(losses)
    assert table["difference"].round(9).tolist() == [0.0, -60.0]
    assert table["pairs"].tolist() == [2, 2]  # the seed that Random Gradient lacks is in no pair
    none = forensics.logged(results, BASE.replace(lr=0.7))
    assert forensics.lead(none)["pairs"].tolist() == [0, 0]


def test_the_rate_that_was_used_is_what_a_run_with_the_mistake_trains_at():
    table = forensics.rates(10, 0.1)
    assert (table["used"] == 0.1).all()
    assert table["meant"].is_monotonic_decreasing
    assert table["meant"].iloc[-1] == pytest.approx(0.1 * 0.1**0.9)
    config = Classification(schedule="discarded", epochs=10)
    assert config.schedule == str(Discarded().effective())
