"""What the best epoch adds: theory against simulated epochs, pairs, clusters, and the library."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest

from rgkit.book.report import describe
from rgkit.chapters import selection
from rgkit.chapters.library import labels_of, recorded
from rgkit.runs.config import Classification, Segmentation, Trained
from rgkit.runs.grid import Cell, Grid
from rgkit.runs.records import Record, Store
from rgkit.runs.results import Results
from rgkit.stats.differences import difference
from rgkit.train.execute import run


def recording(config: Trained, accuracy: list[float], **more: list[float]) -> Record:
    """A record of a run that ended, with these test accuracies."""
    key = config.key(config.fingerprint())
    source = {"commit": "x", "device": "x", "versions": {}, "seconds": 1.0, "date": "2026-01-01"}
    epochs = {config.measure: accuracy, "lr": [0.1] * len(accuracy)} | more
    return Record(key, config, config.fingerprint(), "finished", epochs, source)


def results_of(store: Store, configs: list[Classification]) -> Results:
    cells = tuple(Cell(labels_of(config), config) for config in configs)
    return run(Grid(cells, "quick", train=False), store=store, show=False)


def scattered(
    store: Store, noises: dict[str, float], slope: float, seeds: int, epochs: int = 30
) -> list[Classification]:
    """Runs whose epochs scatter independently by the noise of their arm about a line."""
    dice, configs = np.random.default_rng(3), []
    for weight, sigma in noises.items():
        for seed in range(seeds):
            config = Classification(weight=weight, seed=seed, epochs=epochs, images=1_000)
            values = 60 + slope * np.arange(epochs) + sigma * dice.standard_normal(epochs)
            values[: epochs // 2] = 40.0  # the best epoch is a late one
            store.put(recording(config, values.tolist()))
            configs.append(config)
    return configs


@pytest.mark.parametrize(("sigma", "epochs", "slope"), [(1, 4, 0), (2, 10, 0.3), (1, 10, -0.5)])
def test_the_best_epoch_lies_where_drawing_epochs_puts_it(sigma, epochs, slope):
    dice = np.random.default_rng(1).standard_normal((100_000, epochs))
    drawn = sigma * dice + slope * np.arange(epochs)
    slow = (drawn.max(axis=1) - drawn[:, -1]).mean()
    assert selection.expected_best(sigma, epochs, slope) == pytest.approx(slow, abs=0.02)


def test_without_noise_only_a_fall_leaves_anything_to_gain():
    assert selection.expected_best(0.0, 5, 1.0) == 0.0
    assert selection.expected_best(0.0, 5, -1.0) == 4.0
    assert math.isnan(selection.expected_best(math.nan, 5))


def test_jumps_find_noise_and_trend_and_are_not_fooled_by_a_rise():
    dice = np.random.default_rng(2).standard_normal(20_000)
    sigma, slope = selection.jumps(0.7 * np.arange(dice.size) + 2 * dice)
    assert sigma == pytest.approx(2, rel=0.02)
    assert slope == pytest.approx(0.7, abs=0.01)
    assert selection.jumps([1.0, 2.0, 3.0])[0] == 0.0
    assert math.isnan(selection.jumps([1.0, 2.0])[0])


def test_the_noise_of_the_others_leaves_a_run_out(tmp_path):
    store = Store(tmp_path)
    configs = scattered(store, {"constant(1)": 1.0, "uniform(0, 1)": 3.0}, 0.2, seeds=4, epochs=12)
    runs = selection.noise(results_of(store, configs))
    for _, row in runs.iterrows():  # slowly, from the definition
        mine = runs[(runs["arm"] == row["arm"]) & (runs["seed"] != row["seed"])]
        assert row["others"] == pytest.approx(math.sqrt((mine["own"] ** 2).mean()))
        values = store.get(next(c for c in configs if labels_of(c)["arm"] == row["arm"]
                                and c.seed == row["seed"])).epochs["test_accuracy"]  # fmt: skip
        assert row["gain"] == pytest.approx(max(values) - values[-1])
        assert row["late"] == pytest.approx(np.mean(values[8:]))
        assert row["foretold"] == pytest.approx(selection.expected_best(row["others"], 4))
    one = selection.noise(results_of(store, configs[:1]))
    assert one["others"].isna().all()
    assert one["foretold"].isna().all()


def test_simulated_runs_gain_as_the_theory_says_and_the_noisier_arm_gains_more(tmp_path):
    store = Store(tmp_path)
    noises = {"constant(1)": 1.0, "uniform(0, 1)": 3.0, "constant(0.5)": 1.0}
    configs = scattered(store, noises, slope=0.0, seeds=80)
    runs = selection.noise(results_of(store, configs), part=0.5)
    table = selection.pairs(runs)
    assert set(table["comparison"]) == {"RG − plain", "constant 1/2 − plain", "RG − constant 1/2"}
    known = table[table["comparison"] == "RG − plain"]["favour"]
    wanted = selection.expected_best(3.0, 15) - selection.expected_best(1.0, 15)
    low, high = difference(known.to_numpy()).interval(0.99)
    assert low < wanted < high
    assert low > 0
    for arm, sigma in (("plain", 1.0), ("RG", 3.0)):
        gain = runs.loc[runs["arm"] == arm, "gain"].mean()
        assert gain == pytest.approx(selection.expected_best(sigma, 15), rel=0.2)


def test_pairs_need_both_arms_plain_training_and_enough_seeds(tmp_path):
    store = Store(tmp_path)
    configs = scattered(store, {"constant(1)": 1.0, "uniform(0, 1)": 1.0}, 0.1, seeds=3)
    runs = selection.noise(results_of(store, configs))
    assert len(selection.pairs(runs)) == 3
    assert selection.pairs(runs, least=4).empty
    assert selection.pairs(runs[runs["arm"] == "RG"]).empty
    empty = selection.pairs(runs[runs["seed"] > 9])
    assert math.isnan(selection.intervals(empty, "favour")["settings"].mean)
    assert selection.verdicts(empty).empty
    results = results_of(store, configs)
    (ax,) = selection.added(runs, results).axes
    assert ax.get_legend_handles_labels()[1] == ["plain", "RG"]


def test_luck_that_a_seed_shares_between_settings_widens_the_interval_over_seeds():
    dice = np.random.default_rng(5)
    luck = dict(enumerate(dice.standard_normal(3)))
    rows = [
        {"setting": f"s{s}", "seed": k, "gain": luck[k] + 0.01 * dice.standard_normal()}
        for s in range(20) for k in range(3)
    ]  # fmt: skip
    table = pd.DataFrame([*rows, {"setting": "s0", "seed": 9, "gain": 50.0}])
    found = selection.intervals(table[table["seed"] < 9], "gain")
    assert found["settings"].pairs == 20
    assert found["seeds"].pairs == 3
    assert found["seeds"].standard_error > 20 * found["settings"].standard_error
    assert selection.widest(found) is found["seeds"]
    # A seed that one setting alone has is no cluster of all of them.
    assert selection.intervals(table, "gain")["seeds"] == found["seeds"]


def test_another_epoch_can_turn_a_sign_and_change_a_verdict():
    gap = pd.DataFrame({"seed": range(3), "final": [-2.0, -2.1, -1.9], "best": [1.0, 1.1, 0.9]})
    gap = gap.assign(setting="x", rate="decayed", comparison="a − b")
    same = gap.assign(comparison="c − b", best=gap["final"])
    table = selection.verdicts(pd.concat([gap, same])).set_index("comparison")
    assert table.loc["a − b", ["by final", "by best"]].tolist() == ["contradicted", "supported"]
    assert table["turned"].tolist() == table["changed"].tolist() == [True, False]


def test_an_epoch_chosen_on_other_images_is_judged_on_the_test_set(tmp_path):
    store, config = Store(tmp_path), Classification(epochs=3, images=1_000, validation=5_000)
    store.put(recording(config, [50.0, 60.0, 55.0], validation_accuracy=[70.0, 65.0, 60.0]))
    plain = config.replace(validation=0)
    store.put(recording(plain, [50.0, 60.0, 55.0]))
    table = selection.held_out(results_of(store, [config, plain]))
    assert table[["test", "validation"]].to_numpy().tolist() == [[5.0, -5.0]]
    assert selection.held_out(results_of(store, [plain])).empty


# --- the library ----------------------------------------------------------------------------


def test_the_library_holds_what_is_recorded_of_a_data_set_and_up_to_date(tmp_path):
    store = Store(tmp_path)
    plain = Classification(images=1_000, epochs=5, model="resnet8(16)")
    chance = plain.replace(weight="uniform")
    for config in (plain, chance, plain.replace(seed=1), Classification(data="digits")):
        store.put(recording(config, [20.0, 30.0]))
    old = dataclasses.replace(recording(plain.replace(seed=2), [20.0]), numerics=0)
    (tmp_path / "classification" / f"{old.key}.json").write_text(
        pd.Series(old.as_dict()).to_json(), encoding="utf-8"
    )
    grid = recorded("best", store)
    assert {cell.config for cell in grid} == {plain, chance, plain.replace(seed=1)}
    assert (grid.profile, grid.train) == ("quick", False)
    assert len({cell.labels["setting"] for cell in grid}) == 1
    assert len(run(grid, store=store, show=False).runs) == 3
    assert "2 epochs" not in describe(grid)
    short = Classification(epochs=30)
    store.put(recording(short, [20.0]))
    mixed = recorded("paper", store)
    assert mixed.profile == "quick"  # the smallest of what it holds
    assert "epochs, batch" not in describe(mixed)  # they are of several lengths


def test_without_a_comparison_the_library_is_a_smoke_test(tmp_path):
    store = Store(tmp_path)
    store.put(recording(Classification(), [20.0]))
    grid = recorded("best", store)
    assert (grid.profile, bool(grid.note)) == ("smoke", True)
    assert {cell.labels["rate"] for cell in grid} == {"never decayed", "decayed"}
    none = recorded("short", store)  # a plan for real runs has no toys in it
    assert (len(none), none.profile) == (0, "short")
    with pytest.raises(ValueError, match="profile=smoke trains"):
        selection.noise(run(none, store=store, show=False))
    with pytest.raises(ValueError, match="profile='bset' given; did you mean 'best'"):
        recorded("bset", store)


def test_settings_tell_runs_apart_by_everything_but_arm_and_seed():
    one = Classification(momentum=0.9)
    assert labels_of(one)["setting"] == labels_of(one.replace(weight="coin", seed=4))["setting"]
    others = [one.replace(**change) for change in ({"lr": 0.2}, {"validation": 9}, {"batch": 96})]
    assert len({labels_of(config)["setting"] for config in [one, *others]}) == 4


@pytest.mark.parametrize(
    ("schedule", "rate"),
    [
        ("formula('u')", "never decayed"),
        ("formula('0.667 * (u < 0.75)')", "never decayed"),
        ("formula('u * (1 - t)')", "decayed"),
        ("like('triangle(10)')", "never decayed"),
        ("step", "decayed"),
        ("like('late_drop')", "decayed"),
    ],
)
def test_a_rate_that_only_jumps_about_is_never_decayed(schedule, rate):
    configs = [Classification(schedule=schedule, epochs=n, seed=n) for n in (8, 30, 100)]
    assert {labels_of(config)["rate"] for config in configs} == {rate}


def test_the_library_holds_one_task_at_a_time(tmp_path):
    store = Store(tmp_path)
    made = [Segmentation(data="camvid", weight=law) for law in ("constant(1)", "uniform")]
    for config in (Classification(), *made):
        store.put(recording(config, [1.0]))
    grid = recorded("quick", store, data="camvid", task="segmentation")
    assert {cell.config for cell in grid} == set(made)
    toys = recorded("smoke", store, task="segmentation")
    assert {cell.config.task for cell in toys} == {"segmentation"}
    with pytest.raises(ValueError, match="task='segmentaton' given; did you mean 'segmentation'"):
        recorded("quick", store, task="segmentaton")
