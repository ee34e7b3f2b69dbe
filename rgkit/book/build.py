"""The book: every notebook through papermill, the generated pages, then HTML with Jupyter Book."""

from __future__ import annotations

import ast
import base64
import contextlib
import hashlib
import itertools
import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import rgkit
from rgkit.book import kernels, scorecard
from rgkit.book.kernels import Task
from rgkit.book.notebook import ROOT, UsageError, cells, grid
from rgkit.book.report import hide_unmeasured, outputs, render
from rgkit.runs.records import Store, beside
from rgkit.stats.differences import LEDGERS

MATHJAX = "tex-svg-full.js"


def toc_pages() -> list[str]:
    """Return the pages of `_toc.yml`, as paths from the root without suffix."""
    import yaml

    toc = yaml.safe_load((ROOT / "_toc.yml").read_text("utf-8"))
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


def execute_all(
    paths: Sequence[Path], folder: Path, parameters: Mapping[str, Any], jobs: int
) -> dict[str, str]:
    """Execute the notebooks whose inputs changed, in parallel; return failures by page."""
    tasks, train = dict[str, Task](), False
    # The longest first, so that the last ones end together.
    for path in sorted(paths, key=lambda path: -path.stat().st_size):
        page, now = page_of(path), inputs(path, parameters)
        task = Task(page, path, folder / f"{page}.ipynb", parameters)
        before = json.loads(task.stamp.read_text("utf-8")) if task.stamp.is_file() else {}
        changed = [part for part in now | before if before.get(part) != now.get(part)]
        if task.output.is_file() and not changed:
            print(f"{page}: up to date")
            continue
        print(f"{page}: executing ({', '.join(changed) + ' changed' if before else 'new'})")
        task.stamp.unlink(missing_ok=True)
        tasks[page] = task
        train |= any(not file.is_file() for file in records(path, parameters))
    failed: dict[str, str] = {}
    started = time.monotonic()
    found = kernels.execute_all(list(tasks.values()), jobs, train=train) if tasks else ()
    for done, (page, message) in enumerate(found, 1):
        spent = time.monotonic() - started
        print(f"[{done}/{len(tasks)}, {spent:.0f} s] {page}: {message or 'done'}", flush=True)
        if message:
            failed[page] = message
        else:  # runs may have been trained just now, so the records are looked at again
            with beside(tasks[page].stamp) as part:
                part.write_text(json.dumps(inputs(tasks[page].path, parameters)), "utf-8")
                part.replace(tasks[page].stamp)
    return failed


def mathjax() -> bytes:
    """Return MathJax as one file, from the package that carries it."""
    for file in metadata.files("sphinx-mathjax-offline") or []:
        if file.name == MATHJAX:
            return Path(str(file.locate())).read_bytes()
    raise FileNotFoundError(f"{MATHJAX} is not in the package sphinx-mathjax-offline; install it")


