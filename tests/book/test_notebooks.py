"""Notebooks, plan and command line: the grammar, refused parameters, exit statuses."""

from __future__ import annotations

import csv
import io
import json
import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import papermill
import pytest
import yaml

from rgkit.book import build, notebook, plan, report, scorecard
from rgkit.book.notebook import UsageError, check_parameters, named
from rgkit.cli import main
from rgkit.stats.differences import VERDICTS

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").rglob("*.ipynb"))
FIG5 = ROOT / "notebooks" / "random-gradient" / "rg-fig5-resnet34.ipynb"
WITHOUT_A_CLAIM = {"forensics"}  # it collects what other pages have measured
by_name = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)


def write(path: Path, *cells: tuple[str, str]) -> Path:
    """A notebook of code cells, each a tag (or "") and a source."""
    made = [
        {
            "cell_type": "code", "id": f"c{i}", "source": source, "outputs": [],
            "metadata": {"tags": [tag] if tag else []}, "execution_count": None,
        }
        for i, (tag, source) in enumerate(cells)
    ]  # fmt: skip
    spec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    text = {"cells": made, "metadata": {"kernelspec": spec}, "nbformat": 4, "nbformat_minor": 5}
    path.write_text(json.dumps(text))
    return path


PARAMETERS = ("parameters", 'profile: str = "best"  # how much\ncount: int = 3')
GRID = ("grid", "import rgkit\n\ngrid = rgkit.no_runs(profile)")


def test_there_are_notebooks_and_all_are_in_the_book():
    assert len(NOTEBOOKS) >= 4
    assert set(build.book_notebooks()) == set(NOTEBOOKS)


