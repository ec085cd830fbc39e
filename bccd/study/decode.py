"""The process that reads images for a study: ``python -m bccd.study.decode``.

A damaged or hostile file may crash its decoder, fill the memory or hang: then this process ends,
and nothing else. It takes a request as a line of JSON on standard input, and answers on standard
output with a line of JSON, followed by as many bytes as that says.
"""

import contextlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np

from bccd.counting.image_errors import in_plain_words
from bccd.counting.slides.slide import Slide
from bccd.data.images.decoding import image_size, list_pages, read_bgr
from bccd.data.images.image_source import ImageSource
from bccd.data.images.pixel_size import read_pixel_size
from bccd.data.images.slide_files import is_slide
from bccd.study.tile_plan import TILE, plan_levels, tile_name

SMALL = 320  # longest side of a small picture
_QUALITY = 90  # of JPEG
_MEMORY = 4 * 2**30  # bytes of addresses that this process may take
_FILE = 2**30  # bytes of a file that it may write
_MOST_PAGES = 2000


def describe(request: dict) -> tuple[dict, bytes]:
    """The images in a file: page (0: the file is the image), width and height of each."""
    path = Path(request["path"])
    if is_slide(path):
        with Slide(path) as slide:
            height, width = slide.size
        return {"slide": {"width": width, "height": height}, "images": []}, b""
    images = []
    for source in list_pages(path)[:_MOST_PAGES]:
        width, height = image_size(source)
        images.append({"page": source.page or 0, "width": width, "height": height})
    return {"images": images}, b""


def pixels(request: dict) -> tuple[dict, bytes]:
    """All pixels of an image, uint8 BGR."""
    image = _read(request)
    path = Path(request["path"])
    if request["window"]:
        with Slide(path) as slide:
            size = slide.micrometres_per_pixel
    else:
        size = read_pixel_size(_source(request))
    return {"shape": list(image.shape), "micrometres_per_pixel": size}, image.tobytes()


def small(request: dict) -> tuple[dict, bytes]:
    """A small picture as JPEG."""
    image = _read(request)
    factor = min(1.0, SMALL / max(image.shape[:2]))
    width, height = (max(1, round(factor * side)) for side in image.shape[1::-1])
    return {}, _jpeg(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA))


def tiles(request: dict) -> tuple[dict, bytes]:
    """Write the tiles of all levels into ``folder``."""
    image, folder = _read(request), Path(request["folder"])
    for level in plan_levels(image.shape[1], image.shape[0]):
        if level.level:
            size = (level.width, level.height)
            image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        for row in range(level.rows):
            for column in range(level.columns):
                top, left = row * TILE, column * TILE
                part = image[top : top + TILE, left : left + TILE]
                name = tile_name(level.level, column, row)
                (folder / name).write_bytes(_jpeg(part))
    return {}, b""


_ANSWERS: dict[str, Callable[[dict], tuple[dict, bytes]]] = {
    "describe": describe,
    "pixels": pixels,
    "small": small,
    "tiles": tiles,
}


def _source(request):
    return ImageSource(Path(request["path"]), request["page"])


def _read(request) -> np.ndarray:
    if not request["window"]:
        return read_bgr(_source(request))
    left, top, width, height = request["window"]
    with Slide(request["path"]) as slide:
        return np.ascontiguousarray(slide[top : top + height, left : left + width])


def _jpeg(image) -> bytes:
    _, encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    return encoded.tobytes()


def _answer(request: dict) -> tuple[dict, bytes]:
    try:
        return _ANSWERS[request["do"]](request)
    except Exception as error:  # decoders raise whatever a damaged file makes of them
        return {"error": in_plain_words(error, Path(request["path"]))}, b""


def _limit() -> None:
    """Bound what a file can make this process take."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource  # not on Windows

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (_FILE, _FILE))
        if sys.platform == "linux":  # macOS refuses it
            resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer requests until their end."""
    for line in requests:
        about, content = _answer(json.loads(line))
        answers.write(json.dumps({**about, "bytes": len(content)}).encode() + b"\n")
        answers.write(content)
        answers.flush()


def main() -> None:
    """Answer requests on standard input; what libraries print goes to standard error."""
    _limit()
    cv2.setNumThreads(1)
    answers: Any = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    with contextlib.suppress(BrokenPipeError, KeyboardInterrupt):
        serve(sys.stdin.buffer, answers)


if __name__ == "__main__":
    main()
