"""A law or a schedule of the reader's own, written as a formula such as ``1 + cos(pi * t)``.

A formula is read into a syntax tree, and whatever is not on the lists below is refused before
anything runs. Nothing of it is ever handed to Python's own `eval`.
"""

from __future__ import annotations

import ast
import functools
import operator
from collections.abc import Callable, Mapping
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rgkit.method.spec import nearest

Floats = NDArray[np.float64]
NAMES = {
    "t": "the part of the run that is done, from 0 up to below 1",
    "step": "optimizer steps since the start of the run",
    "epoch": "the epoch, counted from 0",
    "u": "a fresh U(0, 1) number at each step",
    "n": "a fresh standard normal number at each step",
}
CONSTANTS = {"pi": np.pi, "e": np.e}
# Each with the number of values that it takes. min and max are those of two values.
FUNCTIONS: dict[str, tuple[Callable[..., Any], int]] = {
    **{f.__name__: (f, 1) for f in (np.exp, np.log, np.sqrt, np.sin, np.cos, np.tanh)},
    **{f.__name__: (f, 1) for f in (np.floor, np.ceil, np.sign)},
    "abs": (np.abs, 1),
    "min": (np.minimum, 2),
    "max": (np.maximum, 2),
    "clip": (np.clip, 3),
    "where": (lambda test, yes, no: np.where(test != 0, yes, no), 3),
}
OPERATORS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.USub: operator.neg,
    ast.Mult: operator.mul, ast.Div: operator.truediv, ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod, ast.Pow: operator.pow,
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge,
}  # fmt: skip
NET = 2**18  # points over which a formula with chance is averaged


def _read(node: ast.AST) -> ast.expr:
    """Return a node if all of it is allowed, its numbers in one form; ValueError says what is not.

    Rebuilt rather than checked in place: only what is copied here can reach `_value`.
    """
    match node:
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            whole = float(value).is_integer() and abs(value) < 1e15
            return ast.Constant(int(value) if whole else float(value))
        case ast.Name(id=name) if name in NAMES or name in CONSTANTS:
            return ast.Name(name)
        case ast.Name(id=name) if name in FUNCTIONS:
            raise ValueError(f"{name} takes {FUNCTIONS[name][1]} values in brackets")
        case ast.Name(id=name):
            raise ValueError(f"unknown {name!r}{nearest(name, [*NAMES, *CONSTANTS, *FUNCTIONS])}")
        case ast.UnaryOp(op=op, operand=inner) if type(op) in OPERATORS:
            return ast.UnaryOp(op, _read(inner))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in OPERATORS:
            return ast.BinOp(_read(left), op, _read(right))
        case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in OPERATORS:
            return ast.Compare(_read(left), [op], [_read(right)])
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in FUNCTIONS:
            wanted = FUNCTIONS[name][1]
            if len(args) != wanted:
                raise ValueError(f"{name} takes {wanted} values in brackets, {len(args)} given")
            return ast.Call(ast.Name(name), [_read(arg) for arg in args], [])
        case ast.Call(func=ast.Name(id=name), keywords=[]):
            raise ValueError(f"unknown function {name!r}{nearest(name, list(FUNCTIONS))}")
    words = ", ".join([*NAMES, *CONSTANTS, *FUNCTIONS])
    allowed = f"numbers, + - * / // % **, one of < <= > >= between two values, and {words}"
    raise ValueError(f"{ast.unparse(node)!r} is not allowed; there are {allowed}")


@functools.cache
def read(text: str) -> ast.expr:
    """Return the checked tree of a formula; ValueError repeats it and says what would be right."""
    try:
        return _read(ast.parse(text.strip(), mode="eval").body)
    except (SyntaxError, RecursionError, MemoryError, OverflowError):
        raise ValueError(
            f"formula {text!r} cannot be read; it looks like '1 + cos(pi * t)'"
        ) from None
    except ValueError as error:
        raise ValueError(f"formula {text!r}: {error}") from None


