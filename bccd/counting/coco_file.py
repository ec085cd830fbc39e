"""Counted images as one COCO file."""

import json
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from bccd.data.classes import Color

SKIPPED = "not_counted"  # the list of images that have no annotations because they are not counted


def to_categories(class_colors: Mapping[str, Color]) -> list[dict]:
    """COCO's categories, with ids from 1 on, of {class name: RGB, 0-255}."""
    return [
        {"id": i, "name": name, "color": list(color)}
        for i, (name, color) in enumerate(class_colors.items(), start=1)
    ]


def to_annotation(detection: dict, number: int, image_id: int) -> dict:
    """COCO's annotation of one detection, as ``to_coco_results`` gives it."""
    width, height = detection["bbox"][2:]
    area = {"area": round(width * height, 3), "iscrowd": 0}
    return {"id": number, "image_id": image_id, **detection, **area}


class CocoFile:
    """A COCO file whose images are written one by one, in memory that does not grow with them.

    ``images`` holds the counted ones (``notes`` where there are some), ``categories`` the classes
    with ids from 1 on and their ``color``, ``annotations`` the detections with their ``score``.
    What COCO has no place for is in ``not_counted``: ``id``, ``file_name`` and ``status`` of the
    other images. Ids of the images are their places in the input, from 1 on. The file is complete
    once it is closed; until then the annotations are in a temporary file.
    """

    def __init__(self, path: Path, class_colors: Mapping[str, Color], info: dict) -> None:
        """Create a file.

        Args:
            path: of the file; an older one is replaced.
            class_colors: {class name: RGB, 0-255}, in the order of the ids.
            info: any dict for JSON.
        """
        self._file = open(path, "w", encoding="ascii")  # noqa: SIM115
        self._file.write(f'{{"info": {json.dumps(info)},\n')
        self._file.write(f'"categories": {json.dumps(to_categories(class_colors))},\n"images": [')
        self._images = _List(self._file)
        self._later = {key: _temporary_list(path) for key in ("annotations", SKIPPED)}

    def add(self, image: dict, detections: Iterable[dict]) -> None:
        """Append an image.

        Args:
            image: dict of ``id``, ``file_name``, ``width``, ``height`` and what else is known.
            detections: {"category_id", "bbox", "score"}, as :func:`.to_coco_results` gives.
        """
        self._images.append(image)
        annotations = self._later["annotations"]
        for detection in detections:
            annotations.append(to_annotation(detection, len(annotations) + 1, image["id"]))

    def skip(self, image: dict) -> None:
        """Append an image that is not counted: dict of ``id``, ``file_name`` and ``status``."""
        self._later[SKIPPED].append(image)

    def close(self) -> None:
        """Complete the file."""
        for key, entries in self._later.items():
            self._file.write(f'\n],\n"{key}": [')
            entries.move(self._file)
        self._file.write("\n]}\n")
        self._file.close()


def _temporary_list(path):
    return _List(tempfile.TemporaryFile("w+", encoding="ascii", dir=Path(path).parent))


class _List:
    """The entries of a JSON list in a text file, a line each."""

    def __init__(self, file):
        self._file, self._length = file, 0

    def append(self, entry):
        self._file.write((",\n" if self._length else "\n") + json.dumps(entry))
        self._length += 1

    def move(self, target):
        """Append everything to the file ``target`` and close this one."""
        self._file.seek(0)
        shutil.copyfileobj(self._file, target)
        self._file.close()

    def __len__(self):
        return self._length
