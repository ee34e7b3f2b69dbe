"""Configs as plain data, their keys, and the store: atomic, append-only, several writers."""

from __future__ import annotations

import json
import multiprocessing

import pytest

from rgkit.book.report import describe
from rgkit.chapters.step_timing import StepTiming
from rgkit.chapters.step_timing import grid as step_timing
from rgkit.data.source import Source
from rgkit.runs.config import Classification, ConfigError, from_dict
from rgkit.runs.grid import ARMS, Grid, cross
from rgkit.runs.profiles import classification, no_runs
from rgkit.runs.records import Record, Store, StoreError, fingerprint_of, source
from rgkit.runs.results import collect
from rgkit.train.execute import Pool, run

TINY = Classification(
    data="digits", images=64, model="resnet8(2)", epochs=1, batch=32, precision="float32"
)


def record(config: Classification, accuracy: float = 50.0) -> Record:
    fingerprint = fingerprint_of(config)
    epochs = {"test_accuracy": [accuracy] * config.epochs}
    where = source("test", 1.0)
    return Record(config.key(fingerprint), config, fingerprint, "finished", epochs, where)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"optimizer": "sdg"}, "optimizer='sdg' given; did you mean 'sgd'"),
        ({"data": "cifar11"}, "data='cifar11' given; did you mean 'cifar10'"),
        ({"weight": "unifrom(0, 1)"}, "did you mean 'uniform'"),
        ({"schedule": "polly"}, "did you mean 'poly'"),
        ({"model": "resnet43"}, "unknown model"),
        ({"momentum": 1.5}, "momentum=1.5 given; from 0 up to below 1"),
        ({"lr": 0}, "lr=0 given; a positive number"),
        ({"epochs": 0}, "epochs=0 given; a whole number of 1 or more"),
        ({"epochs": 1.5}, "epochs=1.5 given; a whole number"),
        ({"epochs": True}, "epochs=True given"),
        ({"weight_decay": -1}, "weight_decay=-1 given; 0 or more"),
        ({"weight_decay": float("nan")}, "weight_decay=nan given; 0 or more"),
        ({"lr": float("inf")}, "lr=inf given; a finite number"),
        ({"lr": "high"}, "lr='high' given; a positive number"),
        ({"nesterov": 1}, "nesterov=1 given; True or False"),  # equal to True, with another key
        ({"nesterov": True, "optimizer": "adam"}, "only sgd has Nesterov"),
        ({"precision": "fp16"}, "precision='fp16' given"),
        ({"beta2": 1.0, "optimizer": "adam"}, "beta2=1.0 given; from 0 up to below 1"),
        ({"beta2": 0.9}, "beta2=0.9 given; only adam has a second beta"),
    ],
)
def test_a_wrong_setting_is_refused_with_the_right_one(settings, message):
    with pytest.raises(ValueError, match=message):
        Classification(**settings)


def test_unknown_setting_names_the_nearest():
    with pytest.raises(ConfigError, match="unknown setting 'momentun'; did you mean 'momentum'"):
        TINY.replace(momentun=0.9)


def test_equal_meaning_has_equal_key():
    a = Classification(weight="uniform", schedule="discarded", lr=1, model="resnet8")
    b = Classification(weight="uniform(0, 1)", schedule="constant", lr=1.0, model="resnet8(16)")
    assert a == b
    assert a.key("x") == b.key("x")
    assert a.key("x") != a.key("y")


def test_every_setting_enters_the_key(monkeypatch):
    base = Classification()
    other = {
        "data": "digits", "images": 5, "model": "resnet18", "epochs": 3, "batch": 7,
        "optimizer": "adam", "lr": 0.2, "momentum": 0.1, "nesterov": True, "weight_decay": 0.5,
        "weight": "coin", "schedule": "step", "precision": "float32", "augment": "none", "seed": 9,
        "validation": 5, "reflect": 1, "label_smoothing": 0.1, "bias_rate": 2.0,
        "independent_decay": True, "lookahead": 3,
    }  # fmt: skip
    assert {*other, "beta2"} == set(base.as_dict()) - {"task"}
    keys = {base.replace(**{name: value}).key("x") for name, value in other.items()}
    assert len(keys | {base.key("x")}) == len(other) + 1
    adam = base.replace(optimizer="adam")
    assert adam.replace(beta2=0.9).key("x") != adam.key("x")
    monkeypatch.setattr("rgkit.runs.config.NUMERICS", 99)
    assert base.key("x") not in keys | {Classification().replace(seed=1).key("x")}


