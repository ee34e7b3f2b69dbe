"""Read notebooks without a kernel: their parameters, their grid, whether they keep the grammar."""

from __future__ import annotations

import ast
import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rgkit.method.spec import nearest
from rgkit.runs.grid import Grid

MAX_CODE_LINES, MAX_PARAMETER_LINES = 10, 12
ROOT = Path(__file__).resolve().parents[2]


class UsageError(ValueError):
    """A wrong name, type or value given by the user; the command line exits with status 2."""


def find() -> list[Path]:
    """Return every notebook of the checkout, in the order of their paths."""
    every = sorted((ROOT / "notebooks").rglob("*.ipynb"))
    return [path for path in every if ".ipynb_checkpoints" not in path.parts]


def checkout() -> None:
    """Require that this package lies in a checkout of the book; UsageError in one of a wheel."""
    if not (ROOT / "_toc.yml").is_file():
        raise UsageError(
            f"{ROOT} is no checkout of the book: clone its repository, and there pip install -e ."
        )


def named(text: str) -> Path:
    """Return the notebook at a path or, where nothing is, the one of that name in the checkout.

    >>> named("discarded-scheduler").relative_to(ROOT).as_posix()
    'notebooks/critique/discarded-scheduler.ipynb'
    """
    path = Path(text)
    if path.is_dir():
        raise UsageError(f"{text!r} given, which is a folder; a notebook by name or path")
    known = [] if path.exists() else [other for other in find() if other.stem == text]
    return known[0] if known else path


@dataclass(frozen=True)
class Parameter:
    """One line of the parameters cell: ``name: kind = default  # help``."""

    name: str
    kind: str
    default: Any
    help: str

    @property
    def needed(self) -> list[Any]:
        """What has to be among its values: a page compares the first two arms that it has."""
        return self.default[:2] if self.name == "arms" else []


def _read(path: Path) -> dict[str, Any]:
    """A notebook, with the source of each cell as one text, and with its tags."""
    try:
        notebook: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        for cell in notebook["cells"]:
            cell["source"] = "".join(cell["source"])
            cell["tags"] = cell.get("metadata", {}).get("tags", [])
    except FileNotFoundError:
        hint = nearest(path.stem, [other.stem for other in find()])
        raise UsageError(f"{path}: there is no such notebook{hint}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path}: not a readable notebook ({error})") from None
    return notebook


def cells(path: Path, tag: str | None = None) -> list[str]:
    """Return the sources of the code cells that carry a tag (of all, if none is given)."""
    code = [cell for cell in _read(path)["cells"] if cell["cell_type"] == "code"]
    return [cell["source"] for cell in code if tag is None or tag in cell["tags"]]


def _only(path: Path, tag: str) -> str:
    found = cells(path, tag)
    if len(found) != 1:
        raise UsageError(f"{path}: has {len(found)} cells tagged {tag!r}; it needs exactly one")
    return found[0]


def parameters(path: Path) -> dict[str, Parameter]:
    """Return the parameters of a notebook by name, from its cell tagged ``parameters``."""
    return _declared(_only(path, "parameters"), path)