def test_no_chapter_without_a_result_stands_among_the_results():
    """One that shows a smoke test is under "Not measured yet" until its runs are recorded."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text())
    for part in toc["parts"]:
        for chapter in part["chapters"]:
            path = ROOT / f"{chapter['file']}.ipynb"
            if path.is_file() and part["caption"] != "Not measured yet":
                assert notebook.grid(path).profile != "smoke", path.stem


@by_name
def test_grammar(path):
    assert notebook.problems(path) == []


@by_name
def test_papermill_sees_the_same_parameters(path):
    """Plain papermill must work too; it reads the cell line by line with its own rules."""
    ours = notebook.parameters(path)
    theirs = papermill.inspect_notebook(str(path))
    assert list(theirs) == list(ours)
    assert {n: p["inferred_type_name"] for n, p in theirs.items()} == {
        n: p.kind for n, p in ours.items()
    }
    assert all(p.help for p in ours.values())


@by_name
def test_every_notebook_has_a_profile_a_verdict_and_a_provenance(path):
    source = "\n".join(notebook.cells(path))
    assert notebook.parameters(path)["profile"].default == "best"
    assert ("rgkit.conclude(" in source) == (path.stem not in WITHOUT_A_CLAIM)
    assert notebook.cells(path)[-1].startswith("rgkit.provenance(")


@pytest.mark.parametrize(
    ("cell", "complaint"),
    [
        (("", "def f():\n    pass"), "defines something"),
        (("", "f = lambda x: x"), "defines something"),
        (("", "\n".join("x = 1" for _ in range(11))), "has 11 lines; 10 at most"),
    ],
)
def test_broken_grammar_is_found(tmp_path, cell, complaint):
    path = write(tmp_path / "n.ipynb", PARAMETERS, GRID, cell)
    assert any(complaint in line for line in notebook.problems(path))


def test_outputs_and_missing_cells_are_found(tmp_path):
    path = write(tmp_path / "n.ipynb", PARAMETERS, GRID)
    text = json.loads(path.read_text())
    text["cells"][1]["execution_count"] = 4
    path.write_text(json.dumps(text))
    assert any("has outputs" in line for line in notebook.problems(path))
    path = write(tmp_path / "m.ipynb", PARAMETERS)
    assert any("0 cells tagged 'grid'" in line for line in notebook.problems(path))
    assert main(["check", str(path)]) == 1


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("xyz=3", ["unknown parameter 'xyz'", "there are:", "momenta"]),
        ("protocl=code", ["unknown parameter 'protocl'", "did you mean 'protocol'"]),
        ("seeds=many", ["seeds='many' given", "it is of type int", "such as 0"]),
        ("momenta=0.9", ["momenta='0.9' given", "list[float]"]),
        ("momenta=['x']", ["list[float]"]),
        ("momenta=[1.5]", ["momentum=1.5 given", "from 0 up to below 1"]),
        ("lr=true", ["it is of type float"]),
        ("profile=quik", ["profile='quik' given", "did you mean 'quick'"]),
        ("protocol=papr", ["protocol='papr' given", "did you mean 'paper'"]),
        ("novalue", ["it is name=value"]),
        ("seeds=-2", ["seeds=-2 given", "from 1 to 10,000, or 0"]),
        ("momenta=[]", ["momentum=[] given", "one value or more"]),
        ("momenta=[0.5, 0.5]", ["momentum=[0.5, 0.5] given", "each once"]),
    ],
)
def test_a_wrong_parameter_is_refused_before_a_kernel_starts(given, words, capsys, monkeypatch):
    monkeypatch.setattr(papermill, "execute_notebook", lambda *a, **k: pytest.fail("kernel"))
    assert main(["run", str(FIG5), "-p", given]) == 2
    said = capsys.readouterr().err
    assert all(word in said for word in words), said
    assert said.count("\n") == 1


def test_right_parameters_are_read_as_their_types():
    values = notebook.check_parameters(
        FIG5, {"seeds": "2", "momenta": "[0.5]", "lr": "1", "profile": "smoke", "protocol": "code"}
    )
    assert values == {
        "seeds": 2, "momenta": [0.5], "lr": 1, "profile": "smoke", "protocol": "code",
    }  # fmt: skip
    assert len(notebook.grid(FIG5, values)) == 3 * 3 * 2  # protocols, arms, seeds


RG = [p for p in NOTEBOOKS if p.parent.name == "random-gradient" and len(notebook.grid(p)) > 2]


@pytest.mark.parametrize("path", RG, ids=lambda p: p.stem)
def test_other_parameters_reach_every_run_of_a_figure(path):
    """What a reader asks for with -p: other momenta, fewer seeds, other epochs."""
    given = {"profile": "smoke", "seeds": 2, "epochs": 3}
    momenta = [0.3, 0.9]
    if "momenta" in notebook.parameters(path):
        given["momenta"] = momenta
    if path.stem == "effective-rate":  # which varies the weight decay
        given["momentum"], momenta = 0.3, [0.3]
    cells = notebook.grid(path, given).cells
    assert {cell.config.epochs for cell in cells} == {3}
    assert {cell.config.seed for cell in cells} == {0, 1}
    if given.keys() & {"momenta", "momentum"}:
        assert {cell.config.momentum for cell in cells} == set(momenta)
    else:
        assert path.stem in ("rg-fig4-left", "rg-table1")  # each has momenta in its settings


def test_a_notebook_is_found_by_name_from_anywhere(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["run", "rg-fig6-left", "--help-notebook"]) == 0
    assert "seeds: int" in capsys.readouterr().out


def test_wrong_use_exits_with_2(capsys, tmp_path):
    for verb in ("run", "check"):
        assert main([verb, str(tmp_path / "rg-fig6-lef.ipynb")]) == 2
        said = capsys.readouterr().err
        assert "there is no such notebook; did you mean 'rg-fig6-left'?" in said
    assert main(["run", "rg-fig6-lef"]) == 2
    assert "did you mean 'rg-fig6-left'?" in capsys.readouterr().err
    assert main(["run"]) == 2
    assert main(["plan", "--only", "nothing-like-it"]) == 2
    assert main(["data", "get", "cifar11"]) == 2
    assert "did you mean 'cifar10'" in capsys.readouterr().err
    with pytest.raises(SystemExit) as caught:
        main(["pln"])
    assert caught.value.code == 2


TUNED = [p for p in NOTEBOOKS if "rgkit.crossfit(" in p.read_text()]


@pytest.mark.parametrize("path", TUNED, ids=lambda p: p.stem)
def test_one_seed_is_refused_where_the_others_choose_for_each(path, capsys, monkeypatch):
    monkeypatch.setattr(papermill, "execute_notebook", lambda *a, **k: pytest.fail("kernel"))
    assert main(["run", str(path), "-p", "profile=smoke", "-p", "seeds=1"]) == 2
    assert "seeds=1 given; the others choose for each" in capsys.readouterr().err


def test_a_reader_of_the_output_may_leave_early():
    """As `head` does: no traceback, and no line about a pipe."""
    command = [sys.executable, "-m", "rgkit.cli", "data", "list"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=ROOT, **pipes) as done:
        done.stdout.close()
        assert done.stderr.read() == b""
    assert done.returncode == 1


def test_help_notebook_lists_the_parameters(capsys):
    assert main(["run", str(FIG5), "--help-notebook"]) == 0
    assert "momenta: list[float] = [0.5, 0.9, 0.95]" in capsys.readouterr().out


def test_a_failing_notebook_exits_with_1_and_names_the_cell(tmp_path, capfd):
    path = write(tmp_path / "n.ipynb", PARAMETERS, GRID, ("", "1 / 0"))
    assert main(["run", str(path), "-o", str(tmp_path / "out.ipynb")]) == 1
    assert "(`1 / 0`): ZeroDivisionError" in capfd.readouterr().err
    assert "ZeroDivisionError" in (tmp_path / "out.ipynb").read_text()


FEW = ['rates={"discarded": [0.1], "poly": [0.1]}']


@pytest.mark.parametrize(
    ("name", "given"),
    [
        # The front page's command, with fewer rates.
        ("discarded-scheduler", ["profile=smoke", "momenta=[0.9]", *FEW]),
        ("discarded-scheduler", ["lr=0.3", *FEW]),
        ("published-network", ["lr=0.3"]),
    ],
)
def test_a_page_runs_where_its_parameters_meet_or_where_nothing_of_them_is_recorded(
    tmp_path, name, given
):
    options = [part for one in [*given, "seeds=2"] for part in ("-p", one)]
    assert main(["run", name, *options, "-o", str(tmp_path / "out.ipynb")]) == 0


def test_parameters_reach_the_notebook_and_its_provenance(tmp_path):
    path = write(
        tmp_path / "n.ipynb", PARAMETERS, GRID, ("", "print(count + 1)\nrgkit.provenance(grid)")
    )
    out = tmp_path / "out.ipynb"
    assert main(["run", str(path), "-p", "count=41", "-o", str(out)]) == 0
    executed = json.loads(out.read_text())
    assert "42\n" in out.read_text() or '"42' in out.read_text()
    (facts,) = report.outputs(executed, report.SOURCE_MIME)
    assert facts["parameters"] == {"count": 41}


def test_the_sentences_of_an_executed_copy_have_their_numbers(tmp_path):
    """JupyterLab and nbconvert know no {glue}; the copy that a reader opens is written out."""
    path = write(tmp_path / "n.ipynb", PARAMETERS, GRID, ("", "rgkit.glue(gap=-0.25, who='RG')"))
    made = json.loads(path.read_text())
    words = "{glue:text}`who` gains {glue:text}`gap:+.1f`, {glue:text}`no:.1f`; {doc}`all <../y>`."
    made["cells"].append({"cell_type": "markdown", "id": "m", "metadata": {}, "source": words})
    path.write_text(json.dumps(made))
    out = tmp_path / "out.ipynb"
    assert main(["run", str(path), "-o", str(out)]) == 0
    executed = nbformat.read(out, 4)
    nbformat.validate(executed)
    assert executed.cells[-1].source == "RG gains -0.2, *not measured*; *all*."


def test_plan_knows_every_run_without_torch_or_a_kernel(capsys):
    code = (
        "import rgkit.cli as c, sys; c.main(['plan', '--profile', 'quick', '--json']); "
        "assert 'torch' not in sys.modules"
    )
    words = [sys.executable, "-c", code]
    said = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    rows = {row["notebook"]: row for row in json.loads(said)}
    assert set(rows) == {path.stem for path in NOTEBOOKS}
    for row in rows.values():
        assert (
            row["runs"]
            == row["recorded"] + row["missing"]
            == row["recorded"] + len(row["keys_missing"])
        )
    assert main(["plan", "--only", "rg-fig5"]) == 0
    table = capsys.readouterr().out
    assert table.startswith("notebook  ")
    assert "rg-fig5-resnet34" in table


BARE = """
import sys

