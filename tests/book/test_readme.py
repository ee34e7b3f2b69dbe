"""README.md says what the records say, and its commands are real."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from rgkit.book import notebook, scorecard
from rgkit.cli import parser

ROOT = Path(__file__).resolve().parents[2]


def test_the_findings_in_the_readme_are_those_of_the_built_book(built):
    assert scorecard.findings(built.executed.parent) == scorecard.README.read_text(), "rgkit readme"
    assert scorecard.PICTURE.is_file()


def test_every_rgkit_command_in_the_prose_parses():
    pages = [ROOT / "README.md", *sorted((ROOT / "book").glob("*.md"))]
    found = re.findall(r"(?:\.venv/bin/)?rgkit ((?:plan|run|data|book) [^\n`#]+)", "\n".join(
        page.read_text() for page in pages
    ))  # fmt: skip
    assert len(found) >= 5
    for words in found:
        args = parser().parse_args(shlex.split(words))
        if getattr(args, "notebook", None):
            given = dict(pair.split("=", 1) for pair in args.parameter)
            notebook.check_parameters(notebook.named(args.notebook), given)


def test_make_verbs_of_the_readme_exist():
    made = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))
    named = set(re.findall(r"\bmake ([a-z]+)\b", (ROOT / "README.md").read_text()))
    assert named >= {"book", "test", "lint"}
    assert named <= made
