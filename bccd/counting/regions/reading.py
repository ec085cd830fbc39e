"""Regions of interest in files, and as users write them."""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from PIL import Image

from bccd.counting.regions.region import MaskRegion, PolygonRegion, Region, RegionError

GEOJSON_SUFFIXES = (".geojson", ".json")
MASK_SUFFIXES = (".png", ".tif", ".tiff", ".bmp")
# What is no region of QuPath's objects in a file.
_CELLS = ("detection", "cell", "tile", "tmaCore")
_NUMBER = r"-?\d+(?:\.\d+)?"
_VERTICES = re.compile(rf"\s*{_NUMBER}\s*,\s*{_NUMBER}(?:[\s;]+{_NUMBER}\s*,\s*{_NUMBER})*\s*")

RegionLike = str | os.PathLike | np.ndarray | Region


def to_region(given: RegionLike) -> Region:
    """A region as users give it.

    Args:
        given: path of a GeoJSON file or of a mask image; vertices as text, ``"10,10 90,10 50,80"``,
            or as an array (V, 2); a mask as an array (H, W); or a :class:`Region`.

    Raises:
        FileNotFoundError: there is no such file.
        RegionError: it is no region.
    """
    if isinstance(given, np.ndarray | list | tuple):
        array = np.asarray(given)
        is_vertices = array.ndim == 2 and array.shape[1] == 2 and array.dtype != bool
        return PolygonRegion.of_vertices(array) if is_vertices else MaskRegion(array)
    if not isinstance(given, str | os.PathLike):
        return given
    text = os.fspath(given)
    path = Path(os.path.expanduser(text))
    if not path.exists() and _VERTICES.fullmatch(text):
        numbers = np.array(re.findall(_NUMBER, text), dtype=np.float64)
        return PolygonRegion.of_vertices(numbers.reshape(-1, 2))
    if not path.is_file():
        raise FileNotFoundError(
            f"the region {text} does not exist: expected a GeoJSON file, a mask image, a folder of "
            "either, or vertices as '10,10 90,10 50,80'"
        )
    if path.suffix.lower() in GEOJSON_SUFFIXES:
        return PolygonRegion(list(read_polygons(path)), str(path))
    return MaskRegion(_read_mask(path), name=str(path))


def read_polygons(path: Path) -> Iterator[shapely.Polygon]:
    """The polygons of a GeoJSON file, as QuPath writes its annotations; cells are passed over.

    Raises:
        RegionError: it is no GeoJSON file, or holds something beside polygons.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        for geometry in _geometries(content):
            shape = shapely.geometry.shape(geometry)
            if shape.geom_type not in ("Polygon", "MultiPolygon"):
                raise RegionError(
                    f"{path} holds a {shape.geom_type}, which has no area; draw a polygon, "
                    "rectangle or ellipse"
                )
            yield from shapely.get_parts(shape)
    except RegionError:
        raise
    except Exception as error:  # shapely raises whatever coordinates that are none make of it
        raise RegionError(f"{path} is no GeoJSON file of polygons ({error})") from error


def _geometries(content: Any) -> Iterator[dict]:
    if isinstance(content, list):
        entries = content
    elif content.get("type") == "FeatureCollection":
        entries = content["features"]
    elif content.get("type") == "GeometryCollection":
        entries = content["geometries"]
    elif content.get("type") == "Feature":
        if (content.get("properties") or {}).get("objectType") not in _CELLS:
            yield content["geometry"]
        return
    else:
        yield content
        return
    for entry in entries:
        yield from _geometries(entry)


def _read_mask(path):
    """Not 0 where any colour of a mask image is not black, and it is not transparent."""
    try:
        with Image.open(path) as image:
            if image.format in ("JPEG", "MPO"):
                raise RegionError(
                    f"the region {path} is a JPEG: a photograph is no mask, and of a mask its "
                    "compression changes the outline; save masks as PNG"
                )
            if image.has_transparency_data:
                image = image.convert("RGBA")
            values = np.asarray(image if image.mode != "P" else image.convert("RGB"))
    except RegionError:
        raise
    except Exception as error:  # Pillow raises whatever a damaged file makes of it
        raise RegionError(
            f"the region {path} is no mask image that can be read ({error}); GeoJSON files end in "
            f"{' or '.join(GEOJSON_SUFFIXES)}"
        ) from error
    if values.ndim == 2:
        return values != 0
    inside = (values[..., :3] != 0).any(axis=2)
    return inside & (values[..., 3] != 0) if values.shape[2] == 4 else inside