absent = "scipy sklearn yaml tqdm matplotlib seaborn IPython papermill nbformat"
sys.modules.update(dict.fromkeys(absent.split()))  # None: importing it fails
from rgkit.cli import main

status = main(["plan", "--profile", "short"])
status += main(["run", "--plan", "--profile", "smoke", "--only", "cost", "--device", "cpu"])
print("status", status)
"""


def test_the_runner_needs_no_more_than_torch_numpy_and_pandas(tmp_path):
    """A bare GPU machine without a network runs the plan from a copy of the repository."""
    env = os.environ | {"RGKIT_RESULTS": str(tmp_path)}
    words = [sys.executable, "-c", BARE]
    said = subprocess.run(words, capture_output=True, text=True, env=env, check=False)
    assert said.stdout.strip().endswith("status 0"), said.stderr
    assert len(list(tmp_path.rglob("*.json"))) == 1


def test_importing_rgkit_needs_neither_torch_nor_scipy():
    code = "import rgkit, sys; print({'torch', 'scipy', 'matplotlib'} & set(sys.modules))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "set()"


def test_ledger_is_whole_and_scorecard_has_a_row_for_every_id():
    import yaml

    papers = yaml.safe_load((ROOT / "book" / "claims.yml").read_text())
    ids = [claim["id"] for claims in papers.values() for claim in claims]
    assert len(ids) == len(set(ids)) == 41
    rows = scorecard.rows({})
    assert [row["claim"] for row in rows if row["paper"] != "predictions"] == ids
    assert {row["verdict"] for row in rows} == {"not measured"}
    page = scorecard.page("scorecard.md", rows)
    assert all(f"<code>{claim}</code>" in page for claim in ids)
    assert len(scorecard.as_csv(rows).splitlines()) == len(rows) + 1
    # What a claim says can be read by itself, and the scorecard has the value of each paper.
    assert [row["claim"] for row in rows if len(row["says"].split()) < 3] == []
    assert {row["paper"] for row in rows if not row["printed"]} == {"predictions"}
    found = {row["claim"]: row["printed"] for row in rows}
    assert found["ld-table1"] == "baseline, mean IoU 62.13; gradient weight, mean IoU 63.56"
    assert found["rg-table1"].startswith("rate 0.01, momentum 0.95, plain 31.94, RG 28.357; ")
    assert "<td>baseline, mean IoU 62.13<br>gradient weight, mean IoU 63.56</td>" in page
    assert (found["ld-fig4ab"], found["rg-cost"]) == ("1 %", "no number")


def test_verdicts_travel_in_outputs(monkeypatch):
    shown = []
    monkeypatch.setattr(report, "_display", lambda bundle, metadata=None: shown.append(bundle))
    facts = {"measured": "a < b", "interval": (0.1, 0.2), "detectable": 0.05, "seeds": 5}
    report.conclude("rg-cost", verdict="supported", profile="quick", **facts)
    report.conclude("rg-adam", verdict="supported", profile="smoke", **facts)
    cells = [{"metadata": {}, "outputs": [{"data": json.loads(json.dumps(b))}]} for b in shown]
    rows = scorecard.rows({"notebooks/x/page": {"cells": cells}})
    found = {row["claim"]: row for row in rows}
    assert found["rg-cost"]["verdict"] == "supported"
    assert found["rg-cost"]["page"] == "notebooks/x/page"
    # A smoke test is never a result, whatever the notebook computed.
    assert found["rg-adam"]["verdict"] == "not measured"
    assert found["rg-adam"]["interval"] is None
    assert "a &lt; b" in scorecard.page("scorecard.md", rows)
    # The two ends of an interval are two numbers; a claim in our words is no quotation.
    table = {row["claim"]: row for row in csv.DictReader(io.StringIO(scorecard.as_csv(rows)))}
    ends = [(table[claim]["low"], table[claim]["high"]) for claim in ("rg-cost", "rg-adam")]
    assert ends == [("0.1", "0.2"), ("", "")]
    assert "interval" not in table["rg-cost"]
    assert not set('“”"') & set(scorecard.page("readme.md", rows))
    assert "verdict-supported" in shown[0]["text/html"]
    assert "no extra cost" in shown[0]["text/html"]
    for verdict in VERDICTS:
        report.conclude("rg-cost", verdict=verdict, profile="quick", measured="x")
    with pytest.raises(ValueError, match="unknown claim 'rg-cots'; did you mean 'rg-cost'"):
        report.conclude("rg-cots", verdict="supported", profile="quick", measured="x")
    with pytest.raises(ValueError, match="verdict='support' given; did you mean 'supported'"):
        report.conclude("rg-cost", verdict="support", profile="quick", measured="x")


# Neither measured nor in the ledger: Δ; the spread that others publish; a level of confidence; a
# law of the published code at its last epoch; results that two papers have in their text.
TYPED = {"0.3", "0.2", "99.9", "0.66", "1.34", "1.1"}
MEASURABLE = re.compile(r"(?<=[+−-])\d+\.\d+|\d+\.\d+(?= (?:points|%))")


def _typed(prose: str) -> list[str]:
    """What looks like a result in prose, beside glue, code, mathematics and quotations."""
    return MEASURABLE.findall(re.sub(r'\{glue:[^}]*\}`[^`]*`|`[^`]*`|\$[^$]*\$|"[^"]*"', "", prose))


def test_what_looks_like_a_typed_result_is_found():
    said = 'RG ends +1.25 points from 64.8 % ({glue:text}`gap:+.2f` at $u=-0.5$, not "2.5 points").'
    assert _typed(said) == ["1.25", "64.8"]


PROSE = [*NOTEBOOKS, *sorted((ROOT / "book").glob("*.md"))]


@pytest.mark.parametrize("path", PROSE, ids=lambda p: p.stem)
def test_no_measured_number_is_typed_by_hand(path):
    """Numbers in prose come through glue; typed are only those that the papers print."""
    text = path.read_text()
    if path.suffix == ".ipynb":
        cells = (c for c in json.loads(text)["cells"] if c["cell_type"] == "markdown")
        text = "\n\n".join("".join(cell["source"]) for cell in cells)
    printed = re.findall(r"\d+\.\d+", (ROOT / "book" / "claims.yml").read_text())
    allowed = {f"{float(p):.{digits}f}" for p in printed for digits in (2, 3)}
    allowed |= {*printed} | TYPED
    assert [number for number in _typed(text) if number not in allowed] == []


# --- what comes from elsewhere ----------------------------------------------------------------

EVIL = "<script>alert(1)</script> `a` | [b](javascript:alert(2)) {{ 6 * 7 }} $x$ **y**"


def test_nothing_from_a_record_or_a_message_becomes_markup():
    facts = {"profile": EVIL, "runs": 1, "seconds": 60, "devices": [EVIL], "commits": [EVIL]}
    facts |= {"dates": [EVIL], "notebook": EVIL, "parameters": {"a": EVIL}, "arithmetics": {}}
    executed = {"metadata": {}, "cells": [{"outputs": [{"data": {report.SOURCE_MIME: facts}}]}]}
    pages = {"notebooks/one": executed, "notebooks/two": {"metadata": {}, "cells": []}}
    status = scorecard.status(pages, {"notebooks/two": EVIL + "\nmore"})
    assert [line.count("|") for line in status.strip().splitlines()] == [9] * 4
    table = scorecard.rows({})
    for row in table:
        row |= {"verdict": "supported", "measured": EVIL, "profile": EVIL, "interval": None}
    made = [scorecard.page(f"{name}.md", table) for name in ("answer", "scorecard", "readme")]
    made += [report.render("quote.md", row=table[0]), status]
    made += [report.render("verdict.html", row=table[0], facts=None, says=EVIL)]
    made += [report.render("provenance.html", words=EVIL, records=[], url="x")]
    made += [report.render("banner.html", kind="note", words=EVIL)]
    for text in made:
        assert "alert(1)" in text
        assert "<script" not in text
        for line in text.splitlines():  # in HTML it is no link
            plain = not line.lstrip().startswith("<")
            assert not plain or not re.search(r"\]\(javascript|\{\{|\$x|\*\*y", line), line


def test_a_run_says_at_once_what_it_will_do():
    path = named("rg-fig5-resnet34")
    said = plan.outlook(path, {"profile": "smoke"})
    assert said.startswith("rg-fig5-resnet34, profile smoke: ")
    assert "on digits, 0 from records" in said
    assert "135 runs on cifar10" in plan.outlook(path, {"profile": "quick"})
    words = plan.outlook(path, {"profile": "quick", "momenta": [0.123]})  # the data are not here
    assert "on digits" in words
    assert "embedded data, because CIFAR-10 is not at hand" in words


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        ("rg-fig5-resnet34", {"seeds": "2147483648"}, "from 1 to 10,000, or 0"),
        ("rg-fig5-resnet34", {"targets": "[]"}, "targets='[]' given; one or more"),
        ("rg-fig5-resnet34", {"lr": "1e999"}, "lr=inf given; a finite number"),
        ("discarded-scheduler", {"arms": "['plain']"}, "'RG' has to be among them"),
        ("discarded-scheduler", {"schedules": "[\"poly('x')\"]"}, "power='x' given"),
        ("csgd-table2", {"largest": "wider(1e999)"}, "times=inf given; a finite number"),
        ("your-own-trick", {"trick": "formula('1/t')"}, "is inf at t = 0"),
    ],
)
def test_what_cannot_be_run_is_refused_before_anything_is_trained(name, given, said):
    with pytest.raises(UsageError, match=re.escape(said)):
        check_parameters(named(name), given)


def test_outside_a_checkout_a_verb_says_how_to_have_one(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(notebook, "ROOT", tmp_path)  # as of a wheel
    for words in (
        ["plan"],
        ["run", "a"],
        ["check"],
        ["book"],
        ["readme"],
        ["results", "merge", "a"],
    ):
        assert main(words) == 2
        assert capsys.readouterr().err == (
            f"rgkit: {tmp_path} is no checkout of the book: clone its repository, and there pip "
            "install -e .\n"
        )
    assert main(["data", "list"]) == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("run FIG5 -o notebooks/random-gradient/rg-cost.ipynb", "-o 'notebooks/random-gradient"),
        ("run FIG5 -o RECORD", "neither a record nor a notebook of the book"),
        ("run FIG5 --jobs 2", "--jobs is for --plan"),
        ("run FIG5 -p lr=0.1 -p lr=0.2", "each name once"),
        ("run FIG5 --cell-timeout 0", "a whole number of 1 or more"),
        ("run notebooks", "which is a folder"),
        ("run --plan -o a.ipynb", "are not for --plan"),
        ("run --plan -p profile=quick", "with --plan it is --profile"),
        ("run --plan --profile smoke --out RECORD", "a new file, or an archive"),
        ("book --output FOLDER", "a folder named _build"),
    ],
)
def test_wrong_use_costs_no_file(words, said, tmp_path, monkeypatch, capsys):
    record = tmp_path / "classification" / "0.json"
    record.parent.mkdir()
    record.write_text('{\n"key": "0"\n}\n')
    monkeypatch.setenv("RGKIT_RESULTS", str(tmp_path))
    monkeypatch.setattr(papermill, "execute_notebook", lambda *a, **k: pytest.fail("kernel"))
    names = {"FIG5": str(FIG5), "RECORD": str(record), "FOLDER": str(tmp_path)}
    monkeypatch.chdir(ROOT)
    try:
        status = main([names.get(word, word) for word in words.split()])
    except SystemExit as end:  # argparse's own
        status = end.code
    assert status == 2
    assert said in capsys.readouterr().err
    assert record.read_text() == '{\n"key": "0"\n}\n'


def test_a_misspelt_key_of_rates_is_named():
    path = named("discarded-scheduler")
    with pytest.raises(UsageError, match="unknown 'polly'; did you mean 'poly'"):
        check_parameters(path, {"rates": "{'polly': [0.1]}"})
    check_parameters(path, {"rates": "{'cosine': [0.1]}", "schedules": "['cosine', 'poly']"})


def test_what_pages_and_docstrings_call_a_name_of_the_package_is_one():
    """Prose outlives what it speaks of: a module that moved, a function that went."""
    found = {}
    for path in (
        *NOTEBOOKS,
        *ROOT.glob("*.md"),
        *ROOT.glob("book/*.md"),
        *ROOT.rglob("rgkit/**/*.*"),
    ):
        if path.suffix in (".py", ".md", ".ipynb"):
            names = re.findall(r"`(rgkit(?:\.\w+)+)", path.read_text("utf-8"))
            found |= dict.fromkeys(names, path.name)
    assert len(found) > 30
    for name, where in found.items():
        assert pkgutil.resolve_name(name) is not None, f"{where}: {name}"