def canonical(text: str) -> str:
    """Return a formula in the one form that enters a run's key.

    >>> canonical("1.0+cos( pi*t )")
    '1 + cos(pi * t)'
    >>> canonical("1 + cso(pi * t)")
    Traceback (most recent call last):
    ValueError: formula '1 + cso(pi * t)': unknown function 'cso'; did you mean 'cos'?
    """
    return ast.unparse(read(text))


def used(text: str) -> set[str]:
    """Return which of `NAMES` a formula has in it.

    >>> sorted(used("where(t < 0.5, 1, 2 * u)"))
    ['t', 'u']
    """
    return {node.id for node in ast.walk(read(text)) if isinstance(node, ast.Name)} & set(NAMES)


def chance(text: str) -> bool:
    """Return whether a formula has random numbers in it, so that two seeds give other values."""
    return bool(used(text) & {"u", "n"})


def _value(node: ast.expr, known: Mapping[str, Floats]) -> Any:
    match node:
        case ast.Constant(value=value):
            return np.float64(value)  # type: ignore[arg-type]  # `_read` let numbers through
        case ast.Name(id=name):
            return known[name] if name in known else np.float64(CONSTANTS[name])
        case ast.UnaryOp(op=op, operand=inner):
            return OPERATORS[type(op)](_value(inner, known))
        case ast.BinOp(left, op, right) | ast.Compare(left, [op], [right]):
            # Times 1, because a comparison is a truth.
            return OPERATORS[type(op)](_value(left, known), _value(right, known)) * np.float64(1)
        case ast.Call(func=ast.Name(id=name), args=args):
            return FUNCTIONS[name][0](*(_value(arg, known) for arg in args))
    raise AssertionError(node)


def evaluate(text: str, **known: Floats) -> Floats:
    """Return the values of a formula, [*shape], where its names have the values given, [*shape].

    Raises ValueError where one is below 0, because such a weight or rate would climb the loss, or
    is not a finite number; it names the first place.

    >>> evaluate("1 - t", t=np.array([0.0, 0.25])).tolist()
    [1.0, 0.75]
    """
    with np.errstate(all="ignore"):
        values = np.asarray(_value(read(text), known), np.float64)
    shape = np.broadcast_shapes(values.shape, *(np.shape(v) for v in known.values()))
    values = np.broadcast_to(values, shape)
    bad = np.argwhere(~(np.isfinite(values) & (values >= 0)))
    if len(bad):
        at = tuple(bad[0])
        place = ", ".join(f"{n} = {v[at]:g}" for n, v in known.items() if n in used(text))
        why = "which would climb the loss; max(0, ...) keeps it from that"
        why = why if np.isfinite(values[at]) else "which is not a finite number"
        raise ValueError(f"formula {text!r} is {values[at]:g} at {place or 'every step'}, {why}")
    return values


@functools.cache
def _normals() -> Floats:
    """`NET` numbers that divide the normal distribution evenly, in rising order."""
    exact = NormalDist()
    half = np.array([exact.inv_cdf((i + 0.5) / NET) for i in range(NET // 2)])
    return np.concatenate([half, -half[::-1]])


@functools.cache
def moments(text: str, epochs: int, per_epoch: int) -> tuple[float, float]:
    """Return the mean and the second moment over a run of a formula with chance in it.

    They are averages over a fixed net of `NET` points that fills steps, u and n evenly, good to
    about three digits; of the normal distribution it has no more than 4.6 standard deviations.

    >>> [round(m, 4) for m in moments("u", 10, 79)]
    [0.5, 0.3333]
    """
    steps, wanted = epochs * per_epoch, used(text)
    at = np.arange(NET) * steps // NET
    # Multiples of two numbers that no small fraction comes near: Roberts' sequence R2.
    place = np.arange(NET) + 0.5
    u, v = (place * 0.7548776662466927) % 1, (place * 0.5698402909980532) % 1
    known = {"t": at / steps, "step": at.astype(float), "epoch": (at // per_epoch).astype(float)}
    known |= {"u": u} if "u" in wanted else {}
    known |= {"n": _normals()[(v * NET).astype(int)]} if "n" in wanted else {}
    values = evaluate(text, **known)
    return float(values.mean()), float((values**2).mean())
