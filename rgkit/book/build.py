"""The book: every notebook through papermill, the generated pages, then HTML with Jupyter Book."""

from __future__ import annotations

import base64
import hashlib
import json
import sys
import time
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from rgkit.book import bench_page, findings, kernels, scorecard
from rgkit.book.jupyterbook import html, jupyter_book
from rgkit.book.kernels import Task
from rgkit.book.notebook import ROOT, grid
from rgkit.book.report import LEDGERS
from rgkit.book.unmeasured import hide_unmeasured
from rgkit.runs.records import Store

MATHJAX = "tex-svg-full.js"


def _digest(*parts: bytes) -> str:
    total = hashlib.sha256()
    for part in parts:
        total.update(hashlib.sha256(part).digest())
    return total.hexdigest()[:16]


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "none"


def _records(path: Path, parameters: Mapping[str, Any]) -> list[Path]:
    store, configs = Store(), [cell.config for cell in grid(path, parameters)]
    first = {store.path(config) for config in configs}
    return sorted(first.union(*(store.repeats(config) for config in configs)))


def inputs(path: Path, parameters: Mapping[str, Any]) -> dict[str, str]:
    """Return what an executed notebook depends on, part by part, as digests.

    The parts are its own text, its parameters, rgkit's code and ledger, the records of its runs,
    and the packages that draw and compute.
    """
    code = [*sorted((ROOT / "rgkit").rglob("*.py")), *LEDGERS]
    records = _records(path, parameters)
    packages = ("torch", "numpy", "scipy", "pandas", "matplotlib", "seaborn", "papermill")
    return {
        "notebook": _digest(path.read_bytes()),
        "parameters": _digest(json.dumps(parameters, sort_keys=True).encode()),
        "rgkit": _digest(*(p.read_bytes() for p in code)),
        "records": _digest(*(p.read_bytes() if p.is_file() else b"missing" for p in records)),
        "packages": _digest(*(_version(p).encode() for p in packages)),
    }


def execute(path: Path, output: Path, parameters: Mapping[str, Any], page: str) -> str:
    """Execute one notebook on a fresh kernel; return "" or what failed, with the cell."""
    return kernels.execute(Task(page, path, output, parameters))


def toc_pages() -> list[str]:
    """Return the pages of `_toc.yml`, as paths from the root without suffix."""
    import yaml

    toc = yaml.safe_load((ROOT / "_toc.yml").read_text())
    chapters = [c["file"] for part in toc.get("parts", []) for c in part["chapters"]]
    return [toc["root"], *chapters, *(c["file"] for c in toc.get("chapters", []))]


def book_notebooks() -> list[Path]:
    """Return the notebooks of the table of contents, in its order."""
    paths = [ROOT / f"{page}.ipynb" for page in toc_pages()]
    return [path for path in paths if path.is_file()]


def page_of(path: Path) -> str:
    """Return a notebook's place in the book: its path from the root, or notebooks/<name>."""
    path = path.resolve()
    inside = path.is_relative_to(ROOT)
    return str((path.relative_to(ROOT) if inside else Path("notebooks", path.name)).with_suffix(""))


def _duration(executed: Path) -> float:
    """Return how many seconds a notebook took when it was executed last; unknown is long."""
    try:
        return float(json.loads(executed.read_text())["metadata"]["papermill"]["duration"])
    except (OSError, ValueError, KeyError, TypeError):
        return float("inf")


def execute_all(
    paths: Sequence[Path], folder: Path, parameters: Mapping[str, Any], jobs: int
) -> dict[str, str]:
    """Execute the notebooks whose inputs changed, in parallel; return failures by page."""
    todo: dict[str, Task] = {}
    for path in paths:
        task = Task(page_of(path), path, folder / f"{page_of(path)}.ipynb", parameters)
        page, now, stamp = task.page, inputs(path, parameters), folder / f"{task.page}.inputs.json"
        before = json.loads(stamp.read_text()) if stamp.is_file() else {}
        changed = [part for part, digest in now.items() if before.get(part) != digest]
        if not changed and task.output.is_file():
            print(f"{page}: up to date")
            continue
        print(f"{page}: executing ({'new' if not before else ', '.join(changed) + ' changed'})")
        stamp.unlink(missing_ok=True)
        todo[page] = task
    failed: dict[str, str] = {}
    if not todo:
        return failed
    started = time.monotonic()
    # The longest first, so that the last ones end together; where no time is known, by the text.
    tasks = sorted(todo.values(), key=lambda t: (_duration(t.output), t.path.stat().st_size))[::-1]
    train = any(not file.is_file() for task in tasks for file in _records(task.path, parameters))
    for done, (page, message) in enumerate(kernels.execute_all(tasks, jobs, train=train), 1):
        spent = time.monotonic() - started
        print(f"[{done}/{len(todo)}, {spent:.0f} s] {page}: {message or 'done'}", flush=True)
        if message:
            failed[page] = message
            continue
        # Runs may have been trained just now, so the records are looked at again.
        stamp = folder / f"{page}.inputs.json"
        stamp.write_text(json.dumps(inputs(todo[page].path, parameters)))
    return failed


