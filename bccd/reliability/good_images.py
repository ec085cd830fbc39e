"""Small images in every form that is read, and files that promise far more than they hold."""

import base64
import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import tifffile
from PIL import Image

from bccd.data.synthetic import draw_smear

HEIC = """
AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAX1tZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAA
AAAAAAAAAAAAACJpbG9jAAAAAERAAAEAAQAAAAABoQABAAAAAAAAABwAAAAjaWluZgAAAAAAAQAAABVpbmZlAgAA
AAABAABodmMxAAAAAA5waXRtAAAAAAABAAAA/WlwcnAAAADdaXBjbwAAAHZodmNDAQNwAAAAkAAAAAAAHvAA/P34
+AAADwNgAAEAGEABDAH//wNwAAADAJAAAAMAAAMAHroCQGEAAQAqQgEBA3AAAAMAkAAAAwAAAwAeoCCBBZbq5Ka5
uAhoMCAAAAMDIAAAAwAhYgABAAZEAcFzwIkAAAATY29scm5jbHgAAQANAAaAAAAAFGlzcGUAAAAAAAAAQAAAAEAA
AAAoY2xhcAAAAEAAAAABAAAAMAAAAAEAAAAAAAAAAv////AAAAACAAAAEHBpeGkAAAAAAwgICAAAABhpcG1hAAAA
AAAAAAEAAQWBAgMFhAAAACRtZGF0AAAAGCgBrxOA9SeBP/5ZR//R9nh83O1+efLU8A==
"""  # 64 x 48 pixels of the colour (200, 100, 50), by pillow-heif; what reads it cannot write it
_SIZE = (72, 96)  # height, width
_JPEG_FRAME = b"\xff\xc0"  # marker before precision, height and width
_ORIENTATION = 274  # tag of EXIF


def write_good_images(folder: Path) -> list[Path]:
    """Write one file of each form; gives their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    rgb = np.ascontiguousarray(draw_smear(1, *_SIZE)[0][:, :, ::-1])
    deep = rgb.astype(np.uint16) << 4
    for name, options in _PILLOW.items():
        _save(rgb, folder / name, dict(options))
    for name, values, options in _tiffs(rgb, deep):
        tifffile.imwrite(folder / name, values, **options)
    for name, values in (
        ("deep.png", deep[..., ::-1]),
        ("deep.ppm", deep),
        ("grey.pgm", deep[..., 0]),
    ):
        cv2.imwrite(str(folder / name), values)
    (folder / "photo.heic").write_bytes(base64.b64decode(HEIC))
    return sorted(folder.iterdir())


_PILLOW = {
    "photo.jpg": {"quality": 85},
    "turned.jpg": {"orientation": 6},
    "progressive.jpg": {"progressive": True},
    "grey.jpg": {"mode": "L"},
    "printed.jpg": {"mode": "CMYK"},
    "plain.png": {},
    "palette.png": {"mode": "P"},
    "bits.png": {"mode": "1"},
    "alpha.png": {"mode": "RGBA"},
    "plain.bmp": {},
    "plain.webp": {"lossless": True},
    "still.gif": {"mode": "P"},
    "moving.gif": {"mode": "P", "save_all": True, "frames": 2},
    "plain.jp2": {},
    "plain.avif": {},
    "pillow.tif": {"compression": "tiff_lzw"},
    "fax.tif": {"mode": "1", "compression": "group4"},
}


def _save(rgb, path, options):
    image = Image.fromarray(rgb).convert(options.pop("mode", "RGB"))
    if orientation := options.pop("orientation", None):
        exif = Image.Exif()
        exif[_ORIENTATION] = orientation
        options["exif"] = exif
    if options.pop("frames", None):
        options["append_images"] = [image.rotate(90)]
    image.save(path, **options)


def _tiffs(rgb, deep):
    """(name, values, options of tifffile) of TIFF files of several depths and pages."""
    colour = {"photometric": "rgb"}
    grey = {"photometric": "minisblack"}
    yield "deep.tif", deep, {**colour, "compression": "zlib", "predictor": True}
    yield "float.tif", (rgb[..., 0] / 255).astype(np.float32), {**grey, "metadata": None}
    yield "planes.tif", deep.transpose(2, 0, 1), {**colour, "planarconfig": "separate"}
    yield "pages.tif", np.stack([rgb] * 3), {**colour, "metadata": {"axes": "TYXS"}}
    yield "large.tif", rgb, {**colour, "bigtiff": True, "byteorder": ">"}
    yield "tiles.tif", rgb, {**colour, "tile": (32, 32), "compression": "jpeg"}
    channels = {"axes": "CYX", "Channel": {"Name": ["red", "green", "blue"]}}
    yield "channels.ome.tif", deep.transpose(2, 0, 1), {**grey, "metadata": channels}
    yield "stack.tif", deep.transpose(2, 0, 1)[:, None], {"imagej": True, **grey}
    pixels = {"axes": "YXS", "PhysicalSizeX": 0.1, "PhysicalSizeXUnit": "µm"}
    yield "sized.ome.tif", rgb, {**colour, "metadata": pixels}


def _png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_of(width: int, height: int, content: bytes, *more: bytes) -> bytes:
    """A PNG of 8-bit grey whose header promises a size, whatever ``content`` holds.

    Args:
        width, height: in pixels.
        content: before compression.
        more: chunks before it.
    """
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = _png_chunk(b"IHDR", header), *more, _png_chunk(b"IDAT", zlib.compress(content, 9))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks) + _png_chunk(b"IEND", b"")


def _text_bomb():
    """A megabyte of text in a few bytes, a hundred times."""
    text = b"Comment\0\0" + zlib.compress(b"a" * 2**20, 9)
    return png_of(8, 8, b"\0" * 72, *[_png_chunk(b"zTXt", text)] * 100)


def _huge_jpeg():
    stream = io.BytesIO()
    Image.new("L", (16, 16)).save(stream, "JPEG")
    content = stream.getvalue()
    place = content.index(_JPEG_FRAME) + 5
    return content[:place] + struct.pack(">HH", 65500, 65500) + content[place + 4 :]


def _huge_tiff(width, height):
    """A TIFF of one strip that promises a size."""
    stream = io.BytesIO()
    tifffile.imwrite(stream, np.zeros((8, 8), np.uint8), metadata=None)
    stream.seek(0)
    with tifffile.TiffFile(stream) as file:
        tags = file.pages.first.tags
        places = [tags[name].valueoffset for name in ("ImageWidth", "ImageLength")]
    content = bytearray(stream.getvalue())
    for place, side in zip(places, (width, height), strict=True):
        content[place : place + 4] = struct.pack("<I", side)
    return bytes(content)


# Files that promise far more pixels, or hold far more, than their bytes let one think.
BOMBS: dict[str, Callable[[], bytes]] = {
    "zeros.png": lambda: png_of(9000, 9000, b"\0" * 9001 * 9000),
    "too many zeros.png": lambda: png_of(20000, 20000, b"\0" * 20001 * 100),
    "huge.png": lambda: png_of(2**31 - 1, 2**31 - 1, b"\0"),
    "wide.png": lambda: png_of(80_000_000, 1, b"\0" * 100),
    "none.png": lambda: png_of(0, 0, b""),
    "text.png": _text_bomb,
    "huge.jpg": _huge_jpeg,
    "huge.tif": lambda: _huge_tiff(2**31 - 1, 2**31 - 1),
    "tall.tif": lambda: _huge_tiff(8, 11_000_000),
    "none.tif": lambda: _huge_tiff(0, 0),
}
