"""Every notebook trains and runs from its first line to its last at profile smoke."""

from __future__ import annotations

import json

import pytest

from rgkit import book
from rgkit.report import SOURCE_MIME, VERDICT_MIME
from rgkit.scorecard import outputs
from rgkit.store import default_root


@pytest.fixture(scope="module")
def smoked(tmp_path_factory):
    """Every notebook executed at smoke, with nothing recorded: what CI knows of training."""
    output = tmp_path_factory.mktemp("smoke") / "_build"
    before = set(default_root().rglob("*.json"))
    status = book.build(output=output, profile="smoke", notebooks=book.book_notebooks(), jobs=2)
    assert set(default_root().rglob("*.json")) == before, "a smoke test left records"
    pages = {book.page_of(path): path for path in book.book_notebooks()}
    return status, {
        page: json.loads((output / "executed" / f"{page}.ipynb").read_text()) for page in pages
    }


def test_every_notebook_runs(smoked):
    status, notebooks = smoked
    assert status == 0
    assert len(notebooks) >= 4
    for page, notebook in notebooks.items():
        code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
        assert all(cell["execution_count"] for cell in code), page


def test_smoke_is_never_a_result(smoked):
    for page, notebook in smoked[1].items():
        verdicts = list(outputs(notebook, VERDICT_MIME))
        assert verdicts, f"{page} has no verdict"
        assert {entry["verdict"] for entry in verdicts} == {"not measured"}, page
        assert {entry["interval"] for entry in verdicts} == {None}, page
        (facts,) = outputs(notebook, SOURCE_MIME)
        assert facts["profile"] == "smoke"
        shown = json.dumps(notebook["cells"])
        assert "None of the numbers on this page is a result" in shown, page


def test_the_figures_are_drawn_and_training_really_happened(smoked):
    for page, notebook in smoked[1].items():
        assert list(outputs(notebook, "image/png")), f"{page} has no figure"
    for name in ("rg-fig5-resnet34", "discarded-scheduler"):
        page = next(page for page in smoked[1] if page.endswith(name))
        assert "0 from records" in json.dumps(smoked[1][page]["cells"])