def contents(
    executed: Path, pages: Sequence[str], failed: Mapping[str, str]
) -> Iterator[tuple[Path, str | bytes]]:
    """Yield what Jupyter Book reads: prose, executed notebooks, generated pages, extra files."""
    for path in [ROOT / "_config.yml", ROOT / "_toc.yml", *(ROOT / "book").rglob("*")]:
        if path.is_file():
            yield path.relative_to(ROOT), path.read_bytes()
    made, extra = Path("book", "_generated"), Path("_extra")
    notebooks: dict[str, Any] = {}
    for page in pages:
        made_copy = executed / f"{page}.ipynb"
        # Where not even a kernel came up, the page shows the notebook as it was committed.
        text = (made_copy if made_copy.is_file() else ROOT / f"{page}.ipynb").read_text("utf-8")
        notebooks[page] = hide_unmeasured(json.loads(text))
        yield Path(f"{page}.ipynb"), json.dumps(notebooks[page])
        for cell in notebooks[page]["cells"]:  # a figure whose cell has a tag ``picture-name``
            names = [t for t in cell["metadata"].get("tags", []) if t.startswith("picture-")]
            pictures = outputs({"cells": [cell]}, "image/png")
            for name, png in itertools.product(names, pictures):
                yield made / f"{name.removeprefix('picture-')}.png", base64.b64decode(png)
    table = scorecard.rows(notebooks)
    for name in ("answer.md", "predictions.md", "scorecard.md"):
        yield made / name, scorecard.page(name, table)
    for row in table:
        yield made / "said" / f"{row['claim']}.md", render("quote.md", row=row)
    yield made / "status.md", scorecard.status(notebooks, failed)
    yield made / "bench.md", scorecard.bench(Store().root / "bench")
    yield extra / "scorecard.csv", scorecard.as_csv(table)
    yield extra / "scorecard.json", json.dumps(table, indent=1, ensure_ascii=False) + "\n"
    for record in sorted(Store().root.glob("*/*.json")):
        yield extra / "results" / record.parent.name / record.name, record.read_bytes()
    yield extra / "mathjax" / MATHJAX, mathjax()


def stage(source: Path, executed: Path, pages: Sequence[str], failed: Mapping[str, str]) -> None:
    """Write what Jupyter Book reads, and only what differs: it builds anew only what changed."""
    kept = set()
    for place, made in contents(executed, pages, failed):
        path, data = source / place, made.encode() if isinstance(made, str) else made
        kept.add(path)
        if not path.is_file() or path.read_bytes() != data:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    for path in source.rglob("*"):
        if path.is_file() and path not in kept:
            path.unlink()


def html(source: Path, output: Path) -> int:
    """Run Jupyter Book over a staged source; warnings are errors; return its exit status.

    What it prints is shown only where it failed.
    """
    words = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()", "build"]
    words += [str(source), "--path-output", str(output.parent), "-W", "--keep-going", "-n", "-q"]
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    # Sphinx would copy these (html_extra_path) only where a page has changed.
    shutil.copytree(source / "_extra", output / "html", dirs_exist_ok=True)
    if done.returncode:
        print(done.stdout, done.stderr, sep="\n", file=sys.stderr)
        # What Sphinx has read it does not read again, nor warn of: the next build would pass.
        shutil.rmtree(output / ".doctrees", ignore_errors=True)
    return done.returncode


def build(output: Path = Path("_build"), profile: str = "best", jobs: int = 2) -> int:
    """Execute the notebooks and build the HTML; return the exit status.

    Parameters
    ----------
    output : Path
        A folder named ``_build`` (Jupyter Book insists): executed/, source/ and html/ go there.
    profile : str
        Passed to every notebook that has a parameter of that name.
    jobs : int
        Notebooks executed at the same time.

    A failed notebook makes the status 1; its page shows the error and all other pages are kept.
    """
    output = output.resolve()
    if output.name != "_build":
        raise UsageError(f"output={str(output)!r} given; Jupyter Book wants a folder named _build")
    started, paths = time.monotonic(), book_notebooks()
    executed = output / "executed"
    given = {} if profile == "best" else {"profile": profile}
    failed = execute_all(paths, executed, given, jobs)
    for page, message in failed.items():
        print(f"FAILED {page}: {message}", file=sys.stderr)
    stage(output / "source", executed, [page_of(p) for p in paths], failed)
    status = html(output / "source", output)
    missing = [p for p in toc_pages() if not (output / "html" / f"{p}.html").is_file()]
    for page in missing:
        print(f"FAILED {page}: the page was not built", file=sys.stderr)
    if not (failed or status or missing):
        print(f"{output / 'html' / 'index.html'} in {time.monotonic() - started:.0f} s")
    return int(bool(failed or status or missing))


PACKAGE = Path(rgkit.__file__).parent
PACKAGES = ("torch", "numpy", "scipy", "pandas", "matplotlib", "seaborn", "papermill")
MAGIC = re.compile(r"^\s*[%!].*$", re.M)  # a line of IPython's, which is no Python


