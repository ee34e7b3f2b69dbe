"""A page is out of date when what it is made of has changed, and no other page is."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

import rgkit
from rgkit.book import build, kernels

PAGES = build.book_notebooks()


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A copy of the package, to be edited, in the place of ours."""
    copy = tmp_path / "rgkit"
    shutil.copytree(build.PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(build, "PACKAGE", copy)
    return copy


def edited(file: Path) -> dict[str, list[str]]:
    """The modules that are changed for each page when a file is; pages without any left out."""
    before = {path.stem: build.code(path) for path in PAGES}
    file.write_bytes(file.read_bytes() + b"\n")
    after = {path.stem: build.code(path) for path in PAGES}
    changed = {
        page: [name for name in parts if parts[name] != before[page].get(name)]
        for page, parts in after.items()
    }
    return {page: names for page, names in changed.items() if names}


@pytest.mark.parametrize(
    ("module", "pages"),
    [
        ("chapters.selection", {"selection"}),
        ("chapters.forensics", {"forensics"}),
        ("chapters.concentration", {"csgd-theorem"}),
        ("chapters.quadratic", {"quadratic-laboratory"}),
        ("book.build", set()),
        ("cli", set()),
    ],
)
def test_editing_a_chapter_makes_its_own_pages_out_of_date_and_no_other(package, module, pages):
    found = edited(package.joinpath(*module.split(".")).with_suffix(".py"))
    assert found == {page: [f"rgkit.{module}"] for page in pages}


def test_every_chapter_module_is_somebodys_and_not_everybodys(package):
    imports = {path.stem: set(build.code(path)) for path in PAGES}
    # No page runs the first, and training in ranks imports the second for all.
    other = ("rgkit.chapters.own_classifier", "rgkit.chapters.image_folder")
    for module in build._every_module(package):
        if module.startswith("rgkit.chapters.") and not module.startswith(other):
            pages = [page for page, names in imports.items() if module in names]
            assert pages, f"no notebook uses {module}: it is no chapter's"
            assert len(pages) <= len(PAGES) / 3, f"{len(pages)} pages use {module}: it is a room's"


def test_code_that_is_imported_in_a_function_or_by_a_name_of_rgkit_counts(package):
    """All pages say what they measured; `rgkit.run` trains, and imports that only then."""
    everybody = {path.stem for path in PAGES}
    assert set(edited(package / "book" / "report.py")) == everybody
    assert set(edited(package / "figures" / "style.py")) > {"ld-fig2", "selection"}
    assert {path.stem for path in PAGES if "rgkit.run(" in path.read_text()} <= set(
        edited(package / "train" / "step.py")
    )


def test_a_file_that_a_module_names_counts_with_it(package):
    boxes = edited(package / "book" / "templates" / "verdict.html")
    assert boxes == {path.stem: ["rgkit.book.report"] for path in PAGES}
    assert edited(package / "book" / "templates" / "status.md") == {}
    assert edited(package / "chapters" / "blind.html") == {"rg-fig7": ["rgkit.chapters.blind"]}


def test_magics_and_broken_cells_hide_no_import():
    assert build.imported("%matplotlib inline\nfrom rgkit.data import images") == {
        "rgkit.data.images"
    }
    assert build.imported("import rgkit as") == set()
    assert set(dir(rgkit)) == set(rgkit.HOME_OF)


def test_the_build_says_which_module_has_changed(package, tmp_path, monkeypatch, capsys):
    def execute(tasks, jobs, *, train):
        for task in tasks:
            task.output.parent.mkdir(parents=True, exist_ok=True)
            task.output.write_text(json.dumps({"cells": [], "metadata": {}}))
            yield task.page, ""

    monkeypatch.setattr(kernels, "execute_all", execute)
    paths = [path for path in PAGES if path.stem in ("ld-fig2", "selection", "csgd-theorem")]

    def said() -> dict[str, str]:
        assert build.execute_all(paths, tmp_path / "executed", {}, 2) == {}
        lines = capsys.readouterr().out
        return dict(re.findall(r"^notebooks/\S+/(\S+): (.+)$", lines, re.M))

    assert set(said().values()) == {"executing (new)"}
    assert set(said().values()) == {"up to date"}
    for name in ("chapters/selection.py", "figures/style.py"):
        with (package / name).open("a") as file:
            file.write("\n")
    told = said()
    assert told.pop("selection") == (
        "executing (rgkit.chapters.selection, rgkit.figures.style changed)"
    )
    assert set(told.values()) == {"executing (rgkit.figures.style changed)"}
