"""Every notebook trains and runs from its first line to its last at profile smoke."""

from __future__ import annotations

import json
import math
import re

import pytest

from rgkit.book import build
from rgkit.book.notebook import grid
from rgkit.book.report import SOURCE_MIME, VERDICT_MIME, glued, hide_unmeasured
from rgkit.book.scorecard import outputs
from rgkit.runs.records import default_root


@pytest.fixture(scope="module")
def smoked(tmp_path_factory):
    """Every notebook executed at smoke, with nothing recorded: what CI knows of training."""
    executed = tmp_path_factory.mktemp("smoke")
    before = set(default_root().rglob("*.json"))
    failed = build.execute_all(build.book_notebooks(), executed, {"profile": "smoke"}, 2)
    assert set(default_root().rglob("*.json")) == before, "a smoke test left records"
    pages = {build.page_of(path): path for path in build.book_notebooks()}
    return failed, {page: json.loads((executed / f"{page}.ipynb").read_text()) for page in pages}


def test_every_notebook_runs(smoked):
    failed, notebooks = smoked
    assert failed == {}
    assert len(notebooks) >= 4
    for page, notebook in notebooks.items():
        code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
        assert all(cell["execution_count"] for cell in code), page


def test_smoke_is_never_a_result(smoked):
    for page, notebook in smoked[1].items():
        verdicts = list(outputs(notebook, VERDICT_MIME))
        if not page.endswith("forensics"):  # which collects what other pages have measured
            assert verdicts, f"{page} has no verdict"
        assert {entry["verdict"] for entry in verdicts} <= {"not measured"}, page
        assert {entry["interval"] for entry in verdicts} <= {None}, page
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


def test_every_run_of_a_figure_is_trained_and_its_prose_has_every_number(smoked):
    seen = 0
    for page, notebook in smoked[1].items():
        runs = grid(build.ROOT / f"{page}.ipynb", {"profile": "smoke"})
        figure = page.rpartition("/")[2].startswith(("rg-", "ld-"))
        if not figure or len(runs) < 3:  # rg-cost times steps, it has no curves
            continue
        seen += 1
        shown = json.dumps(notebook["cells"])
        told = re.findall(r"(\d+) runs: (\d+) from records, (\d+) trained now", shown)
        assert all(old == "0" and new == every for every, old, new in told), page
        assert sum(int(every) for every, _, _ in told) >= len(runs), page  # a page may tune, too
        prose = "".join(
            "".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "markdown"
        )
        wanted, numbers = set(re.findall(r"\{glue:text\}`(\w+)", prose)), glued(notebook)
        assert wanted, page
        assert wanted <= set(numbers), (page, wanted - set(numbers))
        for name in wanted:
            text = numbers[name]
            assert text[0] in "'\"" or math.isfinite(float(text)), (page, name)
    assert seen >= 19


def test_no_number_takes_the_name_of_another(smoked):
    """The later would stand in the earlier's sentence, and nobody would be told."""
    for page, notebook in smoked[1].items():
        outputs = [o for cell in notebook["cells"] for o in cell.get("outputs", [])]
        about = [o["metadata"].get("scrapbook") for o in outputs if "metadata" in o]
        names = [stored["name"] for stored in about if stored]
        assert len(set(names)) == len(names), (page, names)


def test_readers_see_no_number_of_a_smoke_test(smoked):
    """Neither in prose nor in a table; the figures are stamped."""
    for page, notebook in smoked[1].items():
        shown = hide_unmeasured(json.loads(json.dumps(notebook)))
        text = json.dumps(shown["cells"])
        assert "{glue:text}" not in text, page
        assert "dataframe" not in text, page
        numbers = glued(notebook)
        prose = "".join(c["source"] for c in shown["cells"] if c["cell_type"] == "markdown")
        assert not numbers or "*not measured*" in prose, page


def test_a_missing_number_is_called_missing_and_the_others_are_kept(smoked):
    page = next(page for page in smoked[1] if page.endswith("rg-nesterov"))
    notebook = json.loads(json.dumps(smoked[1][page]).replace('"smoke"', '"quick"'))
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            if output.get("metadata", {}).get("scrapbook", {}).get("name") == "excess_low":
                output["data"]["application/papermill.record/text/plain"] = "nan"
    before = json.dumps(notebook["cells"])
    assert before.count("{glue:text}`excess_low:+.2f`") == 1
    after = json.dumps(hide_unmeasured(notebook)["cells"])
    assert after.count("{glue:text}") == before.count("{glue:text}") - 1
    assert after.count("*not measured*") == 1
    assert "dataframe" in after
