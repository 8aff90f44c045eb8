"""Miniature official releases: real names, headers, codes and faults, with small rendered pictures; one module per group of data sets.

Each has `write_<name>(root, **faults)`, which writes the tree and returns what a reader should make of it.
"""
