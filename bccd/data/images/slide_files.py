"""Which files are slides: images of whole smears, far larger than a field of view."""

from pathlib import Path

# Formats of slide scanners that are TIFF files inside.
SLIDE_SUFFIXES = (".svs", ".ndpi", ".scn", ".bif")
_KINDS = ("svs", "ndpi", "scn", "bif", "philips")  # tifffile's names
# A TIFF file in tiles with reduced copies of itself is a slide from so many pixels on: cameras
# give less. One without copies, from what is too much for one field of view.
PYRAMID_PIXELS, TILED_PIXELS = 16_000_000, 89_478_485


def is_slide(path: Path) -> bool:
    """Whether a file is a slide, by its content; a file that cannot be read is none."""
    try:
        with open(path, "rb") as file:
            if file.read(2) not in (b"II", b"MM"):
                return False
        import tifffile  # takes longer to import than most files take to read

        with tifffile.TiffFile(path) as file:
            if any(getattr(file, f"is_{kind}") for kind in _KINDS):
                return True
            levels = file.series[0].levels
            page = levels[0].keyframe
            pixels = page.imagewidth * page.imagelength
            least = PYRAMID_PIXELS if len(levels) > 1 else TILED_PIXELS
            return page.is_tiled and pixels > least
    except Exception:  # tifffile raises whatever a damaged file makes of it
        return False
