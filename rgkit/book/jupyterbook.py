"""Jupyter Book in a process of its own, which imports while the notebooks are still executed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

# Sphinx imports its extensions late; here they come while the notebooks are executed.
WAITING = """
import contextlib, importlib, json, sys
sys.modules["rfc3987_syntax"] = None  # a grammar that jsonschema takes a second to import
early = "jupyter_book.sphinx sphinx.builders.html sphinx.search.en myst_nb.sphinx_ext"
early += " pydata_sphinx_theme sphinx_book_theme sphinxcontrib.bibtex sphinx_copybutton"
for name in f"{early} sphinx_design sphinx_togglebutton sphinx_external_toc".split():
    with contextlib.suppress(ImportError):
        importlib.import_module(name)
from jupyter_book.cli.main import main
words = sys.stdin.readline()
if words:
    sys.argv = json.loads(words)
    main()
"""


def jupyter_book() -> subprocess.Popen[str]:
    """Start Jupyter Book: it imports all it needs, then waits for its arguments, a JSON line."""
    pipe = subprocess.PIPE
    words = [sys.executable, "-c", WAITING]
    return subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def html(source: Path, output: Path, tool: subprocess.Popen[str] | None = None) -> int:
    """Run Jupyter Book over a staged source; warnings are errors; return its exit status.

    What it prints is shown only where it failed. `tool` is a `jupyter_book` started before.
    """
    words = ["jupyter-book", "build", str(source), "--path-output", str(output.parent)]
    with tool or jupyter_book() as process:
        said = process.communicate(json.dumps([*words, "-W", "--keep-going", "-n", "-q"]))
    if process.returncode:
        print(*said, sep="\n", file=sys.stderr)
        # What Sphinx has read it does not read again, nor warn of: the next build would pass.
        shutil.rmtree(output / ".doctrees", ignore_errors=True)
    return process.returncode
