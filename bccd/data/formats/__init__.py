"""Annotation files and annotated images, in the formats of :mod:`.registry`."""
