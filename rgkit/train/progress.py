"""How long runs take, and how far they are."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterable

from rgkit.runs.config import Config, Trained
from rgkit.runs.records import Record

PAUSE = 60.0  # seconds between two lines while nothing ends
# How many times as long float32 takes on a CPU without AVX-512 as bfloat16 on one with it, for
# resnet8(16): 123 and 56 ms for 128 images, the first with ONEDNN_MAX_CPU_ISA=AVX2 on one machine.
FLOAT32 = 2.2
# Of each arithmetic the other, and how many times as long it takes itself.
OTHERS = {"float32": ("bfloat16", FLOAT32), "bfloat16": ("float32", 1 / FLOAT32)}


def cost(config: Config) -> float:
    """Return the images that a run trains on, and a third of those it is measured on.

    A training step is three passes over the network, a test is one: a run's time is in proportion.
    """
    if not isinstance(config, Trained):
        return 1.0
    measured = config.source.sizes[1] + config.validation
    return config.epochs * (config.trained_on + measured / 3)


def clock(seconds: float | None) -> str:
    """Return seconds as a person would say them.

    >>> clock(42), clock(3000), clock(9000), clock(None)
    ('42 s', '50 min', '2.5 h', '?')
    """
    if seconds is None:
        return "?"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


class Estimator:
    """Seconds that a run will take, learned from the records of runs like it.

    Parameters
    ----------
    records : of any kind
    device : str, optional
        Learn from the records of this device alone.
    here : in which arithmetic a run would take place; by default in its config's
        Where no record of that arithmetic is known, those of the other are the next best.
    """

    def __init__(
        self,
        records: Iterable[Record],
        device: str | None = None,
        here: Callable[[Trained], str] = lambda config: config.precision,
    ) -> None:
        self.here = here
        rates: dict[tuple[str, ...], list[float]] = {}
        for record in records:
            if record.status == "finished" and device in (None, record.source.get("device")):
                rate = record.source["seconds"] / cost(record.config)
                rates.setdefault(self.kind(record.config, record.arithmetic), []).append(rate)
        self.rates = {kind: statistics.median(values) for kind, values in rates.items()}
        self.live: dict[tuple[str, ...], tuple[float, float]] = {}

    def kind(self, config: Config, arithmetic: str = "") -> tuple[str, ...]:
        """Return what runs of one speed have in common, the arithmetic at the end."""
        if isinstance(config, Trained):
            return (config.task, config.model, config.data, arithmetic or self.here(config))
        return (config.task, getattr(config, "model", ""))

    def learn(self, config: Config, part: float, seconds: float) -> None:
        """Take in that `part` of a run has just taken so many seconds; this outweighs records."""
        kind = self.kind(config)
        work, spent = self.live.get(kind, (0.0, 0.0))
        work, spent = self.live[kind] = (work + part * cost(config), spent + seconds)
        self.rates[kind] = spent / work

    def seconds(self, config: Config) -> float | None:
        """Return the estimate for one core or one GPU, or None where no run like it is known."""
        *alike, used = kind = self.kind(config)
        other, times = OTHERS.get(used, ("", 1.0))
        for known, factor in ((kind, 1.0), ((*alike, other), times)):
            if known in self.rates:
                return factor * self.rates[known] * cost(config)
        return None


class Progress:
    """What is done, what is under way and how long the rest will take, on the standard error.

    A line at the start, one for each run that ends, and one a minute.

    Parameters
    ----------
    todo : the configs to be run
    estimate : Estimator
    jobs : int
        Runs at the same time.
    show : bool
        Whether anything is printed.
    """

    def __init__(
        self, todo: list[Config], estimate: Estimator, jobs: int = 1, show: bool = False
    ) -> None:
        self.estimate, self.jobs, self.show = estimate, jobs, show
        self.parts: dict[Config, float] = dict.fromkeys(todo, 0.0)
        self.heard: dict[Config, float] = {}  # when a run last said how far it is
        self.ended, self.spoke, self.waits = 0, 0.0, False
        data = ", ".join(sorted({c.data for c in todo if isinstance(c, Trained)}) or ["no data"])
        self._say(f"{len(todo)} runs on {data}, {jobs} at a time")

    def _say(self, text: str) -> None:
        self.spoke = time.monotonic()
        if self.show:
            print(f"{text}; {self.left()}", file=sys.stderr, flush=True)

    def _hear(self, config: Config, part: float) -> None:
        """Learn from how far a run is; its first word says only where it began."""
        now, more = time.monotonic(), part - self.parts[config]
        if config in self.heard and more > 0:
            self.estimate.learn(config, more, now - self.heard[config])
        self.heard[config], self.parts[config] = now, part

    def tell(self, config: Config, part: float, loss: float | None = None) -> None:
        """So much of a run is done, with this training loss; the first call says how it began."""
        self._hear(config, part)
        if self.heard[config] - self.spoke > PAUSE:
            done = sum(cost(c) * p for c, p in self.parts.items()) / sum(map(cost, self.parts))
            latest = "" if loss is None else f"; latest loss {loss:.3g}"
            self._say(f"{100 * done:.0f} % of {len(self.parts)} runs{latest}")

    def end(self, config: Config, how: str, whole: bool = True) -> None:
        """A run has ended; `how` says in what way.

        One that diverged or failed was not run as a whole: its speed teaches nothing.
        """
        if not whole:
            self.heard.pop(config, None)
        self._hear(config, 1.0)
        self.ended += 1
        self._say(f"[{self.ended}/{len(self.parts)}] {config.brief()}: {how}")

    def drop(self, config: Config) -> None:
        """A run will not be taken up."""
        del self.parts[config]

    def wait(self, runs: int) -> None:
        """Nothing is left but so many runs that another process is at."""
        if time.monotonic() - self.spoke > PAUSE or not self.waits:
            self.waits = True
            self._say(f"{runs} runs are another process's, waiting for them")

    def remaining(self) -> tuple[float, int]:
        """Return the seconds until the runs of known kinds are done, and how many are of others."""
        left = {c: self.estimate.seconds(c) for c, part in self.parts.items() if part < 1.0}
        known = [(1 - self.parts[c]) * whole for c, whole in left.items() if whole is not None]
        return max(sum(known) / self.jobs, *known, 0.0), len(left) - len(known)

    def left(self) -> str:
        """Return what is left in words; runs of a kind that was never timed are only counted."""
        seconds, unknown = self.remaining()
        if not unknown:
            return f"about {clock(seconds)} to go"
        known = f"about {clock(seconds)} and " if seconds else ""
        return f"{known}{unknown} run{'s' * (unknown > 1)} of a speed not known yet to go"
