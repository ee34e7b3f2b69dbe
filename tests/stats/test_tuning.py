"""Choosing a setting on validation images: made-up records with known answers."""

from __future__ import annotations

import dataclasses

import matplotlib as mpl
import numpy as np
import pytest

mpl.use("agg")

from rgkit.chapters import discarded
from rgkit.data.source import Source
from rgkit.figures import plots
from rgkit.runs import profiles
from rgkit.runs.config import Classification
from rgkit.runs.grid import Grid, cross
from rgkit.runs.records import Record, Store, fingerprint_of
from rgkit.runs.results import collect
from rgkit.stats.differences import contrasts
from rgkit.stats.tuning import at_best, chosen, crossfit, scores
from rgkit.train.execute import run

BASE = Classification(data="digits", images=64, model="resnet8(2)", epochs=3, validation=20)
AXES = {"schedule": ["constant", "poly"], "lr": [0.1, 0.2, 0.4], "arm": ["plain", "RG"]}
TUNING = Grid(cross(BASE, AXES | {"seed": [100, 101]}), "quick", "", (*AXES, "seed"))


def write(store: Store, cell, accuracies: list[float], status: str = "finished") -> None:
    mark = fingerprint_of(cell.config)
    epochs = {"test_accuracy": accuracies, "validation_accuracy": accuracies}
    source = {"commit": "c", "device": "d", "versions": {}, "seconds": 1.0, "date": "2026-01-01"}
    store.put(Record(cell.config.key(mark), cell.config, mark, status, epochs, source))


def accuracy(labels) -> float:
    """Best at 0.2 for plain and at 0.4 for RG, on average over the seeds but not for each."""
    peak = 0.2 if labels["arm"] == "plain" else 0.4
    luck = 30.0 if labels["seed"] == 100 and labels["lr"] == 0.1 else 0.0
    return 60.0 - 200 * abs(labels["lr"] - peak) + luck * (1 if labels["arm"] == "plain" else 0) / 2


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path)
    for cell in TUNING:
        value = accuracy(cell.labels)
        write(store, cell, [99.0, value - 1, value + 1])  # the first epoch must not count
    return store


def test_the_best_rate_of_each_arm_is_chosen_on_validation(store):
    table = chosen(collect(TUNING, store), last=2)
    assert table["lr"].to_dict() == {
        ("constant", "plain"): 0.2,
        ("constant", "RG"): 0.4,
        ("poly", "plain"): 0.2,
        ("poly", "RG"): 0.4,
    }
    assert table["validation"].round(6).eq(60.0).all()
    assert table["edge"].to_dict() == {k: k[1] == "RG" for k in table.index}


def test_the_grid_at_the_best_rate_has_fresh_seeds_and_nothing_held_out(store):
    grid = at_best(collect(TUNING, store), range(3), last=2)
    assert len(grid) == 4 * 3
    assert grid.axes == ("schedule", "lr", "arm", "seed")
    for cell in grid:
        assert cell.config.validation == 0
        assert (
            cell.config.lr == cell.labels["lr"] == (0.2 if cell.labels["arm"] == "plain" else 0.4)
        )
        assert cell.config.seed == cell.labels["seed"] < 3
        assert cell.config.weight == (
            "constant(1)" if cell.labels["arm"] == "plain" else "uniform(0, 1)"
        )
    with pytest.raises(ValueError, match=r"seeds=\[101\] given; the lr was chosen with them"):
        at_best(collect(TUNING, store), [0, 101])


def test_nothing_is_chosen_while_a_candidate_is_missing(store):
    gone = next(c for c in TUNING if c.labels["arm"] == "RG" and c.labels["schedule"] == "poly")
    store.path(gone.config).unlink()
    table = chosen(collect(TUNING, store))
    assert ("poly", "RG") not in table.index
    assert len(table) == 3
    assert len(at_best(collect(TUNING, store), range(2))) == 3 * 2


def test_crossfit_chooses_without_the_run_that_it_reports(store):
    """Seed 100 alone would take 0.1 for plain; it must get what seed 101 takes, and vice versa."""
    own = crossfit(collect(TUNING, store)).set_index(["schedule", "arm", "seed"])
    assert len(own) == 2 * 2 * 2
    scored = scores(collect(TUNING, store))
    for place, row in own.iterrows():
        schedule, arm, seed = place
        mine = scored[(scored["schedule"] == schedule) & (scored["arm"] == arm)]
        others = mine[mine["seed"] != seed].groupby("lr")["score"].mean()
        assert row["lr"] == others.idxmax()
        run = mine[(mine["seed"] == seed) & (mine["lr"] == row["lr"])].iloc[0]
        assert row["final"] == run["final"]
    assert own.loc[("poly", "plain", 100), "lr"] == 0.2


