"""A file as Hamamatsu's scanners write it: NDPI. Not a test itself.

It is a TIFF file whose offsets have 64 bits, with one JPEG stream for each level. The tag McuStarts
says where the restart intervals of the stream begin, which readers take for tiles.
"""

import struct
from pathlib import Path

import cv2
import numpy as np

_UNIT, _UNITS = 16, 8  # pixels of a unit of the JPEG stream, and units between two restarts
_TEXT, _SHORT, _LONG, _RATIONAL, _FLOAT = 2, 3, 4, 5, 11  # types of TIFF
_FORMATS = {_SHORT: "H", _LONG: "I", _RATIONAL: "I", _FLOAT: "f"}
_JPEG, _YCBCR, _CENTIMETRE = 7, 6, 3


def write_ndpi(path: Path, levels: list[np.ndarray], micrometres_per_pixel: float) -> None:
    """Write BGR images (H, W, 3), the largest first; their sides are multiples of 128 pixels."""
    out = bytearray(struct.pack("<2sHQ", b"II", 42, 0))
    link = 4  # where the offset of the next directory goes
    for level, image in enumerate(levels):
        tags = _tags(out, image, 20.0 / 2**level, micrometres_per_pixel * 2**level)
        out[link : link + 8] = struct.pack("<Q", len(out) + sum(map(_outside, tags)))
        link = _add_directory(out, tags)
    path.write_bytes(out)


def _tags(out, image, lens, micrometres_per_pixel):
    """(code, type, values) of a level, whose JPEG stream is appended to ``out``."""
    options = [cv2.IMWRITE_JPEG_QUALITY, 95, cv2.IMWRITE_JPEG_RST_INTERVAL, _UNITS]
    stream, place = cv2.imencode(".jpg", image, options)[1].tobytes(), len(out)
    out += stream
    scan = stream.index(b"\xff\xda") + 2
    first = scan + int.from_bytes(stream[scan : scan + 2], "big")
    bytes_ = np.frombuffer(stream, np.uint8)
    marks = (bytes_[:-1] == 0xFF) & (bytes_[1:] >= 0xD0) & (bytes_[1:] <= 0xD7)
    starts = [first, *(np.flatnonzero(marks[first:]) + first + 2).tolist()]
    dots = [round(1e7 / micrometres_per_pixel), 1000]
    return [
        (256, _LONG, [image.shape[1]]),
        (257, _LONG, [image.shape[0]]),
        (258, _SHORT, [8, 8, 8]),
        (259, _SHORT, [_JPEG]),
        (262, _SHORT, [_YCBCR]),
        (271, _TEXT, b"Hamamatsu\0"),
        (273, _LONG, [place]),
        (277, _SHORT, [3]),
        (278, _LONG, [image.shape[0]]),
        (279, _LONG, [len(stream)]),
        (282, _RATIONAL, dots),
        (283, _RATIONAL, dots),
        (296, _SHORT, [_CENTIMETRE]),
        (530, _SHORT, [2, 2]),
        (65420, _LONG, [1]),
        (65421, _FLOAT, [lens]),
        (65426, _LONG, starts),
    ]


def _packed(kind, values):
    return values if kind == _TEXT else struct.pack(f"<{len(values)}{_FORMATS[kind]}", *values)


def _outside(tag):
    """Bytes of a tag's values that do not fit into its entry."""
    length = len(_packed(*tag[1:]))
    return length if length > 4 else 0


def _add_directory(out, tags):
    """Append the values of tags and the directory; returns where its link is."""
    entries = bytearray()
    for code, kind, values in tags:
        packed, count = _packed(kind, values), len(values) // (2 if kind == _RATIONAL else 1)
        if _outside((code, kind, values)):
            field, place = struct.pack("<I", len(out)), packed
            out += place
        else:
            field = packed.ljust(4, b"\0")
        entries += struct.pack("<HHI", code, kind, count) + field
    out += struct.pack("<H", len(tags)) + entries
    link = len(out)
    out += bytes(8 + 4 * len(tags))  # no link, and the high halves of all offsets
    return link
