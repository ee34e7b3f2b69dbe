"""Load what is recorded of a grid and train what is missing: what a notebook calls."""

from __future__ import annotations

import tempfile

from rgkit.runs.grid import Grid, in_order
from rgkit.runs.records import Store
from rgkit.runs.results import Results, collect


def run(
    grid: Grid,
    *,
    device: str = "auto",
    jobs: int | None = None,
    store: Store | None = None,
    show: bool = True,
) -> Results:
    """Return the results of a grid: load what is recorded, train what is missing.

    A grid that is not to train (`Grid.train`) is only loaded. Raises RuntimeError if a run fails.

    Examples
    --------
    >>> from rgkit.runs.kinds import Classification
    >>> from rgkit.runs.grid import Grid, cross
    >>> tiny = Classification(data="digits", images=64, model="resnet8(2)", epochs=1)
    >>> grid = Grid(cross(tiny, {"arm": ["plain"], "seed": [0]}), "smoke")
    >>> run(grid, device="cpu", store=Store(tempfile.mkdtemp()), show=False).runs.status.tolist()
    ['finished']
    """
    if grid.profile == "smoke" and store is None:
        # A smoke test trains every time, and its records are no results: they go away.
        with tempfile.TemporaryDirectory(prefix="rgkit-smoke-") as folder:
            return run(grid, device=device, jobs=1, store=Store(folder), show=show)
    store = store or Store()
    missing = {path for c in grid if not (path := store.path(c.config)).is_file()}
    if grid.train and missing:
        from rgkit.train.pool import Pool  # with torch, which records do not need

        failed = Pool(store, device, jobs=jobs, show=show).run(in_order([grid])).failed
        for config, error in failed.items():
            raise RuntimeError(f"{len(failed)} runs failed, such as {config.brief()}: {error}")
    found = collect(grid, store)
    if show:
        known = len(grid) - len(missing) if grid.train else len(found.records)
        others = f"{len(missing)} trained now" if grid.train else "the others not measured"
        print(f"{len(grid)} runs: {known} from records, {others}")
    return found