def test_crossfit_wants_two_seeds_and_every_candidate(store):
    one = Grid(tuple(c for c in TUNING if c.labels["seed"] == 100), "quick", "", TUNING.axes)
    with pytest.raises(ValueError, match="seeds=1 given"):
        crossfit(collect(one, store))
    store.path(TUNING[0].config).unlink()
    left = crossfit(collect(TUNING, store))
    assert len(left) == 2 * 2 * 2 - 2


def test_nothing_recorded_gives_an_empty_grid(tmp_path):
    results = collect(TUNING, Store(tmp_path))
    assert chosen(results).empty
    assert len(at_best(results, range(2))) == 0


def test_a_diverged_candidate_counts_as_chance(tmp_path):
    store = Store(tmp_path)
    for cell in TUNING:
        lost = cell.labels["lr"] == 0.4
        write(
            store, cell, [90.0] if lost else [40.0, 40.0, 40.0], "diverged" if lost else "finished"
        )
    assert (chosen(collect(TUNING, store))["lr"] < 0.4).all()


def test_runs_without_validation_images_cannot_choose(tmp_path):
    grid = Grid(cross(BASE.replace(validation=0), {"lr": [0.1], "arm": ["plain"], "seed": [0]}))
    grid = Grid(grid.cells, "quick", "", ("lr", "arm", "seed"))
    store = Store(tmp_path)
    run(grid, device="cpu", store=store, show=False)
    with pytest.raises(ValueError, match="no validation images; give validation=True"):
        chosen(collect(grid, store))


def test_a_grid_like_the_main_one_follows_its_profile(tmp_path, monkeypatch):
    """Smoke stays smoke; what "best" found is shown and not trained; explicit names train."""
    store = Store(tmp_path)
    smoke = profiles.classification("best", arm=["plain"], store=store)
    assert smoke.profile == "smoke"
    again = profiles.classification("best", like=smoke, arm=["RG"], store=store)
    assert (again.profile, again[0].config.data) == ("smoke", "digits")
    monkeypatch.setattr(Source, "available", lambda self: False)
    main = profiles.classification("quick", arm=["plain"], per_profile={"quick": {"epochs": 1}})
    assert (main.profile, main[0].config.images) == ("embedded", 0)
    held = profiles.classification("quick", like=main, arm=["RG"], validation=True)
    assert held[0].config.data == "digits"
    assert held[0].config.validation == profiles.IMAGES.held["embedded"]
    quick = Grid((), "quick")
    assert not profiles.classification("quick", like=quick, arm=["RG"]).train
    monkeypatch.setattr(Source, "available", lambda self: True)
    assert profiles.classification("quick", like=quick, arm=["RG"]).train
    assert not profiles.classification("best", like=quick, arm=["RG"]).train


def test_a_grid_that_is_not_to_train_reports_what_is_missing(tmp_path, capsys):
    grid = Grid(TUNING.cells[:2], "quick", "", TUNING.axes, train=False)
    store = Store(tmp_path)
    write(store, grid[0], [1.0, 2.0, 3.0])
    results = run(grid, store=store)
    assert results.runs["status"].tolist() == ["finished", "missing"]
    assert "2 runs: 1 from records, the others not measured" in capsys.readouterr().out
    assert len(list(store)) == 1


def test_a_grid_without_anything_to_tell_the_groups_apart_is_refused(store):
    grid = Grid(TUNING.cells, "quick", "", ("lr", "seed"))
    with pytest.raises(ValueError, match="it needs one more, as 'arm'"):
        chosen(collect(grid, store))


def test_variations_are_labelled_with_every_axis():
    cells = cross(BASE, {"arm": ["plain", "RG"]}, vary=[{"momentum": [0.9]}, {"batch": [8, 16]}])
    assert len(cells) == 2 + 4
    assert {tuple(cell.labels) for cell in cells} == {("arm", "momentum", "batch")}
    for cell in cells:
        assert cell.config.momentum == cell.labels["momentum"]
        assert cell.config.batch == cell.labels["batch"]
    alone = cross(BASE, {"seed": [0]}, vary=[{"arm": ["RG"]}, {"lr": [0.3]}])
    assert [cell.labels["arm"] for cell in alone] == ["RG", "plain"]


def test_steps_are_those_of_the_run():
    assert BASE.steps == 3  # 64 images in a batch of 128
    assert BASE.replace(images=0, batch=100).steps == 3 * 15  # 1,480 of 1,500 images


# --- the figures ----------------------------------------------------------------------------


