"""The words of a verdict; apart from the statistics, so that the book is built without SciPy."""

SUPPORTED, CONTRADICTED = "supported", "contradicted"
EQUIVALENT, INCONCLUSIVE = "equivalent within Δ", "inconclusive"
UNMEASURED = "not measured"
VERDICTS = (SUPPORTED, CONTRADICTED, EQUIVALENT, INCONCLUSIVE, UNMEASURED)
