"""The house: which room may use which, and how large it may become. `make lint` runs this."""

from __future__ import annotations

import ast
import functools
import io
import subprocess
import sys
import tokenize
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Each may use those before it, and itself.
ROOMS = ("method", "data", "models", "runs", "train", "tasks", "stats", "figures", "book")
NO_TORCH = ("method", "runs", "stats", "figures", "book")
# What may not grow; lower them when it shrinks.
CORE_MODULES, CORE_LINES, LINES, LONGEST, FLOORS = 45, 5_794, 8_028, 250, 12


def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name."""
    found = {}
    for path in sorted((ROOT / "rgkit").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@functools.cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def lines(path: Path) -> int:
    """How many lines have code in them: no blank ones, no comments, no docstrings."""
    said = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            match node.body:
                case [ast.Expr(value=ast.Constant(value=str())) as first, *_]:
                    said.update(range(first.lineno, (first.end_lineno or 0) + 1))
    blank = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
    code = set()
    for token in tokenize.generate_tokens(io.StringIO(path.read_text()).readline):
        if token.type not in blank | {tokenize.ENDMARKER}:
            code.update(range(token.start[0], token.end[0] + 1))
    return len(code - said)


@functools.cache
def imports() -> dict[str, set[str]]:
    """Which modules each one imports, those inside of functions among them."""
    known, found = modules(), {}
    for name, path in known.items():
        used = set()
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Import):
                used |= {one.name for one in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                inside = {f"{node.module}.{one.name}" for one in node.names} & set(known)
                used |= inside or {node.module}
        found[name] = (used & set(known)) - {name}
    return found


def room(name: str) -> str:
    return f"{name}.".split(".")[1]


def core(name: str) -> bool:
    return room(name) not in ("chapters", "bench")


def test_imports_point_down_the_list_of_rooms():
    for name, used in imports().items():
        for other in used:
            here, there = room(name), room(other)
            if not there:  # rgkit itself, which only says where names live
                continue
            if here in ROOMS:
                allowed = ROOMS[: ROOMS.index(here) + 1]
            elif here == "chapters":
                allowed = (*ROOMS[: ROOMS.index("book")], "chapters")
            else:  # the command line, and the bench, which no room uses
                allowed = (
                    *ROOMS,
                    *({"cli": ("chapters", "bench"), "bench": ("bench",)}.get(here, ())),
                )
            assert there in allowed, f"{name} imports {other}"


def test_no_cycle_and_few_floors():
    """A module stands one floor above the highest that it imports."""
    floors: dict[str, int] = {}

    def floor(name: str, above: tuple[str, ...] = ()) -> int:
        assert name not in above, f"a cycle: {' -> '.join([*above, name])}"
        if name not in floors:
            used = imports()[name]
            floors[name] = 1 + max((floor(other, (*above, name)) for other in used), default=0)
        return floors[name]

    assert max(map(floor, modules())) <= FLOORS


def test_no_module_uses_a_private_name_of_another():
    for name, path in modules().items():
        known = {one.rpartition(".")[2] for one in imports()[name]}
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("rgkit"):
                private = [one.name for one in node.names if one.name.startswith("_")]
                assert not private, f"{name} imports {private}"
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                own = node.value.id in known and node.attr.startswith("_")
                assert not own or node.attr.startswith("__"), f"{name}: {ast.unparse(node)}"


def test_files_are_read_and_written_as_utf8_whatever_the_locale():
    for path in modules().values():
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                name, words = node.func.attr, [ast.unparse(a) for a in (*node.args, *node.keywords)]
                text = name in ("read_text", "write_text")
                text |= name == "open" and not any("b" in word for word in words[:1])
                own = ast.unparse(node.func) in ("Image.open", "os.open")
                assert own or not text or any("utf-8" in w for w in words), f"{path}: {node.lineno}"


def test_it_is_small_and_does_not_grow():
    """An addition that is worth its lines raises a limit, to the new count, in the same commit."""
    sizes = {name: lines(path) for name, path in modules().items()}
    inside = [count for name, count in sizes.items() if core(name) and count]
    longest = max(sizes, key=sizes.__getitem__)
    for what, count, limit in (
        ("CORE_MODULES", len(inside), CORE_MODULES),
        ("CORE_LINES", sum(inside), CORE_LINES),
        ("LINES", sum(sizes.values()), LINES),
        (f"LONGEST ({longest})", sizes[longest], LONGEST),
    ):
        assert count <= limit, f"{what}: {count} now, {limit} allowed at the top of {__file__}"


def test_what_reads_records_needs_no_torch():
    names = [name for name in modules() if room(name) in NO_TORCH]
    code = f"import sys, {', '.join(names)}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("False\n", "")


def test_a_bare_machine_plans_and_trains_with_torch_numpy_and_pandas_alone():
    """As README.md promises: the packages that make pages cannot be imported here."""
    code = """
import sys
for name in ("jinja2", "yaml", "scipy", "sklearn", "matplotlib", "seaborn", "IPython", "papermill"):
    sys.modules[name] = None
from rgkit.cli import main
sys.exit(main(["plan", "--only", "csgd-table4"]) or
         main(["run", "--plan", "--profile", "smoke", "--only", "rg-fig3", "--time-limit", "0"]))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "not begun, 0 failed" in done.stdout
