"""The name that somebody meant."""

import difflib
from collections.abc import Iterable


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """``" Did you mean X?"`` for the most similar of ``known`` names; empty where none is."""
    similar = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean {similar[0]}?" if similar else ""