def _digest(parts: Iterable[bytes]) -> str:
    total = hashlib.sha256()
    for part in parts:
        total.update(hashlib.sha256(part).digest())
    return total.hexdigest()[:16]


@cache
def imported(source: str) -> frozenset[str]:
    """Return the dotted names under rgkit that a source imports or names in a string.

    Inside functions, too. A name of rgkit itself stands for its home. What is imported from a
    module may be another module or any name in it.

    >>> sorted(imported("import rgkit; from rgkit.data import cifar; rgkit.glue(gap=1)"))
    ['rgkit', 'rgkit.book.report.glue', 'rgkit.data.cifar']
    """
    names: list[str] = []
    with contextlib.suppress(SyntaxError):  # such a cell says so when it is executed
        for node in ast.walk(ast.parse(MAGIC.sub("", source))):
            if isinstance(node, ast.Import):
                names += [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names += [f"{node.module}.{alias.name}" for alias in node.names]
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                names.append(f"{node.value.id}.{node.attr}")
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                names.append(node.value)  # a kind of run names its modules in words
    homes = {f"rgkit.{name}": f"rgkit.{home}.{name}" for name, home in rgkit.HOME_OF.items()}
    return frozenset(homes.get(name, name) for name in names if name.partition(".")[0] == "rgkit")


@cache
def _every_module(package: Path) -> dict[str, Path]:
    """The modules below a package by name; not rgkit itself, which only says where names live."""
    found = {}
    for path in package.rglob("*.py"):
        parts = path.relative_to(package.parent).with_suffix("").parts
        found[".".join(parts).removesuffix(".__init__")] = path
    del found["rgkit"]
    return found


def modules(sources: Iterable[str]) -> dict[str, Path]:
    """Return the modules of rgkit that sources import, and what these import in turn, by name."""
    every, found, todo = _every_module(PACKAGE), dict[str, Path](), list(sources)
    while todo:
        for name in imported(todo.pop()):
            for module in itertools.accumulate(name.split("."), "{}.{}".format):
                if module in every and module not in found:
                    found[module] = every[module]
                    todo.append(every[module].read_text("utf-8"))
    return found


@cache
def _data(package: Path) -> list[Path]:
    """The files of a package that are no code, such as templates."""
    return sorted(p for p in package.rglob("*.*") if p.suffix not in (".py", ".pyc"))


def code(path: Path) -> dict[str, str]:
    """Return each module of rgkit that a notebook imports with the digest of its code.

    That is its text, and the files of the package that it names.
    """
    found = {}
    for name, file in sorted(modules(cells(path)).items()):
        text = file.read_bytes()
        named = [other for other in _data(PACKAGE) if other.name.encode() in text]
        found[name] = _digest([text, *(other.read_bytes() for other in named)])
    return found


def records(path: Path, parameters: Mapping[str, Any]) -> list[Path]:
    """Return the files of a notebook's records, there or not, with their repeats."""
    store, configs = Store(), [cell.config for cell in grid(path, parameters)]
    first = {store.path(config) for config in configs}
    return sorted(first.union(*(store.repeats(config) for config in configs)))


def inputs(path: Path, parameters: Mapping[str, Any]) -> dict[str, str]:
    """Return what an executed notebook depends on, part by part, as digests.

    The parts are its own text, its parameters, each module of rgkit that it imports, the ledger of
    claims, the records of its runs, and the packages that draw and compute.
    """
    runs = records(path, parameters)
    return {
        "notebook": _digest([path.read_bytes()]),
        "parameters": _digest([json.dumps(parameters, sort_keys=True).encode()]),
        **code(path),
        "ledger": _digest(file.read_bytes() for file in LEDGERS),
        "records": _digest(p.read_bytes() if p.is_file() else b"missing" for p in runs),
        "packages": _digest(metadata.version(package).encode() for package in PACKAGES),
    }
