"""From a checkpoint and a manifest to predictions, and from predictions to scores and tables.

`scores` and `tables` read no torch; `predictions` does.
"""
