"""The whole book, built once for all tests that look at it."""

import os
from dataclasses import dataclass
from pathlib import Path

import pytest

# Before torch is imported, here and in the kernels of notebooks: nets this small lose time to a
# second thread, and many times more where two test processes share two cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")


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
    """The book as `make book` makes it, in a folder of its own.

    Tests that use it carry ``pytest.mark.xdist_group("book")``: under ``--dist loadgroup`` one
    process runs them all and the book is built once.
    """
    from rgkit import book

    output = tmp_path_factory.mktemp("book") / "_build"
    status = book.build(output=output, jobs=2)
    return Built(status, tuple(book.toc_pages()), output / "html", output / "executed")
