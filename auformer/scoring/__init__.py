"""Scores of a predictions file: numbers, intervals, tables, where they come from, and what others have published."""
