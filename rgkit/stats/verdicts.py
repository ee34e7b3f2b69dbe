"""The claims, and the words of a verdict on one; without SciPy, which a book can be built without.

The ledger is two files: what the three papers claim, and what we predict.
"""

from functools import cache
from pathlib import Path
from typing import Any

SUPPORTED, CONTRADICTED = "supported", "contradicted"
EQUIVALENT, INCONCLUSIVE = "equivalent within Δ", "inconclusive"
UNMEASURED = "not measured"
VERDICTS = (SUPPORTED, CONTRADICTED, EQUIVALENT, INCONCLUSIVE, UNMEASURED)

LEDGERS = [
    Path(__file__).resolve().parents[2] / "book" / name
    for name in ("claims.yml", "predictions.yml")
]


@cache
def ledger() -> dict[str, dict[str, Any]]:
    """Return every claim of the three papers, then our predictions, by id.

    Each has its paper ("predictions" for ours) under "paper".

    >>> ledger()["rg-cost"]["says"]
    'no extra cost'
    """
    import yaml

    papers = [pair for path in LEDGERS for pair in yaml.safe_load(path.read_text()).items()]
    return {claim["id"]: claim | {"paper": paper} for paper, claims in papers for claim in claims}
