"""Everything that is recorded of one data set, as one grid: for pages that read across chapters."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any

import numpy as np

from rgkit.method import schedules
from rgkit.method.spec import nearest
from rgkit.runs.config import NUMERICS, Classification, ConfigError, Trained
from rgkit.runs.grid import FIRST_SEEDS, Cell, Grid, arm_of
from rgkit.runs.profiles import NAMES, check, classification, segmentation
from rgkit.runs.records import Store

# An arm differs from the others of its setting in the law of the loss weight and in nothing else.
NAMED = {arm_of(a, Classification()).weight: a for a in ("plain", "RG", "constant 1/2")}
# What trains a page over many chapters in seconds, and on how many images.
SMOKE = {"classification": (classification, 128), "segmentation": (segmentation, 24)}
RATES = ("never decayed", "decayed")
AXES = ("model", "images", "epochs", "schedule", "momentum", "seed")  # which a page lists


def setting_of(config: Trained) -> str:
    """Return what a run shares with the other arms and seeds of its comparison, in words.

    >>> setting_of(Classification(momentum=0.9, weight="uniform(0, 1)", seed=3))
    'momentum=0.9'
    """
    return config.replace(weight="constant(1)", seed=0).brief()


@functools.cache
def falls(schedule: str, epochs: int) -> bool:
    """Return whether a learning rate ends at less than half of its mean over the run.

    Its end is the last tenth of the steps. A rate that only jumps about does not fall, whether by
    chance or in cycles.

    >>> falls("poly", 10), falls("discarded", 10), falls("formula('u')", 10)
    (True, False, False)
    >>> falls("formula('u * (1 - t)')", 10)
    True
    """
    steps = np.arange(100 * epochs)
    factor = schedules.schedule(schedule).draw(steps, per_epoch=100, epochs=epochs)
    return bool(factor[-10 * epochs :].mean() < 0.5 * factor.mean())


def rate_of(config: Trained) -> str:
    """Return whether the learning rate of a run is "decayed" or "never decayed"."""
    return RATES[falls(config.schedule, config.epochs)]


def labels_of(config: Trained) -> dict[str, Any]:
    """Return the labels of a run: all its settings, its arm, its setting in words, and its rate.

    >>> labels = labels_of(Classification(weight="constant(0.5)", schedule="discarded"))
    >>> labels["arm"], labels["rate"], labels["setting"]
    ('constant 1/2', 'never decayed', 'schedule=constant')
    """
    labels = config.as_dict()
    law = labels.pop("weight")
    names = {"arm": NAMED.get(law, law), "rate": rate_of(config), "setting": setting_of(config)}
    return labels | names


def _labelled(configs: Iterable[Any]) -> tuple[Cell, ...]:
    return tuple(Cell(labels_of(config), config) for config in configs)


def _profile_of(config: Trained) -> str:
    if config.images or config.model != type(config)().model:
        return "quick"
    return "short" if config.epochs < type(config)().epochs else "paper"


def _smoke(task: str, note: str = "") -> Grid:
    """A grid to train in seconds with what a page over many chapters needs: arms, rates, seeds."""
    make, images = SMOKE[task]
    grid = make(
        "smoke", epochs=9, seeds=FIRST_SEEDS, base={"momentum": 0.95, "images": images},
        schedule=["discarded", "poly"], arm=["plain", "RG", "constant 1/2"],
    )  # fmt: skip
    return Grid(_labelled(cell.config for cell in grid), "smoke", note, AXES)


def recorded(
    profile: str,
    store: Store | None = None,
    data: str = "cifar10",
    task: str = "classification",
) -> Grid:
    """Return every run of a task on a data set that is recorded, labelled alike.

    It is only loaded, never trained, and grows as records arrive.

    Parameters
    ----------
    profile : "smoke" trains a few toy runs; every other shows all that is recorded. The profile of
        the grid is then the smallest among its runs.
    data : such as "cifar10"
    task : "classification" or "segmentation"

    Returns
    -------
    Grid whose labels are those of `labels_of`: runs that share ``setting`` and ``seed`` are pairs.
    Where no setting has both plain training and Random Gradient, the toy runs of a smoke test for
    "best", and no runs for the others, so that a plan never trains toys for them.

    Examples
    --------
    >>> import tempfile
    >>> recorded("best", Store(tempfile.mkdtemp())).profile
    'smoke'
    >>> recorded("quick", Store(tempfile.mkdtemp()), data="camvid", task="segmentation").cells
    ()
    """
    if task not in SMOKE:
        raise ConfigError(f"task={task!r} given{nearest(task, list(SMOKE))}")
    if check(profile) == "smoke":
        return _smoke(task)
    wanted = (task, data, NUMERICS)  # a record of older numerics is out of date
    configs = [
        record.config
        for record in store or Store()
        if isinstance(record.config, Trained)
        and (record.config.task, record.config.data, record.numerics) == wanted
    ]
    cells = _labelled(configs)
    arms = {(c.labels["setting"], c.labels["arm"]) for c in cells}
    if not any((setting, "RG") in arms for setting, arm in arms if arm == "plain"):
        note = "no comparison is recorded yet"
        return _smoke(task, note) if profile == "best" else Grid((), profile, note, AXES, False)
    lowest = min(map(_profile_of, configs), key=NAMES.index)
    note = f"every run on {data} that is recorded, whichever chapter it was made for"
    order = sorted(cells, key=lambda c: [c.labels[n] for n in ("setting", "arm", "seed")])
    return Grid(tuple(order), lowest, note, AXES, train=False)
