"""Protocols of the AUFormer paper on prepared manifests: runs, their store, scores over folds, tables and a report."""
