"""Names with numbers, such as ``uniform(0, 1)``: how configs write laws, schedules and models.

A config is plain data, so it stores text; the text is read once, at the edge, into a frozen
dataclass, and written back in one canonical form so that equal meanings have equal keys.
"""

from __future__ import annotations

import ast
import dataclasses
import difflib
import math
import re
from collections.abc import Iterable
from numbers import Real
from typing import Any, ClassVar, TypeVar, dataclass_transform

T = TypeVar("T", bound="Spec")


def nearest(name: str, names: list[str]) -> str:
    """Return ``; did you mean 'x'?`` for the nearest of `names`, or their list.

    >>> nearest("unifrom", ["uniform", "beta"])
    "; did you mean 'uniform'?"
    """
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; there are: {', '.join(sorted(names))}"


def _literal(value: Any) -> str:
    if isinstance(value, tuple):
        return "(" + ", ".join(map(_literal, value)) + ("," if len(value) == 1 else "") + ")"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return repr(value)


POSITIVE = math.ulp(0.0)  # the least number above 0
BELOW_1 = math.nextafter(1.0, 0.0)  # the largest number below 1
OPEN = {
    (POSITIVE, math.inf): "a positive number",
    (0, BELOW_1): "from 0 up to below 1",
    (POSITIVE, BELOW_1): "between 0 and 1",
}


def number(default: float, least: float = 0, most: float = math.inf, *, added: bool = False) -> Any:
    """Return a field for a finite number from `least` to `most`, a whole one if its default is.

    What is `added` stays out of a run's key while it has its default, see `rgkit.runs.config`.
    """
    usual = f"{least:g} or more" if most == math.inf else f"from {least:g} to {most:g}"
    wanted = OPEN.get((least, most), usual)
    if isinstance(default, int):
        wanted = f"a whole number {'of ' if most == math.inf else ''}{wanted}"
    about = {"range": (least, most, wanted), "added": added}
    return dataclasses.field(default=default, metadata=about)


def one_of(default: str, *others: str) -> Any:
    """Return a field for one of some words."""
    return dataclasses.field(default=default, metadata={"words": (default, *others)})


@dataclass_transform(frozen_default=True)
@dataclasses.dataclass(frozen=True)
class Checked:
    """Base of plain data that cannot change and are checked when they are made.

    Every class below is a frozen dataclass. What a field may be is said where it is declared, by
    `number` or `one_of`, or by a default of True or False; a class that gives the field another
    default need not say it again.
    """

    def __init_subclass__(cls) -> None:
        for field in dataclasses.fields(cls):  # of its base
            own = vars(cls).get(field.name, field)
            if not isinstance(own, dataclasses.Field):
                again = dataclasses.field(default=own, metadata=field.metadata)
                setattr(cls, field.name, again)
        dataclasses.dataclass(frozen=True)(cls)

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            name, value = field.name, getattr(self, field.name)
            kind: Any = type(field.default)
            if kind is bool:
                self.require(isinstance(value, bool), "True or False", name)
            if "words" in field.metadata:
                self.choose(name, field.metadata["words"])
            if "range" in field.metadata:
                least, most, wanted = field.metadata["range"]
                known = isinstance(value, int if kind is int else Real)
                fits = known and not isinstance(value, bool)
                self.require(fits and least <= value <= most, wanted, name)
                finite = abs(value) < 2**53 if kind is int else math.isfinite(value)
                self.require(finite, "a finite number", name)
                object.__setattr__(self, name, kind(value))

    def wrong(self, what: str) -> ValueError:
        """Return the error that says what is wrong."""
        return ValueError(what)

    def require(self, good: bool, wanted: str, name: str = "") -> None:
        """Raise an error unless all is good: it repeats a field by name and says what would do."""
        if not good:
            raise self.wrong((f"{name}={getattr(self, name)!r} given; " if name else "") + wanted)

    def choose(self, name: str, known: Iterable[str]) -> None:
        """Require that a field is among its choices; the error names the nearest right one."""
        value, names = getattr(self, name), list(known)
        if value not in names:
            raise self.wrong(f"{name}={value!r} given{nearest(str(value), names)}")


class Spec(Checked):
    """Base of everything that is written as ``name(value, ...)``.

    The name is that of the class, ``late_drop`` for LateDrop, unless it is given another.
    """

    name: ClassVar[str] = ""

    def __init_subclass__(cls, name: str = "") -> None:
        super().__init_subclass__()
        cls.name = name or re.sub(r"(?<=[a-z])(?=[A-Z])", "_", cls.__name__).lower()

    def __str__(self) -> str:
        fields = [(f, getattr(self, f.name)) for f in dataclasses.fields(self)]
        return f"{self.name}({', '.join(_literal(v) for _, v in fields)})" if fields else self.name

    def wrong(self, what: str) -> ValueError:
        """Return the error, which repeats the text."""
        return ValueError(f"{self}: {what}")


def parse(text: str | Spec, kinds: dict[str, type[T]], what: str) -> T:
    """Read ``name`` or ``name(1, key=2)`` into the class registered under that name.

    Raises
    ------
    ValueError
        If the name is unknown, the text is not a name with literal arguments, or the class
        refuses the arguments. The message repeats the text and names what would be right.
    """
    text = str(text)
    try:
        node = ast.parse(text.strip(), mode="eval").body
        call = node if isinstance(node, ast.Call) else ast.Call(func=node, args=[], keywords=[])
        if not isinstance(call.func, ast.Name):
            raise ValueError("no name")
        args = [ast.literal_eval(a) for a in call.args]
        kwargs = {str(k.arg): ast.literal_eval(k.value) for k in call.keywords}
    except (SyntaxError, ValueError):
        raise ValueError(f"{what} {text!r} is not of the form name or name(number, ...)") from None
    if call.func.id not in kinds:
        raise ValueError(f"unknown {what} {call.func.id!r}{nearest(call.func.id, list(kinds))}")
    kind = kinds[call.func.id]
    try:
        return kind(*args, **kwargs)
    except TypeError:
        names = ", ".join(f"{f.name}={_literal(f.default)}" for f in dataclasses.fields(kind))
        raise ValueError(f"{what} {text!r} does not fit {kind.name}({names})") from None


def registry(base: type[T]) -> dict[str, type[T]]:
    """Return every named subclass of `base` by its name."""
    found: dict[str, type[T]] = {}
    for kind in base.__subclasses__():
        found |= {kind.name: kind} if kind.name else {}
        found |= registry(kind)
    return found
