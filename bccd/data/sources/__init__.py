"""Data sets by name: BCCD and the others, where they come from, and their splits."""
