"""Pictures of fields with their cells."""

import zipfile
from pathlib import Path

import cv2
import numpy as np

from bccd.data.images.own_pictures import mark
from bccd.study.decoder import Decoder
from bccd.study.errors import StudyError
from bccd.study.field_list import FieldRow
from bccd.study.results.content import Content
from bccd.visualization.drawing import draw_detections
from bccd.visualization.regions import draw_region

_ZIP_TIME = (1980, 1, 1, 0, 0, 0)  # the same pictures give the same file


def draw_field(
    content: Content, row: FieldRow, decoder: Decoder, most: int | None = None
) -> np.ndarray:
    """A field with its cells and regions.

    Args:
        content: of the study.
        row: the field.
        decoder: reads it.
        most: longest side in pixels of the image below the boxes; None: its own.

    Returns:
        uint8 RGB array, a strip with the counts below; see ``draw_detections``.

    Raises:
        StudyError: the image cannot be read.
    """
    field = content.field(row)
    image, _ = decoder.pixels(content.study.source(row.id))
    image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    factor = min(1.0, (most or max(image.shape[:2])) / max(image.shape[:2]))
    if factor < 1:
        size = [max(1, round(side * factor)) for side in image.shape[1::-1]]
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    for region in field.regions:
        inside = np.zeros(image.shape[:2], np.uint8)
        corners = np.rint(np.array(region.vertices) * factor).astype(np.int32)
        cv2.fillPoly(inside, [corners], 1)
        image = draw_region(image, inside.astype(bool))
    names = list(content.class_names)
    return draw_detections(
        image,
        factor * np.array([box.box for box in field.boxes], float).reshape(-1, 4),
        [names.index(box.name) for box in field.boxes],
        class_names=names,
        colors=list(content.colors.values()),
        title=row.name,
        cell_diameter=row.diameter and factor * row.diameter,
        long_side=most or 1200,
    )


def encode(picture: np.ndarray, suffix: str) -> bytes:
    """A picture as a file: ".png", which says that this program drew it, or ".jpg"."""
    quality = [cv2.IMWRITE_JPEG_QUALITY, 82] if suffix == ".jpg" else []
    _, data = cv2.imencode(suffix, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), quality)
    return mark(data.tobytes()) if suffix == ".png" else data.tobytes()


def write_pictures(content: Content, path: Path) -> None:
    """Write a ZIP file with a picture of each field that is counted and can be read."""
    names, decoders = content.names(), content.study.pictures.decoders
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive, decoders.one() as decoder:
        for row in content.rows:
            if row.counts is None:
                continue
            try:
                picture = draw_field(content, row, decoder)
            except StudyError:
                continue
            info = zipfile.ZipInfo(f"{_plain(names[row.id])}.png", _ZIP_TIME)
            archive.writestr(info, encode(picture, ".png"))


def _plain(name):
    """A name that leads nowhere when the file is unpacked."""
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    return "/".join(parts).replace(":", "_")
