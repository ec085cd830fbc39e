"""Augmentations of fields of view, and compositions of several."""
