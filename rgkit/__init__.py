"""rgkit: measure whether scaling the loss improves training.

A notebook needs these names and no others. Each is imported when it is first used, so that a
machine that only trains needs neither SciPy nor a plotting library, and one that reads no torch.
"""

from importlib import import_module
from typing import Any

HOMES = {
    "runs.config": "Classification Segmentation Translation",
    "runs.results": "Results collect",
    "train.execute": "run",
    "runs.grid": "ARMS PROTOCOLS Grid cross",
    "chapters.library": "recorded",
    "runs.profiles": "classification no_runs segmentation translation",
    "book.report": "banner conclude glue glue_intervals provenance",
    "stats.differences": "DELTA_ACCURACY DELTA_COST DELTA_MAP DELTA_MIOU DELTA_SHARPNESS "
    "DELTA_SSIM Difference contrasts crossing difference judge judge_equal overall "
    "paired pairs_needed pool runs_needed unpaired",
    "runs.records": "Record Store",
    "stats.tuning": "at_best chosen crossfit epochs_to two_or_more",
}
HOME_OF = {name: home for home, names in HOMES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    if name not in HOME_OF:
        raise AttributeError(f"module 'rgkit' has no attribute {name!r}")
    return getattr(import_module(f"rgkit.{HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted(HOME_OF)
