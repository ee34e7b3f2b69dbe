"""What an executed notebook depends on, part by part: so it is known why a page is out of date.

Of rgkit these are the modules that the notebook imports, and what they import in turn.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import itertools
import json
import re
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import rgkit
from rgkit.book.notebook import cells, grid
from rgkit.runs.records import Store
from rgkit.stats.verdicts import LEDGERS

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
                    todo.append(every[module].read_text())
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
