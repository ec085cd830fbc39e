"""Text files of annotations."""

from pathlib import Path


def read_text(path: Path) -> str:
    """Text of a file, with a byte order mark or without, and any line ends.

    Raises:
        ValueError: it is not UTF-8; the message names the file.
    """
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 text ({error}). Save it as UTF-8.") from None
