"""Options of a training as keys and values of the config."""

from collections.abc import Mapping


def as_arguments(options: Mapping[str, object]) -> list[str]:
    """{key: value} as the ``KEY VALUE`` list of a command line."""
    return [str(word) for pair in options.items() for word in pair]
