"""The built book: whole, offline, strict about warnings, and robust against a failing notebook."""

import html
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlparse

import nbformat
import pytest

from rgkit.book import build, scorecard
from rgkit.book.report import kind
from rgkit.stats.differences import UNMEASURED, ledger

ROOT = Path(__file__).resolve().parents[2]
# Attributes with which a browser fetches something by itself; <a href> is not among them.
LOADS = {
    "script": ("src",),
    "link": ("href",),
    "img": ("src", "srcset"),
    "source": ("src", "srcset"),
    "iframe": ("src",),
    "video": ("src", "poster"),
    "audio": ("src",),
    "object": ("data",),
    "embed": ("src",),
    "use": ("href", "xlink:href"),
}
NAVIGATION = {"canonical", "index", "search", "next", "prev", "author", "top", "up"}
CSS_LOAD = re.compile(r"""(?:url\(|@import)\s*["']?([^"')\s;]+)""")


class Loads(HTMLParser):
    """Collect what a page makes the browser fetch."""

    def __init__(self):
        super().__init__()
        self.found: list[str] = []
        self.in_style = False

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.in_style = tag == "style"
        if tag == "link" and set((given.get("rel") or "").split()) & NAVIGATION:
            return
        self.found += [given[name] for name in LOADS.get(tag, ()) if given.get(name)]
        self.found += CSS_LOAD.findall(given.get("style") or "")

    def handle_endtag(self, tag):
        self.in_style = self.in_style and tag != "style"

    def handle_data(self, data):
        if self.in_style:
            self.found += CSS_LOAD.findall(data)


def loads(page: Path) -> list[str]:
    parser = Loads()
    parser.feed(page.read_text())
    return parser.found


def is_foreign(address: str) -> bool:
    return bool(urlparse(address).netloc) and not address.startswith("data:")


def pictures(notebook: Path) -> int:
    cells = json.loads(notebook.read_text())["cells"]
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    return sum("image/png" in output.get("data", {}) for output in outputs)


# --- the whole book -------------------------------------------------------------------------


def test_the_build_succeeds(built):
    assert built.status == 0


def test_every_page_of_the_table_of_contents_exists(built):
    assert len(built.pages) >= 10
    assert [p for p in built.pages if not (built.html / f"{p}.html").is_file()] == []
    assert (built.html / "index.html").is_file()


def test_every_notebook_page_shows_all_figures_of_its_notebook(built):
    assert len(built.notebooks) >= 4
    for page in built.notebooks:
        drawn = pictures(built.executed / f"{page}.ipynb")
        shown = [a for a in loads(built.html / f"{page}.html") if "_images/" in a]
        assert drawn >= 1, f"{page} has no figure"
        assert len(shown) >= drawn, f"{page}: {drawn} figures drawn, {len(shown)} shown"


def test_nothing_comes_from_another_host_and_nothing_is_missing(built):
    pages = [p for p in built.html.rglob("*.html") if "_static" not in p.parts]  # a template there
    assert len(pages) > len(built.pages)  # the search page, too
    for page in pages:
        for address in loads(page):
            assert not is_foreign(address), f"{page.name} loads {address}"
            if address.startswith("data:"):
                continue
            file = page.parent / unquote(urlparse(address).path)
            assert file.is_file(), f"{page.name} loads {address}, which is not there"


def test_no_style_sheet_loads_from_another_host(built):
    sheets = list(built.html.rglob("*.css"))
    assert sheets
    for sheet in sheets:
        foreign = [a for a in CSS_LOAD.findall(sheet.read_text()) if is_foreign(a)]
        assert foreign == [], sheet.name


def test_the_search_index_knows_the_words_of_the_notebooks(built):
    text = (built.html / "searchindex.js").read_text()
    index = json.loads(text.removeprefix("Search.setIndex(").removesuffix(")"))
    found = index["terms"]["momentum"]
    where = {index["docnames"][n] for n in (found if isinstance(found, list) else [found])}
    assert where & set(built.notebooks)


def test_the_scorecard_has_a_row_for_every_claim(built):
    text = (built.html / "book" / "scorecard.html").read_text()
    assert [claim for claim in ledger() if f"<code>{claim}</code>" not in text] == []


def test_the_start_page_maps_every_claim_to_its_verdict_and_chapter(built):
    page = (built.html / "book" / "index.html").read_text()
    marks = re.findall(r'<li><a class="badge-(\w+)" title="([^"]+)" href="([^"]+)">', page)
    card = json.loads((built.html / "scorecard.json").read_text())
    assert len(marks) == len(card)
    for row, (colour, title, link) in zip(card, marks, strict=True):
        assert kind(row["verdict"]) == colour
        assert html.unescape(title).startswith(row["says"])
        assert (built.html / "book" / link).resolve().is_file()
    assert page.count("<details") >= len(scorecard.PAPERS)


@pytest.mark.parametrize("page", ["conclusion", "index"])
def test_the_pages_of_findings_have_no_number_of_their_own(page):
    """What was measured reaches them through the verdicts of the chapters, or as a picture."""
    text = (build.ROOT / "book" / f"{page}.md").read_text()
    prose = re.sub(r"```.*?```", "", text, flags=re.S)
    assert re.findall(r"\d+\.\d+|\d+ ?%|[+−-]\d", prose) == []


