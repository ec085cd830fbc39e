"""Changes that make good files bad ones. All take a Random, and are the same for the same one."""

import json
import re
from collections.abc import Iterator
from random import Random
from typing import Any
from xml.sax.saxutils import escape

# What values of annotation files are replaced by.
JUNK = (
    *(None, True, "", " ", "x", "-1", "nan", "\0", "../..", "C:\\x\\y.png", "é" * 300),
    *(0, -1, 0.5, 1e308, -1e-300, 2**63, 10**400, float("nan"), float("inf")),
    *([], {}, [[]], [1, "a"]),
)
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


def mutate_bytes(content: bytes, random: Random) -> bytes:
    """Bytes flipped, left out, doubled or put in, or the end cut off."""
    data = bytearray(content)
    for _ in range(random.choice((1, 1, 2, 8))):
        start = random.randrange(len(data) + 1)
        end = min(len(data), start + random.choice((1, 2, 16, 256)))
        kind = random.randrange(5)
        if kind == 0 and start < len(data):
            data[start] ^= 1 << random.randrange(8)
        elif kind == 1:
            del data[start:end]
        elif kind == 2:
            data[start:start] = data[start:end]
        elif kind == 3:
            data[start:start] = random.randbytes(random.choice((1, 4, 64)))
        else:
            del data[start:]
    return bytes(data)


def mutate_json(text: str, random: Random) -> str:
    """One value that is neither an object nor a list replaced by junk, or left out."""
    content = json.loads(text)
    parent, key = random.choice(list(_leaves(content)))
    if isinstance(parent, dict) and random.random() < 0.2:
        del parent[key]
    else:
        parent[key] = random.choice(JUNK)
    return json.dumps(content)


def _leaves(value: Any) -> Iterator[tuple[Any, Any]]:
    """(object or list, key) of every value that is neither."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in pairs:
        if isinstance(inner, dict | list):
            yield from _leaves(inner)
        else:
            yield value, key


def mutate_xml(text: str, random: Random) -> str:
    """The value of one attribute, or the text of one element, replaced by junk."""
    places = list(re.finditer(r'(?<==")[^"<>]*(?=")|(?<=>)[^<>]*[^<>\s][^<>]*(?=<)', text))
    place = random.choice(places)
    junk = escape(str(random.choice(JUNK)), {'"': "&quot;", "\0": "?"})
    return text[: place.start()] + junk + text[place.end() :]


def mutate_lines(text: str, random: Random) -> str:
    """One number of a text replaced by junk; a text without numbers stays as it is."""
    places = list(_NUMBER.finditer(text))
    if not places:
        return text
    place = random.choice(places)
    junk = str(random.choice(JUNK)).replace("\n", " ")
    return text[: place.start()] + (junk.strip() or "x") + text[place.end() :]