def _write(path: Path, data: bytes, kept: set[Path]) -> None:
    """Write only what differs, so that Sphinx rebuilds only what changed."""
    kept.add(path)
    if not path.is_file() or path.read_bytes() != data:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def mathjax() -> bytes:
    """Return MathJax as one file, from the package that carries it."""
    for file in metadata.files("sphinx-mathjax-offline") or []:
        if file.name == MATHJAX:
            return Path(str(file.locate())).read_bytes()
    raise FileNotFoundError(f"{MATHJAX} is not in the package sphinx-mathjax-offline; install it")


def stage(source: Path, executed: Path, pages: Sequence[str], failed: Mapping[str, str]) -> None:
    """Lay out what Jupyter Book reads: prose, executed notebooks, generated pages, extra files."""
    kept: set[Path] = set()
    prose = [p for p in (ROOT / "book").rglob("*") if p.is_file()]
    for path in [ROOT / "_config.yml", ROOT / "_toc.yml", *prose]:
        _write(source / path.relative_to(ROOT), path.read_bytes(), kept)
    notebooks: dict[str, Any] = {}
    for page in pages:
        made_copy = executed / f"{page}.ipynb"
        # Where not even a kernel came up, the page shows the notebook as it was committed.
        text = (made_copy if made_copy.is_file() else ROOT / f"{page}.ipynb").read_bytes()
        notebooks[page] = hide_unmeasured(json.loads(text))
        _write(source / f"{page}.ipynb", json.dumps(notebooks[page]).encode(), kept)
    table = scorecard.rows(notebooks)
    made, extra = source / "book" / "_generated", source / "_extra"
    generated = {
        made / "answer.md": findings.answer(table),
        made / "predictions.md": scorecard.predictions(table),
        made / "status.md": scorecard.status(notebooks, failed),
        made / "bench.md": bench_page.page(Store().root / "bench"),
        made / "scorecard.md": f"{findings.summary(table)}\n"
        f"```{{raw}} html\n{scorecard.as_html(table)}\n```\n",
        extra / "scorecard.csv": scorecard.as_csv(table),
        extra / "scorecard.json": scorecard.as_json(table),
    }
    generated |= {made / "said" / f"{r['claim']}.md": f"> {findings.said(r)}\n" for r in table}
    for path, made_text in generated.items():
        _write(path, made_text.encode(), kept)
    for notebook in notebooks.values():
        for name, picture in scorecard.pictures(notebook):
            _write(made / f"{name}.png", base64.b64decode(picture), kept)
    for record in sorted(Store().root.glob("*/*.json")):
        _write(extra / "results" / record.parent.name / record.name, record.read_bytes(), kept)
    _write(extra / "mathjax" / MATHJAX, mathjax(), kept)
    for path in source.rglob("*"):
        if path.is_file() and path not in kept:
            path.unlink()


def build(
    output: Path = Path("_build"),
    profile: str = "best",
    jobs: int = 2,
    notebooks: Sequence[Path] | None = None,
) -> int:
    """Execute the notebooks and build the HTML; return the exit status.

    Parameters
    ----------
    output : Path
        A folder named ``_build`` (Jupyter Book insists): executed/, source/ and html/ go there.
    profile : str
        Passed to every notebook that has a parameter of that name.
    jobs : int
        Notebooks executed at the same time.
    notebooks : sequence of Path, optional
        Executed instead of those in the table of contents; no HTML is built then.

    A failed notebook makes the status 1; its page shows the error and all other pages are kept.
    """
    output = output.resolve()
    if output.name != "_build":
        raise ValueError(f"output={str(output)!r} given; Jupyter Book wants a folder named _build")
    started, paths = time.monotonic(), list(notebooks or book_notebooks())
    tool = jupyter_book() if notebooks is None else None
    executed = output / "executed"
    given = {} if profile == "best" else {"profile": profile}
    failed = execute_all(paths, executed, given, jobs)
    for page, message in failed.items():
        print(f"FAILED {page}: {message}", file=sys.stderr)
    if notebooks is not None:
        return 1 if failed else 0
    stage(output / "source", executed, [page_of(p) for p in paths], failed)
    status = html(output / "source", output, tool)
    missing = [p for p in toc_pages() if not (output / "html" / f"{p}.html").is_file()]
    for page in missing:
        print(f"FAILED {page}: the page was not built", file=sys.stderr)
    if not (failed or status or missing):
        print(f"{output / 'html' / 'index.html'} in {time.monotonic() - started:.0f} s")
    return 1 if failed or status or missing else 0