def test_the_conclusion_quotes_the_scorecard(built):
    """Each sentence that it includes is there, with the verdict that the scorecard has."""
    text = (build.ROOT / "book" / "conclusion.md").read_text()
    said = re.findall(r"_generated/said/(.+)\.md", text)
    assert len(said) >= 10
    page = html.unescape((built.html / "book" / "conclusion.html").read_text())
    card = {r["claim"]: r for r in json.loads((built.html / "scorecard.json").read_text())}
    for claim in said:
        assert f"<strong>{card[claim]['verdict']}</strong>" in page
        if card[claim]["verdict"] != UNMEASURED:
            assert card[claim]["measured"][1:].split("<")[0].rstrip(".")[:50] in page, claim
    names = "half-rate|headline|norms|decay"
    assert len(re.findall(rf'<img [^>]*src="[^"]*_images/({names})', page)) == 4


# --- a small book of our own ----------------------------------------------------------------

GRID = "import rgkit\ngrid = rgkit.no_runs(profile)"
DRAW = "import matplotlib.pyplot as plt\nplt.plot([0, 1])\nplt.show()"


def write_notebook(path: Path, last: str) -> None:
    """Write a notebook with the parameters and grid cells that the book asks for."""
    cell = nbformat.v4.new_code_cell
    cells = [
        nbformat.v4.new_markdown_cell(f"# {path.stem}"),
        cell('profile: str = "best"  # which runs', metadata={"tags": ["parameters"]}),
        cell(GRID, metadata={"tags": ["grid"]}),
        cell(last),
    ]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), path)


@pytest.fixture
def small(tmp_path):
    """The root of a repository with our settings and two pages, without notebooks."""
    root = tmp_path / "root"
    shutil.copytree(ROOT / "book" / "_static", root / "book" / "_static")
    shutil.copy(ROOT / "_config.yml", root)
    shutil.copy(ROOT / "book" / "references.bib", root / "book")
    (root / "_toc.yml").write_text(
        "format: jb-book\nroot: book/index\nchapters:\n  - file: book/other\n"
    )
    (root / "book" / "index.md").write_text("# Start\n\nSee {doc}`other`.\n")
    (root / "book" / "other.md").write_text("# Other\n\n```{bibliography}\n:all:\n```\n")
    mathjax = root / "_extra" / "mathjax" / "tex-svg-full.js"
    mathjax.parent.mkdir(parents=True)
    mathjax.touch()
    return root


def test_warnings_are_errors_and_all_of_them_are_shown(small, tmp_path, capfd):
    wrong = "{doc}`nowhere` {cite}`nobody` ![no](no.png)"
    (small / "book" / "index.md").write_text(f"# Start\n\nSee {wrong}.\n")
    output = tmp_path / "_build"
    assert build.html(small, output) != 0
    said = capfd.readouterr().err
    assert [name for name in ("nowhere", "nobody", "no.png") if name not in said] == []
    assert (output / "html" / "book" / "other.html").is_file()
    (small / "_extra" / "new.csv").touch()
    assert build.html(small, output) != 0  # and so does the next build, which reads less anew
    assert (output / "html" / "new.csv").is_file()


def test_a_failing_notebook_fails_the_build_and_keeps_the_rest(
    small, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(build, "ROOT", small)
    good, bad = small / "notebooks" / "good.ipynb", small / "notebooks" / "bad.ipynb"
    write_notebook(good, DRAW)
    write_notebook(bad, 'raise ValueError("no such luck")')
    with (small / "_toc.yml").open("a") as toc:
        toc.write("  - file: notebooks/good\n  - file: notebooks/bad\n")
    output = tmp_path / "_build"

    assert build.build(output=output, jobs=2) == 1
    said = capsys.readouterr().err
    assert "notebooks/bad" in said
    assert "no such luck" in said
    assert re.search(r"cell \d+ \(`raise ValueError", said), said
    page = (output / "html" / "notebooks" / "bad.html").read_text()
    assert "no such luck" in page
    assert "_images/" in (output / "html" / "notebooks" / "good.html").read_text()
    assert (output / "html" / "book" / "other.html").is_file()

    # Mended, only the bad one is executed again.
    write_notebook(bad, DRAW)
    assert build.build(output=output, jobs=2) == 0
    said = capsys.readouterr().out
    assert "notebooks/good: up to date" in said
    assert "notebooks/bad: executing" in said
    assert "no such luck" not in (output / "html" / "notebooks" / "bad.html").read_text()


def test_a_notebook_from_anywhere_has_a_place_in_the_book(tmp_path):
    elsewhere = tmp_path / "elsewhere" / "one.ipynb"
    write_notebook(elsewhere, "1 / 0")
    failed = build.execute_all([elsewhere], tmp_path / "executed", {}, 1)
    assert "ZeroDivisionError" in failed["notebooks/one"]
    assert (tmp_path / "executed" / "notebooks" / "one.ipynb").is_file()


def test_the_theory_page_says_where_every_prediction_stands(built):
    """A row for each, its verdict that of the scorecard, linked to a chapter that was built."""
    text = (built.html / "book" / "theory.html").read_text()
    table = text[text.index("<table") : text.index("</table>")]
    rows = [row for row in table.split("<tr")[2:] if "<td" in row]
    ours = [f for f in ledger().values() if f["paper"] == "predictions"]
    assert len(rows) == len(ours) == 17
    card = {r["claim"]: r for r in json.loads((built.html / "scorecard.json").read_text())}
    for number, row in enumerate(rows, 1):
        entry = card[f"prediction-{number}"]
        assert entry["verdict"] in row
        assert (f'href="../{entry["page"]}.html"' in row) == bool(entry["page"])
