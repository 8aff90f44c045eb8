"""Readers of licensed data sets: one file per raw release, each writes aligned crops and a manifest."""