def test_keys_of_committed_records_stay_what_they_are():
    """A changed key would orphan every record: this one is in the repository's history."""
    config = Classification(images=20_000, model="resnet8(16)", epochs=10, seed=0)
    assert config.key("829383a3be7af59e") == "b0e75cbb20cb6411"


@pytest.mark.parametrize("config", [Classification(seed=3, weight="beta"), StepTiming(pairs=5)])
def test_configs_survive_json(config):
    assert from_dict(json.loads(json.dumps(config.as_dict()))) == config


def test_cross_and_arms():
    cells = cross(Classification(lr=0.2), {"momentum": [0.5, 0.9], "arm": list(ARMS), "seed": [0]})
    assert len(cells) == 2 * len(ARMS)
    half = next(c for c in cells if c.labels["arm"] == "half rate, twice decay").config
    assert (half.lr, half.weight_decay) == (0.1, 2e-4)
    small = next(c for c in cells if "96" in c.labels["arm"]).config
    assert small.batch == 96
    with pytest.raises(ConfigError, match="arm='RGB' given; did you mean 'RG'"):
        cross(Classification(), {"arm": ["RGB"]})


def test_a_law_of_the_loss_weight_is_an_arm():
    cells = cross(Classification(), {"arm": ["uniform(1, 2)", "constant(3)"], "lr": [0.1, 0.2]})
    assert [c.config.weight for c in cells] == ["uniform(1, 2)"] * 2 + ["constant(3)"] * 2
    assert [c.labels["arm"] for c in cells[:2]] == ["uniform(1, 2)"] * 2
    with pytest.raises(ConfigError, match="arm='unifrom' given; did you mean 'uniform'"):
        cross(Classification(), {"arm": ["unifrom"]})
    with pytest.raises(ValueError, match="the limits must obey 0 <= low <= high"):
        cross(Classification(), {"arm": ["uniform(2, 1)"]})


def test_store_round_trip_and_no_overwriting(tmp_path):
    store = Store(tmp_path)
    first = record(TINY)
    path = store.put(first)
    assert path == tmp_path / "classification" / f"{first.key}.json"
    assert store.get(TINY) == first
    before = path.read_bytes()
    assert store.put(first) == path  # the same numbers again: nothing new
    again = store.put(record(TINY, 51.0))
    assert again.parent.name == "repeats"
    assert path.read_bytes() == before
    assert json.loads(again.read_text())["epochs"]["test_accuracy"] == [51.0]
    assert [r.key for r in store] == [first.key]
    assert not list(tmp_path.rglob("*.part"))


def test_a_damaged_or_edited_record_is_an_error_that_names_the_file(tmp_path):
    store = Store(tmp_path)
    path = store.put(record(TINY))
    text = path.read_text()
    path.write_text(text[: len(text) // 2])
    with pytest.raises(StoreError, match=path.name):
        store.get(TINY)
    path.write_text(text.replace('"seed": 0', '"seed": 1'))
    with pytest.raises(StoreError, match=f"{path.name}: its digest is"):
        store.get(TINY)
    older = json.loads(text.replace('"seed": 0', '"seed": 1'))
    del older["digest"]
    path.write_text(json.dumps(older))
    with pytest.raises(
        StoreError, match=f"{path.name}: its key .* is not that of its config; move it away"
    ):
        store.get(TINY)


def _write_many(root: str, writer: int) -> None:
    for seed in range(20):
        Store(root).put(record(TINY.replace(seed=seed), float(writer)))


def test_several_writers_lose_nothing(tmp_path):
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write_many, args=(str(tmp_path), n)) for n in range(3)]
    for w in writers:
        w.start()
    for w in writers:
        w.join()
    assert [w.exitcode for w in writers] == [0, 0, 0]
    assert len(list(Store(tmp_path))) == 20
    assert len(list((tmp_path / "repeats").glob("*.json"))) == 40


def test_run_trains_what_is_missing_and_loads_the_rest(tmp_path, capsys):
    store = Store(tmp_path)
    grid = Grid(cross(TINY, {"arm": ["plain", "RG"], "seed": [0, 1]}), "quick", "", ("arm", "seed"))
    first = run(grid, device="cpu", jobs=1, store=store)
    assert "4 runs: 0 from records, 4 trained now" in capsys.readouterr().out
    stamps = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.json")}
    second = run(grid, device="cpu", jobs=1, store=store)
    assert "4 from records, 0 trained now" in capsys.readouterr().out
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.json")} == stamps
    assert first.runs.equals(second.runs)
    assert len(second.epochs) == 4
    assert set(second.runs.columns) >= {"arm", "seed", "final", "best", "status", "device"}


