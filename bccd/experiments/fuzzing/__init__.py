"""Broken input in large numbers: what a user gets is a result or a sentence, never a traceback."""
