"""The arithmetic of the audit, against what ../papers/forensics.md found by hand."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from rgkit.chapters import audit


def test_tables_are_read_as_printed():
    rg = audit.printed("rg-table1")
    assert rg["plain"].max() == 69.076
    assert (rg["rg"] - rg["plain"]).round(3).tolist() == [-3.583, 2.541, 19.499, -0.395]
    with pytest.raises(ValueError, match="claim='rg-tabel1' given; did you mean 'rg-table1'"):
        audit.printed("rg-tabel1")
    with pytest.raises(ValueError, match="it must print numbers"):
        audit.printed("rg-fig7")


def test_the_detection_table_does_not_average_to_what_it_prints():
    table = audit.by_class("csgd-table4", "backbone")
    assert table.mean().round(2).tolist() == [51.48, 52.63, 68.30, 68.31]
    gain = table["ResNet-18-CCNN"] - table["ResNet-18"]
    assert [(gain > 1e-9).sum(), (gain < -1e-9).sum(), (abs(gain) < 1e-9).sum()] == [10, 9, 1]


def test_chance_by_simulation():
    runs = 0.2 * np.random.default_rng(0).standard_normal((100_000, 2))
    for gap in (0.1, 0.4, 0.7):
        seen = (abs(runs[:, 0] - runs[:, 1]) >= gap).mean()
        assert audit.chance(gap, 0.2) == pytest.approx(seen, abs=0.005)
    assert audit.chance(-0.4, 0.2) == audit.chance(0.4, 0.2)
    assert audit.chance(1.43, audit.spread_for(1.43)) == pytest.approx(0.05)


def test_the_spread_of_seeds_is_pooled_by_degrees_of_freedom():
    draws = np.random.default_rng(0)
    rows, wanted = [], []
    for number, seeds in enumerate((3, 5, 2)):  # the last has too few
        finals = 75 + draws.normal(size=seeds)
        common = {"setting": f"s{number}", "arm": "plain", "rate": "decayed", "status": "finished"}
        rows += [common | {"seed": k, "final": value} for k, value in enumerate(finals)]
        wanted += [(len(finals) - 1, finals.var(ddof=1))] if seeds > 2 else []
    rows.append(rows[0] | {"seed": 9, "status": "diverged", "final": 10.0})
    spreads = audit.seed_spread(pd.DataFrame(rows))
    assert spreads["count"].tolist() == [3, 5]
    (row,) = audit.pooled_spread(spreads, [0, 70, 80]).itertuples()
    pooled = math.sqrt(sum(n * v for n, v in wanted) / sum(n for n, _ in wanted))
    assert (row.spread, row.settings, row.free) == (pytest.approx(pooled), 2, 6)


def test_without_records_there_is_no_spread_and_no_error():
    spreads = audit.seed_spread(pd.DataFrame(columns=["status", "final"]))
    assert audit.pooled_spread(spreads, [0, 100]).query("rate == 'decayed'").tail(1).empty
