"""Statistics against SciPy, closed forms and simulation."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats

from rgkit.runs.config import Classification
from rgkit.runs.grid import Grid, cross
from rgkit.runs.records import Record, Store, fingerprint_of
from rgkit.runs.results import Results, collect
from rgkit.stats import differences, tuning


def test_interval_is_the_paired_t_test():
    d = np.array([0.3, -0.1, 0.4, 0.2, 0.5])
    ours = differences.difference(d)
    reference = scipy_stats.ttest_1samp(d, 0).confidence_interval(0.95)
    np.testing.assert_allclose(ours.interval(), reference, rtol=1e-12)


def test_pooled_cells_against_welch():
    a, b = np.array([1.0, 2.0, 4.0, 3.5]), np.array([0.5, 0.1, 0.9])
    pooled = differences.pool([differences.difference(a), differences.difference(-b)])
    reference = scipy_stats.ttest_ind(a, b, equal_var=False).confidence_interval(0.95)
    # The mean of the two cells is half the difference of the two means.
    np.testing.assert_allclose(pooled.interval(), np.array(reference) / 2, rtol=1e-12)
    assert pooled.pairs == 7


def test_one_pair_allows_no_interval():
    alone = differences.difference([0.4])
    assert alone.interval() == (-math.inf, math.inf)
    assert alone.detectable == math.inf
    assert alone.verdict(10.0) == differences.INCONCLUSIVE
    assert differences.pool([alone, differences.difference([1.0, 2.0])]).interval()[1] == math.inf


def test_intervals_cover_and_detectable_effects_are_found_at_the_promised_rate():
    rng = np.random.default_rng(0)
    n, trials = 5, 4000
    noise = rng.standard_normal((trials, n))
    # With one spread for all trials the true detectable effect is the ratio times sigma / sqrt(n).
    effect = differences.detectable_ratio(n - 1) / math.sqrt(n)
    found = (differences.difference(row + effect).interval() for row in noise)
    low, high = zip(*found, strict=True)
    covered = np.mean((np.array(low) < effect) & (effect < np.array(high)))
    found = np.mean((np.array(low) > 0) | (np.array(high) < 0))
    assert covered == pytest.approx(0.95, abs=0.012)
    assert found == pytest.approx(0.80, abs=0.02)


def test_equivalence_is_two_one_sided_tests():
    d = np.array([0.05, -0.02, 0.1, 0.0, 0.04])
    ours, delta = differences.difference(d), 0.3
    p = max(
        scipy_stats.ttest_1samp(d, -delta, alternative="greater").pvalue,
        scipy_stats.ttest_1samp(d, delta, alternative="less").pvalue,
    )
    assert ours.p_equivalent(delta) == pytest.approx(p)
    low, high = ours.interval(0.9)
    assert (p < 0.05) == (-delta < low and high < delta)
    assert ours.verdict(delta) == differences.EQUIVALENT


def test_verdicts_in_their_order():
    assert differences.judge(0.1, 0.2) == differences.SUPPORTED
    assert differences.judge(-0.2, -0.1) == differences.CONTRADICTED
    assert differences.judge(-0.2, 0.1) == differences.INCONCLUSIVE
    assert differences.judge(0.1, 0.2, delta=0.3) == differences.EQUIVALENT
    assert differences.judge(-0.4, 0.2, 0.3, inner=(-0.25, 0.15)) == differences.EQUIVALENT


def frame() -> pd.DataFrame:
    rng = np.random.default_rng(3)
    rows = []
    for momentum in (0.5, 0.9):
        for seed in range(4):
            shared = rng.normal(0, 5)  # seeds differ a lot; pairing takes it out
            for arm, gain in (("plain", 0.0), ("RG", 1.0)):
                final = 90 + shared + gain + rng.normal(0, 0.1)
                rows.append({"momentum": momentum, "seed": seed, "arm": arm, "final": final})
    return pd.DataFrame(rows)


def test_paired_finds_what_pairing_leaves():
    table = differences.paired(frame(), "RG", "plain", by=["momentum"])
    assert list(table.index) == ["0.5", "0.9", "all"]
    assert table.loc["all", "difference"] == pytest.approx(1.0, abs=0.15)
    assert table.loc["all", "low"] > 0.7
    assert table.loc["all", "pairs"] == 8
    assert (table["verdict"] == differences.SUPPORTED).all()
    swapped = differences.paired(
        frame().sample(frac=1, random_state=0), "plain", "RG", by=["momentum"]
    )
    np.testing.assert_allclose(swapped["difference"], -table["difference"])
    assert swapped.loc["all", "verdict"] == differences.CONTRADICTED


def test_unpaired_seeds_are_left_out_and_unknown_arms_named():
    runs = frame()
    runs = runs[~((runs["arm"] == "RG") & (runs["seed"] == 3))]
    assert differences.paired(runs, "RG", "plain", by=["momentum"]).loc["all", "pairs"] == 6
    with pytest.raises(ValueError, match="arm 'RGB' is not in the results; there are: RG, plain"):
        differences.paired(runs, "RGB", "plain")


def test_two_axes_make_cells():
    both = pd.concat([frame().assign(schedule=s) for s in ("poly", "discarded")])
    table = differences.paired(both, "RG", "plain", by=["schedule", "momentum"])
    assert list(table.index)[:2] == ["discarded · 0.5", "discarded · 0.9"]


def test_runs_needed_as_printed_in_the_predictions():
    assert [differences.runs_needed(s, 0.3) for s in (0.15, 0.20)] == [4, 7]
    assert [differences.runs_needed(s, 0.2) for s in (0.15, 0.20)] == [9, 16]
    assert [differences.runs_needed(s, 0.1) for s in (0.15, 0.20)] == [36, 63]


AXES = {"arm": ["plain", "RG"], "seed": [0, 1]}
RIVALS = [("RG", "plain"), ("RG", "half")]


def recorded(store: Store, curves: dict[tuple[str, int], tuple[list[float], str]]) -> Results:
    """Made-up records of runs of three epochs; an arm and seed that has none is missing."""
    grid = Grid(cross(Classification(data="digits", epochs=3), AXES), "quick", "", tuple(AXES))
    source = {"commit": "c", "device": "d", "versions": {}, "seconds": 1.0, "date": "2026-01-01"}
    for cell in grid:
        if (cell.labels["arm"], cell.labels["seed"]) in curves:
            values, status = curves[cell.labels["arm"], cell.labels["seed"]]
            mark = fingerprint_of(cell.config)
            epochs = {"test_accuracy": values}
            store.put(Record(cell.config.key(mark), cell.config, mark, status, epochs, source))
    return collect(grid, store)


def test_a_target_that_is_never_reached_is_infinite_and_late_but_not_missing(tmp_path):
    """A run that diverges in its first epoch has no accuracy at all and is late all the same."""
    results = recorded(
        Store(tmp_path),
        {
            ("plain", 0): ([20.0, 45.0, 60.0], "finished"),
            ("RG", 0): ([10.0, 30.0, 35.0], "finished"),
            ("RG", 1): ([], "diverged"),
        },
    )
    table = tuning.epochs_to(results, [40, 60]).set_index(["arm", "seed", "target"])
    assert len(table) == 3 * 2  # the run that is missing has no row
    assert table.loc[("plain", 0, 40), "reached"] == 2
    assert table.loc[("plain", 0, 60), "restricted"] == 3
    for seed in (0, 1):
        assert table.loc[("RG", seed, 40), "reached"] == math.inf
        assert table.loc[("RG", seed, 40), "restricted"] == 4
        assert table.loc[("RG", seed, 40), "images"] == 4 * results.records[0].config.trained_on


def test_a_diverged_run_ends_at_chance_and_its_best_epoch_is_what_it_was(tmp_path):
    results = recorded(
        Store(tmp_path),
        {
            ("plain", 0): ([20.0, 70.0, 60.0], "finished"),
            ("RG", 0): ([10.0, 60.0], "diverged"),
        },
    )
    runs = results.runs.set_index(["arm", "seed"])
    assert runs.loc[("plain", 0), ["final", "best"]].tolist() == [60, 70]
    assert runs.loc[("RG", 0), ["final", "best"]].tolist() == [10, 60]
    assert runs.loc[("RG", 1), "status"] == "missing"
    assert runs.loc[("RG", 1), ["final", "best"]].isna().all()


def test_a_part_in_which_an_arm_is_missing_is_left_out():
    runs = comparison()
    runs = runs[(runs["schedule"] != "poly") | (runs["arm"] != "RG")]
    table = differences.contrasts(runs, [("RG", "plain")], split="schedule")
    assert list(table.index) == [("RG − plain, constant", "all")]


def test_runs_that_an_unnamed_axis_tells_apart_are_not_averaged():
    both = pd.concat([comparison().assign(lr=0.1), comparison().assign(lr=0.2)])
    both = both[both["schedule"] == "poly"]
    assert differences.paired(both, "RG", "plain", by=["lr"]).loc["all", "pairs"] == 6
    with pytest.raises(ValueError, match=r"several runs share \['seed'\]; name the axes"):
        differences.paired(both, "RG", "plain")


def test_one_pair_needs_nobody_knows_how_many():
    assert math.isnan(differences.pairs_needed(math.nan, 0.3))
    assert math.isnan(differences.pairs_needed(math.inf, 0.3))


def test_best_of_k_epochs_adds_what_the_predictions_say():
    noise = np.random.default_rng(0).standard_normal((40_000, 20))
    for k, expected in ((4, 1.03), (10, 1.54), (20, 1.87)):
        assert noise[:, :k].max(1).mean() == pytest.approx(expected, abs=0.015)


def test_pairs_needed_finds_delta_four_times_out_of_five():
    """Against the power of the t test with that many pairs, and with one fewer."""
    for spread in (0.15, 0.4, 1.0):
        pairs = differences.pairs_needed(spread, 0.3)
        power = []
        for n in (pairs - 1, pairs):
            critical = scipy_stats.t.ppf(0.975, n - 1)
            power.append(scipy_stats.nct.sf(critical, n - 1, 0.3 * math.sqrt(n) / spread))
        assert power[0] < 0.8 <= power[1] + 1e-9


def comparison() -> pd.DataFrame:
    rows = [
        {"schedule": s, "arm": a, "seed": seed, "final": 70.0 + 3 * (s == "poly") + bonus + seed}
        for s in ("constant", "poly")
        for a, bonus in (("plain", 0.0), ("RG", -1.0), ("half", 0.5))
        for seed in range(3)
    ]
    return pd.DataFrame(rows)


def test_against_has_a_row_for_every_difference_in_every_part():
    table = differences.contrasts(comparison(), RIVALS, split="schedule")
    assert list(table.index.get_level_values(0)) == [
        "RG − plain, constant",
        "RG − plain, poly",
        "RG − half, constant",
        "RG − half, poly",
    ]
    assert table["difference"].tolist() == [-1.0, -1.0, -1.5, -1.5]
    alone = differences.paired(comparison()[lambda f: f["schedule"] == "poly"], "RG", "half")
    pd.testing.assert_series_equal(
        differences.overall(table, "RG − half, poly"), alone.loc["all"], check_names=False
    )


def test_an_arm_is_not_compared_with_itself():
    with pytest.raises(ValueError, match="arm 'RG' given twice"):
        differences.paired(comparison(), "RG", "RG")


def test_a_wider_level_is_a_wider_interval_around_the_same_difference():
    usual = differences.paired(comparison_with_noise(), "RG", "plain").loc["all"]
    wide = differences.paired(comparison_with_noise(), "RG", "plain", level=1 - 0.05 / 4).loc["all"]
    t = [scipy_stats.t.ppf(1 - tail, 2) for tail in (0.025, 0.025 / 4)]
    assert wide["difference"] == usual["difference"]
    assert (wide["high"] - wide["low"]) / (usual["high"] - usual["low"]) == pytest.approx(
        t[1] / t[0]
    )


def comparison_with_noise() -> pd.DataFrame:
    runs = comparison()[lambda f: f["schedule"] == "poly"].copy()
    return runs.assign(final=runs["final"] + runs["seed"] ** 2 * (runs["arm"] == "RG"))


def test_a_crossing_is_where_the_sign_turns_upwards():
    rates = [0.1, 0.2, 0.4, 0.8]
    at = differences.crossing(pd.Series([1.0, -1.0, -1.0, 1.0], index=rates))
    assert at == pytest.approx(0.4 * 2**0.5)  # not the downward one before it
    assert math.isnan(differences.crossing(pd.Series([-1.0, -2.0, math.nan, -1.0], index=rates)))
    shuffled = pd.Series([1.0, -1.0, math.nan, 0.0], index=[0.4, 0.1, 0.2, 0.8])
    assert differences.crossing(shuffled) == pytest.approx(0.2)


def test_what_is_missing_is_left_out_or_not_measured_but_never_zero():
    runs = comparison()
    runs.loc[(runs["schedule"] == "poly") & (runs["arm"] == "half"), "final"] = math.nan
    table = differences.contrasts(runs, RIVALS, split="schedule")
    assert "RG − half, poly" not in table.index.get_level_values(0)
    assert differences.overall(table, "RG − half, poly").isna().all()
    row = differences.paired(runs[runs["schedule"] == "poly"], "RG", "half").loc["all"]
    assert (row["pairs"], row["verdict"]) == (0, "not measured")
    assert math.isnan(row["difference"])
    empty = differences.contrasts(runs[:0], [("RG", "plain")], split="schedule")
    assert empty.empty
    assert list(empty.columns) == list(table.columns)


def test_the_luck_of_a_seed_in_every_cell_is_not_averaged_away():
    """Where one seed is lucky everywhere, the error over cells is too small: the wider counts."""
    luck = {0: -6.0, 1: 1.0, 2: 2.0}
    rows = [
        {"arm": arm, "seed": seed, "lr": lr, "final": 80 + (arm == "RG") * (luck[seed] + lr)}
        for arm in ("RG", "plain") for seed in luck for lr in (0.1, 0.2, 0.3)
    ]  # fmt: skip
    row = differences.paired(pd.DataFrame(rows), "RG", "plain", by=["lr"]).loc["all"]
    by_seed = differences.difference([value + 0.2 for value in luck.values()])
    assert row["difference"] == pytest.approx(by_seed.mean)
    assert (row["low"], row["high"]) == pytest.approx(by_seed.interval())
    assert row["pairs"] == 9
    # Where luck is of a cell and not of a seed, the error over cells is the wider one.
    rng = np.random.default_rng(0)
    apart = pd.DataFrame(rows)
    noise = rng.permuted(np.tile([-3.0, 0.0, 3.0], (3, 1)), axis=1)
    noise[1] = noise[0][[1, 2, 0]]
    noise[2] = noise[0][[2, 0, 1]]  # every seed has each of the three numbers once
    apart.loc[apart["arm"] == "RG", "final"] = 80 + noise.T.ravel()
    apart.loc[apart["arm"] == "plain", "final"] = 79.0
    found = differences.paired(apart, "RG", "plain", by=["lr"]).loc["all"]
    cells = differences.pool([differences.difference(row + 1) for row in noise])
    assert (found["low"], found["high"]) == pytest.approx(cells.interval())


def test_two_arms_alone_are_compared_as_the_pooled_t_test_compares_them():
    a, b = [90.0, 91.5, 90.2], [88.0, 89.9, 87.5]
    runs = pd.DataFrame({"arm": ["x"] * 3 + ["y"] * 3, "seed": [0, 1, 2] * 2, "final": a + b})
    ours = differences.unpaired(runs, "x", "y")
    reference = scipy_stats.ttest_ind(a, b).confidence_interval(0.95)
    np.testing.assert_allclose(ours.interval(), reference, rtol=1e-12)
    assert (ours.pairs, ours.df) == (3, 4)


def test_an_unpaired_interval_covers_what_is_true_19_times_out_of_20():
    draws, hits = np.random.default_rng(0), 0
    for _ in range(400):
        cells = [
            {"momentum": m, "arm": arm, "seed": seed, "final": up + 3 * m + draws.normal()}
            for m in (0.5, 0.9)
            for arm, up in {"x": 1.0, "y": 0.0, "z": -2.0}.items()
            for seed in range(2)
        ]
        found = differences.unpaired(pd.DataFrame(cells), "x", "y", by=["momentum"])
        low, high = found.interval()
        hits += low <= 1 <= high
        assert (found.df, found.pairs) == (6, 2)
    assert 0.92 < hits / 400 < 0.98


def test_a_cell_without_one_of_the_two_arms_counts_for_the_spread_alone():
    runs = pd.DataFrame(
        {"momentum": [0.5] * 4 + [0.9] * 2, "arm": list("xxyyxx"), "seed": [0, 1] * 3}
    )
    runs["final"] = [90.0, 91, 88, 89, 70, 71]
    found = differences.unpaired(runs, "x", "y", by=["momentum"])
    assert (found.mean, found.df, found.pairs) == (2, 3, 2)
    runs.loc[runs["arm"] == "y", "final"] = math.nan
    assert math.isnan(differences.unpaired(runs, "x", "y", by=["momentum"]).mean)


def test_one_run_an_arm_has_a_difference_and_no_interval():
    runs = pd.DataFrame({"arm": ["x", "y"], "seed": 0, "final": [90.0, 88.0]})
    found = differences.unpaired(runs, "x", "y")
    assert (found.mean, *found.interval()) == (2, -math.inf, math.inf)


def test_a_difference_of_differences_is_welchs_test():
    a, b = np.array([1.0, 2.0, 4.0, 3.5]), np.array([0.5, 0.1, 0.9])
    ours = differences.difference(a) - differences.difference(b)
    reference = scipy_stats.ttest_ind(a, b, equal_var=False).confidence_interval(0.95)
    np.testing.assert_allclose(ours.interval(), reference, rtol=1e-12)
    alone = differences.difference(a) - differences.difference([1.0])
    assert (alone.mean, *alone.interval()) == (1.625, -math.inf, math.inf)


def test_an_unpaired_comparison_refuses_what_a_paired_one_refuses():
    runs = pd.DataFrame({"lr": [0.1, 0.2] * 2, "arm": list("xxyy"), "seed": 0, "final": 90.0})
    with pytest.raises(ValueError, match="several runs share"):
        differences.unpaired(runs, "x", "y")
    with pytest.raises(ValueError, match="there are: x, y"):
        differences.unpaired(runs, "x", "z", by=["lr"])
    assert differences.unpaired(runs, "x", "y", by=["lr"]).df == 0


def test_two_arms_that_diverge_together_say_nothing_and_equal_gaps_are_no_finding():
    """Both count as chance: that they end alike is no equivalence."""
    arms = {"arm": ["a"] * 3 + ["b"] * 3, "seed": [0, 1, 2] * 2, "final": [10.0] * 6}
    gone = pd.DataFrame(arms | {"status": ["diverged"] * 6})
    assert differences.paired(gone, "a", "b").loc["all", "verdict"] == "not measured"
    one = gone.assign(status=["diverged"] * 3 + ["finished"] * 3, final=[10.0] * 3 + [50.0] * 3)
    found = differences.paired(one, "a", "b").loc["all"]
    assert (found["pairs"], found["difference"], found["verdict"]) == (3, -40.0, "inconclusive")
