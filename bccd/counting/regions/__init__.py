"""Regions of interest: parts of an image in which cells count."""
