"""The records of the repository: each is readable, and its key is still that of its config."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from rgkit.runs.config import NUMERICS, Trained, from_dict
from rgkit.runs.records import NO_DATA, Record, fingerprint_of, read

ROOT = Path(__file__).resolve().parents[2] / "results"
FILES = sorted(ROOT.glob("*/*.json"))


@pytest.fixture(scope="module")
def records() -> dict[Path, Record]:
    """Every record by its file; benchmarks are none."""
    return {path: read(path.read_text()) for path in FILES if path.parent.name != "bench"}


def test_every_record_is_readable_and_has_the_key_of_its_config(records):
    seen: Counter[str] = Counter()
    for path, record in records.items():
        key = record.config.key(record.fingerprint)
        assert (record.key, record.numerics) == (key, NUMERICS), path
        assert path.stem.partition("-")[0] == key, path
        folder = path.parent.name
        assert folder in ("repeats", record.config.task), path
        seen[folder] += 1
    assert sum(seen.values()) > 1500
    assert {"classification", "segmentation", "translation", "repeats"} <= set(seen)


def test_every_config_is_written_in_its_one_form(records):
    """Or else two records could hold the same run under two keys."""
    for path, record in records.items():
        given, made = json.loads(path.read_text())["config"], record.config.as_dict()
        assert {name: made[name] for name in given} == given, path


def test_the_data_of_the_records_are_named_where_they_are_not_at_hand(records):
    marks: dict[tuple[str, str], set[str]] = {}
    for path, record in records.items():
        if path.parent.name != "repeats":
            data = getattr(record.config, "data", "")
            marks.setdefault((record.config.task, data), set()).add(record.fingerprint)
    for (task, data), found in marks.items():
        assert len(found) == 1, (task, data)
        config = from_dict({"task": task} | ({"data": data} if data else {}))
        if not isinstance(config, Trained):
            assert found == {NO_DATA}
        elif data in ("cifar10", "digits"):
            assert found == {fingerprint_of(config)}


@pytest.mark.parametrize("name", ["samples", "along", "diverged_at"])
def test_an_older_record_that_lacks_what_came_later_is_readable(name):
    first = min(ROOT.glob("classification/*.json"))
    found = json.loads(first.read_text())
    found.pop(name, None)
    found["source"].pop("arithmetic", None)
    record = read(json.dumps(found))
    assert record.arithmetic == record.config.precision
    assert not getattr(record, name)
