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
from typing import Any, ClassVar, TypeVar

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


def number(default: float, least: float = 0, most: float = math.inf) -> Any:
    """Return a field of a `Spec` for a number from `least` to `most`, which is checked."""
    return dataclasses.field(default=default, metadata={"range": (least, most)})


def one_of(default: str, *others: str) -> Any:
    """Return a field of a `Spec` for one of some words, which is checked."""
    return dataclasses.field(default=default, metadata={"words": (default, *others)})


@dataclasses.dataclass(frozen=True)
class Spec:
    """Base of everything that is written as ``name(value, ...)``.

    The name is that of the class, ``late_drop`` for LateDrop, unless the class states another.
    """

    name: ClassVar[str] = ""

    def __init_subclass__(cls) -> None:
        if "name" not in vars(cls):
            cls.name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", cls.__name__).lower()

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if "words" in field.metadata:
                self.choose(**{field.name: field.metadata["words"]})
            if "range" in field.metadata:
                low, high = field.metadata["range"]
                wanted = f"{low:g} or more" if high == math.inf else f"from {low:g} to {high:g}"
                self.require(low <= value <= high, f"{field.name}={value!r} given; {wanted}")

    def __str__(self) -> str:
        fields = [(f, getattr(self, f.name)) for f in dataclasses.fields(self)]
        return f"{self.name}({', '.join(_literal(v) for _, v in fields)})" if fields else self.name

    def require(self, good: bool, wanted: str) -> None:
        """Raise ValueError, which repeats the text and says what would do, unless all is good."""
        if not good:
            raise ValueError(f"{self}: {wanted}")

    def choose(self, **choices: Iterable[str]) -> None:
        """Require that values are among their choices; ValueError names the nearest right one."""
        for name, known in choices.items():
            value = getattr(self, name)
            if value not in known:
                raise ValueError(f"{self}: {name}={value!r} given{nearest(str(value), [*known])}")


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
