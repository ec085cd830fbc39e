"""What a report is made of, whatever it is written as."""

from collections.abc import Callable
from typing import NamedTuple


class Heading(NamedTuple):
    """The title of a part; ``level`` 1 is that of the report."""

    text: str
    level: int = 2


class Paragraph(NamedTuple):
    """Some sentences; ``strong``: they must not be missed."""

    text: str
    strong: bool = False


class Points(NamedTuple):
    """A list of sentences."""

    texts: list[str]


class Table(NamedTuple):
    """A table; the first column is of text, the others of figures unless ``words`` says so.

    Attributes:
        header: of the columns; empty: the first column says what the second one is.
        rows: below it, all of texts.
        words: numbers of further columns that are of text.
    """

    header: list[str]
    rows: list[list[str]]
    words: tuple[int, ...] = ()


class Picture(NamedTuple):
    """A picture.

    Attributes:
        draw: gives it as JPEG; None: the image cannot be read.
        caption: below it.
    """

    draw: Callable[[], bytes | None]
    caption: str


Block = Heading | Paragraph | Points | Table | Picture
