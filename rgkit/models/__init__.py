"""Networks. `names` lists them without importing torch; the other modules build them."""
