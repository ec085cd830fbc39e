"""JSON files of annotations, whose entries are taken with a sentence where one is wrong.

Not by pydantic or jsonschema: their messages name fields of a schema, not the entry of a file, and
counting alone would need them.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_LARGEST = 1e12  # a coordinate or size beyond it is a broken number, not a place in an image
_LONGEST_SIDE = 10**9  # pixels
_SHOWN = 60  # characters of a wrong value in a message


def load_json(path: Path) -> Any:
    """The content of a JSON file, with a byte order mark or without.

    Raises:
        FileNotFoundError: the file is missing.
        ValueError: it is not JSON; the message names it.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not there. Name the file of the annotations.")
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not JSON ({error}).") from None


def is_number(value: object) -> bool:
    """Whether a value of JSON is a finite number that can be a place in an image."""
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and abs(value) <= _LARGEST  # not NaN, nor an integer that is too large for a float
    )


def shown(value: object) -> str:
    """A value as short text for a message."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


class Entry:
    """An object of a JSON file whose values are taken by key and type.

    Attributes:
        where: file and entry, for messages.
        values: the object as a dict.
    """

    def __init__(self, values: object, where: str) -> None:
        """Raises ValueError where ``values`` is no object."""
        if not isinstance(values, dict):
            raise ValueError(f"{where} is {shown(values)}, expected an object {{...}}.")
        self.values, self.where = values, where

    def has(self, key: str) -> bool:
        """Whether there is a value under ``key``, and it is not null."""
        return self.values.get(key) is not None

    def text(self, key: str) -> str:
        """A text that is not empty, without spaces around it."""
        value = self._value(key)
        if not isinstance(value, str) or not value.strip():
            raise self._wrong(key, value, "a text")
        return value.strip()

    def number(self, key: str) -> float:
        """A finite number; one that is written as text counts, too."""
        value = self._value(key)
        if isinstance(value, str):
            try:
                value = float(value)
            except ValueError:
                raise self._wrong(key, value, "a number") from None
        if not is_number(value):
            raise self._wrong(key, value, "a number")
        return value

    def numbers(self, *keys: str) -> tuple[float, ...]:
        """Several of :meth:`number`."""
        return tuple(self.number(key) for key in keys)

    def pixels(self, key: str) -> int:
        """A whole number of pixels above 0, as a side of an image."""
        value = self.number(key)
        if value != int(value) or not 1 <= value <= _LONGEST_SIDE:
            raise self._wrong(key, value, "a whole number of pixels")
        return int(value)

    def items(self, key: str) -> list:
        """A list."""
        value = self._value(key)
        if not isinstance(value, list):
            raise self._wrong(key, value, "a list")
        return value

    def entry(self, key: str) -> "Entry":
        """An object."""
        return Entry(self._value(key), f"{self.where}, {key}")

    def entries(self, key: str, word: str) -> Iterator["Entry"]:
        """The objects of a list; ``word`` is what one is called in messages."""
        for number, value in enumerate(self.items(key), start=1):
            yield Entry(value, f"{self.where}, {word} {number}")

    def points(self, key: str) -> list[tuple[float, float]]:
        """A list of points [x, y], at least one."""
        value = self.items(key)
        pairs = [p for p in value if isinstance(p, list) and len(p) == 2 and all(map(is_number, p))]
        if not value or len(pairs) < len(value):
            raise self._wrong(key, value, "a list of points [x, y]")
        return [(x, y) for x, y in pairs]

    def score(self, key: str) -> float | None:
        """A score from 0 to 1; None where there is none."""
        if not self.has(key):
            return None
        value = self.number(key)
        if not 0 <= value <= 1:
            raise self._wrong(key, value, "a score from 0 to 1")
        return float(value)

    def _value(self, key):
        value = self.values.get(key)
        if value is None:
            raise ValueError(f"{self.where}: {key} is missing. Add it, or export the file anew.")
        return value

    def _wrong(self, key, value, expected):
        return ValueError(f"{self.where}: {key} is {shown(value)}, expected {expected}.")