def test_the_sensitivity_has_a_ring_at_each_choice_and_plain_at_half(store):
    tuning = collect(TUNING, store)
    figure = plots.sensitivity(tuning, "schedule", scores(tuning), chosen(tuning))
    assert len(figure.axes) == 2
    for ax in figure.axes:
        rings = {
            float(x) for line in ax.lines if line.get_markersize() == 13 for x in line.get_xdata()
        }
        assert rings == {0.2, 0.4}
        (dotted,) = [line for line in ax.lines if line.get_linestyle() == ":"]
        (plain,) = [line for line in ax.lines if line.get_label() == "plain"]
        np.testing.assert_allclose(dotted.get_xdata(), 2 * np.asarray(plain.get_xdata()))
        np.testing.assert_allclose(dotted.get_ydata(), plain.get_ydata())


def test_the_sensitivity_shows_every_rate_where_panels_have_rates_of_their_own(store):
    """They share one axis; the last panel's limits used to cut the others off."""
    rates = {"constant": (0.1, 0.2), "poly": (0.2, 0.4)}
    cells = tuple(c for c in TUNING if c.labels["lr"] in rates[c.labels["schedule"]])
    tuning = collect(dataclasses.replace(TUNING, cells=cells), store)
    figure = plots.sensitivity(tuning, "schedule", scores(tuning), chosen(tuning))
    for ax, own in zip(figure.axes, rates.values(), strict=True):
        assert ax.get_xlim()[0] < min(own) < max(own) < ax.get_xlim()[1]
        assert ax.get_xticks().tolist() == [0.1, 0.2, 0.4]


def test_the_sensitivity_of_the_final_accuracy_shows_every_seed_and_no_choice(store):
    figure = plots.sensitivity(collect(TUNING, store), "schedule")
    ax = figure.axes[0]
    seeds = [line for line in ax.lines if line.get_marker() == "."]
    assert sum(len(line.get_xdata()) for line in seeds) == 2 * 3 * 2
    assert not [line for line in ax.lines if line.get_markerfacecolor() == "none"]
    assert ax.get_ylabel() == "test accuracy, %"


def test_figures_of_what_is_not_measured_say_so(tmp_path, store):
    nothing = collect(TUNING, Store(tmp_path / "empty"))
    said = plots.sensitivity(nothing, "schedule", scores(nothing), chosen(nothing)).axes[0].texts
    assert [text.get_text() for text in said] == ["not measured yet"]
    empty = contrasts(nothing.runs, [("RG", "plain")], split="schedule")
    said = plots.differences(empty, nothing, delta=0.3).axes[0].texts
    assert [text.get_text() for text in said] == ["not measured yet"]
    said = plots.curves(nothing, panels="schedule").axes[0].texts
    assert [text.get_text() for text in said] == ["not measured yet"]
    assert nothing.runs["key"].isna().all()  # a page may ask for the key of a run that is missing
    own = collect(at_best(nothing, range(2)), Store(tmp_path / "empty"))
    last = discarded.answer(collect(TUNING, store), own).axes[-1]
    assert [text.get_text() for text in last.texts] == ["not measured yet"]


def test_the_answer_shows_every_run_at_its_own_best_rate(store):
    search = collect(TUNING, store)
    grid = at_best(search, range(3), last=2)
    for cell in grid:
        write(store, cell, [80.0, 81.0, 82.0 + cell.labels["seed"]])
    *curves, last = discarded.answer(search, collect(grid, store)).axes
    assert [ax.get_title() for ax in curves] == ["same rate, constant", "same rate, poly"]
    heights = [y for dots in last.collections for _, y in dots.get_offsets()]
    assert sorted(heights) == sorted([82.0, 83.0, 84.0] * 4)
    assert [label.get_text() for label in last.get_xticklabels()] == ["constant", "poly"]


# --- profiles and seeds ------------------------------------------------------------------------


def test_the_profile_with_more_whole_seeds_is_shown_where_none_is_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(Source, "available", lambda self: True)
    options = {"arm": ["plain", "RG"], "seeds": {"quick": 5, "short": 7}}
    options["store"] = store = Store(tmp_path)
    for profile, seeds in (("quick", 4), ("short", 2)):
        for cell in profiles.classification(profile, **options):
            if cell.labels["seed"] < seeds:
                write(store, cell, [1.0])
    found = profiles.classification("best", **options)
    assert found.profile == "quick"
    assert found.note.startswith("4 of 5 seeds are recorded")


def test_seeds_can_differ_by_profile():
    found = profiles.classification("quick", seeds={"quick": 7, "short": 9}, arm=["plain"])
    assert len(found) == 7
    with pytest.raises(ValueError, match="profile='quik' given; did you mean 'quick'"):
        profiles.classification("quick", seeds={"quik": 7}, arm=["plain"])
