"""rgkit: measure whether scaling the loss improves training.

A notebook needs these names and no others. Each is imported when it is first used, so that a
machine that only trains needs neither SciPy nor a plotting library, and one that reads no torch.
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "describe": "banner",
    "change": "bend bends gains",
    "compare": "against crossing epochs_to overall paired unpaired",
    "config": "Classification Detection ImageFolder Segmentation StepTiming Translation",
    "depth": "gradient_norms",
    "effective": "effective_rates expected foretold",
    "execute": "Results collect run step_ratios",
    "grid": "ARMS PROTOCOLS Grid",
    "library": "recorded",
    "matched": "arms_for",
    "profiles": "classification detection image_folder no_runs segmentation step_timing "
    "translation",
    "report": "conclude glue glue_intervals provenance",
    "stats": "DELTA_ACCURACY DELTA_COST DELTA_MAP DELTA_MIOU DELTA_SHARPNESS DELTA_SSIM Difference "
    "difference judge judge_equal pairs_needed pool reduction runs_needed",
    "store": "Record Store",
    "tuning": "at_best best_rates chosen crossfit two_or_more",
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'rgkit' has no attribute {name!r}")
    return getattr(import_module(f"rgkit.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted(_HOME_OF)
