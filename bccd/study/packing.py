"""All that a detector found in a field, as one value of the database.

A header of JSON, which names the classes, then the arrays as they are: no pickle, and a tenth of
the size and time of a row for each box.
"""

import itertools
import json
import zlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from bccd.detections import Detections
from bccd.study.errors import StudyError

_BOXES, _SCORES, _CLASSES = np.dtype("<f4"), np.dtype("<f4"), np.dtype("<u2")


class Packed(NamedTuple):
    """What was found in a field.

    Attributes:
        class_names: of the detector.
        found: at any score.
    """

    class_names: tuple[str, ...]
    found: Detections


def pack(found: Detections, class_names: Sequence[str]) -> bytes:
    """``found`` of a detector with these classes, as bytes."""
    header = {"names": list(class_names), "count": len(found), "size": list(found.image_size)}
    arrays = (
        np.ascontiguousarray(found.boxes, _BOXES),
        np.ascontiguousarray(found.scores, _SCORES),
        np.ascontiguousarray(found.classes, _CLASSES),
    )
    content = b"".join([json.dumps(header).encode(), b"\n", *(a.tobytes() for a in arrays)])
    return zlib.compress(content, 1)


def unpack(packed: bytes) -> Packed:
    """What :func:`pack` was given.

    Raises:
        StudyError: they are other bytes.
    """
    try:
        line, _, content = zlib.decompress(packed).partition(b"\n")
        header = json.loads(line)
        names, count, size = header["names"], header["count"], tuple(header["size"])
        places = np.cumsum([0, 16 * count, 4 * count, 2 * count])
        if len(content) != places[-1]:
            raise ValueError(f"{len(content)} bytes for {count} boxes")
        parts = [content[a:b] for a, b in itertools.pairwise(places)]
        boxes, scores, classes = (
            np.frombuffer(part, kind)
            for part, kind in zip(parts, (_BOXES, _SCORES, _CLASSES), strict=True)
        )
    except (zlib.error, ValueError, KeyError, TypeError) as error:
        raise StudyError(
            f"the detections of a field are damaged ({error}): count it again"
        ) from error
    found = Detections(size, boxes.reshape(-1, 4), scores, classes.astype(np.int64))
    return Packed(tuple(names), found)
