"""A report that a person can file: the same content as HTML and as PDF."""
