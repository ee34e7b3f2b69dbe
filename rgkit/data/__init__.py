"""Data sets: `source` says what one is; `images`, `masks` and `pairs` have a table of rows each."""
