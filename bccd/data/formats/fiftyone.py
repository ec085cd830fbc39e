"""A FiftyOne dataset directory: ``metadata.json``, ``samples.json`` and the images in ``data/``.

FiftyOne itself starts a database server and needs a gigabyte.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

from bccd.data.formats import files
from bccd.data.formats.annotated_image import AnnotatedBox, AnnotatedImage
from bccd.data.formats.dataset import AnnotatedDataset
from bccd.data.formats.json_content import Entry, load_json
from bccd.data.formats.json_kinds import FIFTYONE, kind_of
from bccd.data.formats.listing import Listing, size_of
from bccd.data.formats.writing import Writing

IMAGES = "data"
_FIELD = "ground_truth"  # the field that is read where there are several
_DETECTIONS = "Detections"


def is_fiftyone(root: Path, below: Sequence[Path]) -> bool:
    """Whether a ``samples.json`` of FiftyOne is among the files ``below`` a folder."""
    return any(map(describes, below))


def describes(path: Path) -> bool:
    """Whether a file is FiftyOne's list of samples."""
    return kind_of(path) == FIFTYONE


def read_fiftyone(root: Path, file: Path | None = None) -> AnnotatedDataset:
    """List the dataset directories below a folder, or that of one ``samples.json``."""
    found = [file] if file else [p for p in files.list_files(root) if describes(p)]
    listing, classes = Listing(root, "fiftyone", found), []
    for path in found:
        try:
            samples = list(Entry(load_json(path), str(path)).entries("samples", "sample"))
            field = _field(samples, path, listing)
            find = listing.finder(path, [path.parent / IMAGES])
            for sample in samples:
                image = find(sample.text("filepath"))
                if not sample.has(field):
                    listing.dataset.unannotated.append(image)
                    continue
                annotated = _read(sample, field, path, image)
                for part in _parts(sample) or [None]:
                    listing.add(annotated, part)
            classes += _classes(path.with_name("metadata.json"), field)
        except ValueError as error:
            listing.refuse(path, error)
    return listing.finish(classes or None, every_picture=file is None)


def _field(samples, path, listing):
    """The field of the samples that holds the boxes."""
    fields = {
        name
        for sample in samples
        for name, value in sample.values.items()
        if isinstance(value, dict) and value.get("_cls") == _DETECTIONS
    }
    if len(fields) > 1 and _FIELD not in fields:
        raise ValueError(
            f"{path}: boxes are in the fields {', '.join(sorted(fields))}. Export one of them, or "
            f"call it {_FIELD}."
        )
    field = _FIELD if _FIELD in fields or not fields else next(iter(fields))
    if others := sorted(fields - {field}):
        message = f"the boxes of {', '.join(others)} are passed over: those of {field} are read"
        listing.dataset.simplified.append((path, message))
    return field


def _read(sample, field, path, image):
    if sample.has("metadata"):
        metadata = sample.entry("metadata")
        width, height = metadata.pixels("width"), metadata.pixels("height")
    else:
        width, height = size_of(image, sample.where)
        if not width:
            raise ValueError(
                f"{sample.where}: metadata is missing, and so is {image}. Add the image, or "
                "call compute_metadata() before exporting."
            )
    boxes = []
    for detection in sample.entry(field).entries("detections", "detection"):
        box = detection.items("bounding_box")
        values = Entry(dict(zip("xywh", box, strict=False)), f"{detection.where}, bounding_box")
        x, y, w, h = values.numbers(*"xywh")
        if not all(-1 <= value <= 2 for value in (x, y, w, h)):
            raise ValueError(
                f"{values.where} is {box}, expected shares of the image's sides, from 0 to 1."
            )
        corners = (x * width, y * height, (x + w) * width, (y + h) * height)
        label, score = detection.text("label"), detection.score("confidence")
        boxes.append(AnnotatedBox(label, corners, None, detection.where, 0, score))
    return AnnotatedImage(image, path, 0, width, height, tuple(boxes))


def _parts(sample):
    """The tags of a sample that are parts of a data set."""
    tags = sample.items("tags") if sample.has("tags") else []
    return [tag for tag in tags if isinstance(tag, str) and tag.lower() in files.PARTS]


def _classes(path, field):
    if not path.is_file():
        return []
    metadata = Entry(load_json(path), str(path))
    classes = metadata.entry("classes") if metadata.has("classes") else Entry({}, str(path))
    for entry, key in ((classes, field), (metadata, "default_classes")):
        if entry.has(key):
            return [name for name in entry.items(key) if isinstance(name, str) and name.strip()]
    return []


def write_fiftyone(writing: Writing) -> None:
    """Write the directory; parts are tags of the samples, scores the confidence of detections."""
    samples = []
    for name, image in writing.images.items():
        size = {"width": image.width, "height": image.height}
        detections = [_detection(box, image, f"{name} {i}") for i, box in enumerate(image.boxes)]
        samples.append(
            {
                "_id": _object_id(name),
                "filepath": f"{IMAGES}/{writing.file_name(name)}",
                "tags": writing.parts_of(name),
                "metadata": {"_cls": "ImageMetadata", **size},
                "_media_type": "image",
                _FIELD: {"_cls": _DETECTIONS, "detections": detections},
            }
        )
    metadata = {
        **{"name": "blood cells", "media_type": "image", "num_samples": len(samples)},
        **{"classes": {_FIELD: list(writing.class_names)}, "default_classes": []},
    }
    text = json.dumps({"samples": samples}, ensure_ascii=False)
    writing.put("samples.json", f"{text}\n")
    writing.put("metadata.json", json.dumps(metadata, ensure_ascii=False) + "\n")


def _detection(box, image, key):
    x0, y0, x1, y1 = box.corners
    width, height = image.width, image.height
    detection = {
        **{"_id": _object_id(key), "_cls": "Detection", "attributes": {}, "tags": []},
        "label": box.name,
        "bounding_box": [x0 / width, y0 / height, (x1 - x0) / width, (y1 - y0) / height],
    }
    return detection if box.score is None else {**detection, "confidence": box.score}


def _object_id(key):
    """An id in the form of the database's, which is the same for the same data."""
    return {"$oid": uuid5(NAMESPACE_URL, key).hex[:24]}
