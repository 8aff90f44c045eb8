"""Readers of licensed data sets, one file per set, and the catalogue that lists them."""
