"""Counting in slides: pyramidal images of whole smears, tile by tile."""
