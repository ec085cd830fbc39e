"""Rows of results, ablations and comparison tables."""