def _declared(source: str, path: Path) -> dict[str, Parameter]:
    lines, found = source.splitlines(), {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
            name, kind = node.target.id, ast.unparse(node.annotation)
            comment = lines[(node.end_lineno or 1) - 1].partition("#")[2].strip()
            found[name] = Parameter(name, kind, ast.literal_eval(node.value), comment)
        else:
            raise UsageError(
                f"{path}: line {node.lineno} of the parameters cell is not `name: type = value`"
            )
    return found


def _fits(value: Any, kind: str) -> bool:
    """Say whether a value is of the type that an annotation names, such as ``list[float]``."""
    base, _, inner = kind.removesuffix("]").partition("[")
    if inner and isinstance(value, list):
        return base == "list" and all(_fits(item, inner) for item in value)
    return type(value).__name__ in (base, "int" if base == "float" else base)


def _typed(raw: Any, kind: str) -> Any:
    """Return a value of a type, or what text says; ValueError or SyntaxError if it does not fit."""
    value = raw
    if kind == "str" and isinstance(raw, str):
        value = raw.strip("\"'")
    elif isinstance(raw, str):
        value = ast.literal_eval({"true": "True", "false": "False"}.get(raw.lower(), raw))
    if not _fits(value, kind):
        raise ValueError
    return value


def check_parameters(path: Path, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the given parameters with text read as numbers, lists and so on, or refuse them.

    Raises
    ------
    UsageError
        For an unknown name (with the nearest right one), a value of the wrong type, or one that
        the notebook's grid cell refuses. No kernel is started.
    """
    values = _checked(parameters(path), given, path)
    grid(path, values)
    return values


def injected(executed: Sequence[str]) -> dict[str, Any]:
    """Return what plain papermill has injected into a notebook, of whose cells these have run.

    Raises UsageError for what `check_parameters` refuses but for the grid, which is made already.

    >>> injected(["lr: float = 0.1", "# Parameters\\nlr = 0.2\\n", "import rgkit"])
    {'lr': 0.2}
    >>> injected(["lr: float = 0.1", "# Parameters\\nrl = 0.2\\n"])
    Traceback (most recent call last):
    rgkit.book.notebook.UsageError: this notebook: unknown parameter 'rl'; did you mean 'lr'?
    """
    places = [n for n, cell in enumerate(executed) if cell.startswith("# Parameters\n")]
    if not places:
        return {}
    given, here = {}, Path("this notebook")
    for node in ast.parse(executed[places[0]]).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            given[node.targets[0].id] = ast.literal_eval(node.value)
    known = _declared(executed[places[0] - 1], here)
    for name in given.keys() & known.keys():
        # papermill's -p hands lists on as text, and the cells have seen that.
        if isinstance(given[name], str) and known[name].kind != "str":
            raise _mistyped(here, name, given[name], known[name])
    return _checked(known, given, here)


def _mistyped(path: Path, name: str, raw: Any, wanted: Parameter) -> UsageError:
    return UsageError(
        f"{path.name}: parameter {name}={raw!r} given; it is of type {wanted.kind}, such as "
        f"{wanted.default!r}"
    )


def _checked(
    known: Mapping[str, Parameter], given: Mapping[str, Any], path: Path
) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, raw in given.items():
        if name not in known:
            raise UsageError(f"{path.name}: unknown parameter {name!r}{nearest(name, list(known))}")
        wanted = known[name]
        try:
            values[name] = _typed(raw, wanted.kind)
        except (ValueError, SyntaxError):
            raise _mistyped(path, name, raw, wanted) from None
        if name == "targets" and not values[name]:
            raise UsageError(f"{path.name}: targets={raw!r} given; one or more")
        for needed in known[name].needed:
            if needed not in values[name]:
                raise UsageError(
                    f"{path.name}: {name}={raw!r} given; {needed!r} has to be among them"
                )
    rates, texts = values.get("rates"), [p for p in known.values() if p.kind == "list[str]"]
    if isinstance(rates, dict):  # by schedule, say: by what the page's other parameters name
        names = [w for p in texts for w in values.get(p.name, p.default)]
        for key in rates.keys() - {*known["rates"].default, *names}:
            hint = nearest(str(key), [*known["rates"].default])
            raise UsageError(f"{path.name}: rates={rates!r} given; unknown {key!r}{hint}")
    return values


def grid(path: Path, given: Mapping[str, Any] | None = None) -> Grid:
    """Return the runs of a notebook: its parameters and grid cells run alone, in this process.

    Of a notebook from elsewhere a line says so before.

    Raises UsageError, naming the notebook, for what these cells refuse.
    """
    space, first, second = dict[str, Any](), _only(path, "parameters"), _only(path, "grid")
    if not path.resolve().is_relative_to(ROOT):
        print(f"{path}: its cells `parameters` and `grid` are executed", file=sys.stderr)
    exec(compile(first, str(path), "exec"), space)
    space.update(given or {})
    try:
        exec(compile(second, str(path), "exec"), space)
    except (ValueError, TypeError, LookupError, ArithmeticError, MemoryError) as error:
        plain = isinstance(error, ValueError | TypeError)
        said = str(error) if plain else f"{type(error).__name__}: {error}"
        raise UsageError(f"{path.name}: {said}") from error
    found = space.get("grid")
    if not isinstance(found, Grid):
        raise UsageError(f"{path}: its grid cell does not set `grid` to a grid of runs")
    return found


def problems(path: Path) -> list[str]:
    """Return what a committed notebook may not be: the grammar of the book.

    No outputs, no `def` or `class`, code cells of at most 10 lines, one parameters and one grid
    cell, and more prose than code.
    """
    notebook = _read(path)
    found, code_lines, words = [], 0, 0
    for number, cell in enumerate(notebook["cells"]):
        source, where = cell["source"], f"{path}: cell {number}"
        if cell["cell_type"] == "markdown":
            words += len(source.split())
        if cell["cell_type"] != "code":
            continue
        lines = [line for line in source.splitlines() if line.strip()]
        code_lines += len(lines)
        limit = MAX_PARAMETER_LINES if "parameters" in cell["tags"] else MAX_CODE_LINES
        if len(lines) > limit:
            found.append(f"{where} has {len(lines)} lines; {limit} at most")
        if cell.get("outputs") or cell.get("execution_count") is not None:
            found.append(f"{where} has outputs; notebooks are committed without")
        if re.search(r"^\s*(def|class|async def)\s|\blambda\b", source, re.M):
            found.append(f"{where} defines something; it belongs in rgkit")
    if "papermill" in notebook.get("metadata", {}):
        found.append(f"{path}: has papermill's metadata; commit the notebook that was not executed")
    if words < 6 * code_lines:
        found.append(f"{path}: {words} words for {code_lines} lines of code; ten a line is the aim")
    try:
        parameters(path)
        grid(path)
    except UsageError as error:
        found.append(str(error))
    return found
