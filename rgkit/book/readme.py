"""Keep the findings in README.md what the records say: nobody types them."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from rgkit.book.build import book_notebooks, page_of
from rgkit.book.findings import for_readme
from rgkit.book.notebook import ROOT
from rgkit.book.scorecard import rows

BEGIN, END = "<!-- found: made by `rgkit readme` -->", "<!-- end -->"
PICTURE = Path("book", "_static", "headline.png")


def found(output: Path) -> str:
    """Return the findings of a built book as README Markdown."""
    executed = {}
    for path in book_notebooks():
        page = page_of(path)
        executed[page] = json.loads((output / "executed" / f"{page}.ipynb").read_text())
    text = for_readme(rows(executed))
    # The book links pages by their place in it; a README reader wants the notebook.
    return re.sub(r"\]\(/([^)]+)\)", r"](\1.ipynb)", text)


def update(output: Path, check: bool = False) -> int:
    """Write the findings between the marks of README.md; with `check`, only compare them."""
    readme = ROOT / "README.md"
    text = readme.read_text()
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    fresh = f"{head}{BEGIN}\n{found(output)}{END}{tail}"
    if check:
        if fresh != text:
            print("README.md: its findings are not those of the built book; run: rgkit readme",
                  file=sys.stderr)  # fmt: skip
        return int(fresh != text)
    readme.write_text(fresh)
    picture = output / "source" / "book" / "_generated" / "headline.png"
    from PIL import Image  # comes with matplotlib

    # A palette is enough for lines on white, and a fifth of the size in every later commit.
    Image.open(picture).convert("RGB").quantize(128).save(ROOT / PICTURE, optimize=True)
    return 0
