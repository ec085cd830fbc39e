"""A mark in the pictures that the project draws, so that they are never counted as images."""

import struct
import zlib
from pathlib import Path

_HEADER_END = 33  # of a PNG: 8 bytes of signature and the chunk IHDR
SOFTWARE = "bccd-detectron2"
_MARK = b"Software\0" + SOFTWARE.encode()
_CHUNK = struct.pack(">I", len(_MARK)) + b"tEXt" + _MARK
_CHUNK += struct.pack(">I", zlib.crc32(_CHUNK[4:]))


def mark(png: bytes) -> bytes:
    """A PNG file's bytes with the mark as its second chunk (OpenCV 4 writes no text)."""
    return png[:_HEADER_END] + _CHUNK + png[_HEADER_END:]


def is_marked(path: Path) -> bool:
    """Whether a file bears the mark; one that cannot be opened does not."""
    try:
        with open(path, "rb") as file:
            return file.read(_HEADER_END + len(_CHUNK)).endswith(_CHUNK)
    except OSError:
        return False
