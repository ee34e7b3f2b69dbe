"""Data sets: `source` says what one is; `images` and `pictures` have tables of them, a row each."""