def test_workers_measure_what_one_process_measures(tmp_path):
    configs = [TINY.replace(seed=s, weight="uniform(0, 1)") for s in range(3)]
    here, there = Store(tmp_path / "here"), Store(tmp_path / "there")
    assert Pool(here, "cpu", jobs=1, show=False).run(configs).finished == configs
    assert set(Pool(there, "cpu", jobs=2, show=False).run(configs).finished) == set(configs)
    for config in configs:
        assert here.get(config).epochs == there.get(config).epochs


def test_a_diverged_run_counts_with_the_accuracy_of_guessing(tmp_path):
    wild = TINY.replace(lr=1e30, weight_decay=0.5, epochs=2)
    grid = Grid(cross(wild, {"arm": ["plain"], "seed": [0]}), "quick")
    row = run(grid, device="cpu", jobs=1, store=Store(tmp_path), show=False).runs.iloc[0]
    assert (row["status"], row["final"]) == ("diverged", 10.0)


def test_a_missing_run_is_missing(tmp_path):
    grid = Grid(cross(TINY, {"arm": ["plain"], "seed": [0]}), "quick")
    assert collect(grid, Store(tmp_path)).runs["status"].tolist() == ["missing"]


def test_best_is_the_highest_profile_that_is_recorded(tmp_path, monkeypatch):
    store, axes = Store(tmp_path), {"arm": ["plain"], "seeds": 1}
    nothing = classification("best", store=store, **axes)
    assert nothing.profile == "smoke"
    assert "-p profile quick" in nothing.note
    for name in ("quick", "paper"):
        monkeypatch.setattr(Source, "available", lambda self: True)
        for cell in classification(name, store=store, **axes):
            store.put(record(cell.config))
        assert classification("best", store=store, **axes).profile == name


def test_best_shows_the_seeds_that_are_there_and_says_how_many_are_not(tmp_path, monkeypatch):
    """Two whole seeds are shown; one seed, or two with an arm missing, is no result yet."""
    monkeypatch.setattr(Source, "available", lambda self: True)
    store, axes = Store(tmp_path), {"arm": ["plain", "RG"], "seeds": 3}
    quick = classification("quick", store=store, **axes)
    seeds = []
    for cell in sorted(quick, key=lambda cell: cell.labels["seed"]):
        best = classification("best", store=store, **axes)
        assert best.profile == ("quick" if len(set(seeds)) >= 2 and len(seeds) >= 4 else "smoke")
        seeds.append(cell.labels["seed"])
        store.put(record(cell.config))
        if len(seeds) == 5:
            best = classification("best", store=store, **axes)
            assert {cell.labels["seed"] for cell in best} == {0, 1}
            assert len(best) == 4
            assert best.note.startswith("2 of 3 seeds are recorded")
            assert best.note in describe(best)
    assert len(classification("best", store=store, **axes)) == 6


def test_quick_without_cifar_falls_back_on_embedded_data_and_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(Source, "available", lambda self: self.embedded)
    grid = classification("quick", arm=["plain"], store=Store(tmp_path))
    assert grid[0].config.data == "digits"
    assert grid.profile == "embedded"  # what the scorecard would say of it
    assert "not at hand" in grid.note
    assert "nothing here was measured on real ones" in describe(grid)


def test_smoke_is_small_and_leaves_no_records(tmp_path, monkeypatch):
    monkeypatch.setenv("RGKIT_RESULTS", str(tmp_path))
    results = run(classification("smoke", seeds=1, arm=["plain"]), device="cpu", show=False)
    assert results.runs["status"].tolist() == ["finished"]
    assert list(tmp_path.rglob("*.json")) == []


def test_step_timing_measures_every_block(tmp_path):
    grid = step_timing("smoke")
    results = run(grid, device="cpu", jobs=1, store=Store(tmp_path), show=False)
    assert len(results.epochs) == grid[0].config.pairs
    assert (results.epochs[["plain", "rg", "plain_again"]] > 0).all().all()
    assert len(no_runs("best")) == 0


def test_unknown_profile():
    with pytest.raises(ConfigError, match="profile='quik' given; did you mean 'quick'"):
        classification("quik", arm=["plain"])
