"""The whole book, built once for all tests that look at it."""

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from filelock import FileLock

if TYPE_CHECKING:
    from rgkit.runs.config import Trained
    from rgkit.train.loop import Outcome

# Before torch is imported, here and in the kernels of notebooks: nets this small lose time to a
# second thread, and many times more where two test processes share two cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True)
def nothing_is_left_behind() -> Iterator[None]:
    """Close what a test has drawn, and set back the threads that it has asked for.

    pyplot keeps every figure, and warns at the twentieth; a warning is an error here, and which
    tests share a process is decided anew each time. A second thread makes small nets far slower.
    """
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


@dataclass(frozen=True)
class Built:
    """A finished build: exit status, the pages of the table of contents, and where things are."""

    status: int
    pages: tuple[str, ...]
    html: Path
    executed: Path

    @property
    def notebooks(self) -> list[str]:
        return [page for page in self.pages if page.startswith("notebooks/")]


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The book as `make book` makes it, in a folder of its own; built once by the first process.

    (Not by marks of pytest-xdist, which pytest 9.2 does not obey.)
    """
    from rgkit.book import build

    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # which all processes share
    output, status = folder / "book" / "_build", folder / "book-status"
    with FileLock(folder / "book-lock"):
        if not status.is_file():
            status.write_text(str(build.build(output=output, jobs=2)))
    return Built(
        int(status.read_text()), tuple(build.toc_pages()), output / "html", output / "executed"
    )


@pytest.fixture
def resumed(tmp_path: Path) -> "Callable[[Trained], Outcome]":
    """What comes of a run that stops after its first epoch, and of another that takes it up.

    Through the file of a checkpoint; and what else draws numbers in between decides nothing.
    """
    import torch

    from rgkit.train.loop import Training

    def run(config: "Trained") -> "Outcome":
        first = Training(config, "cpu")
        first.advance()
        torch.save(first.state(), tmp_path / "first.pt")
        torch.manual_seed(123)
        rest = Training(config, "cpu")
        rest.load(torch.load(tmp_path / "first.pt", weights_only=True))
        while not rest.over:
            rest.advance()
        return rest.outcome

    return run
