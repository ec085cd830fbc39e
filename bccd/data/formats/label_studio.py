"""Label Studio: a JSON file of tasks, exported (JSON or JSON-MIN) or with predictions to import.

Its own converter (label-studio-sdk) needs half a gigabyte of other packages, and drops scores.
"""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit
from uuid import NAMESPACE_URL, uuid5
from xml.sax.saxutils import quoteattr

from bccd.data.classes import class_colors
from bccd.data.formats import files
from bccd.data.formats.annotated_image import AnnotatedBox, AnnotatedImage
from bccd.data.formats.dataset import AnnotatedDataset
from bccd.data.formats.json_content import Entry, load_json
from bccd.data.formats.json_kinds import LABEL_STUDIO, kind_of
from bccd.data.formats.label_studio_regions import Region, regions_of
from bccd.data.formats.listing import Listing, size_of
from bccd.data.formats.writing import Writing
from bccd.data.formats.xml_content import parse_xml, root_tag
from bccd.data.images.image_source import IMAGE_SUFFIXES

_PART = "part"  # a field of a task's data
_MODEL = "bccd"  # the version of the model in predictions
_BOX_LABELS = ("RectangleLabels", "PolygonLabels", "EllipseLabels", "Labels")


def is_label_studio(root: Path, below: Sequence[Path]) -> bool:
    """Whether a file of Label Studio is among the files ``below`` a folder."""
    return any(map(describes, below))


def describes(path: Path) -> bool:
    """Whether a file lists tasks of Label Studio."""
    return kind_of(path) == LABEL_STUDIO


def read_label_studio(root: Path, file: Path | None = None) -> AnnotatedDataset:
    """List the files of tasks below a folder, or one of them.

    Where a person has annotated a task, the annotation is read; else its predictions are.
    """
    below = files.list_files(root)
    found = [file] if file else [path for path in below if describes(path)]
    listing, labels = Listing(root, "labelstudio", found), []
    for path in files.with_suffix(below, (".xml",)):
        if root_tag(path) == "View":
            labels += _labels(path)
    for path in found:
        try:
            tasks = load_json(path)
            if not isinstance(tasks, list):
                raise ValueError(f"{path}: expected a list of tasks. Export as JSON.")
            find, outlines = listing.finder(path), 0
            for number, task in enumerate(tasks, start=1):
                task = Entry(task, f"{path}: {_task_name(task, number)}")
                outlines += _add(listing, path, task, find)
            listing.simplify(path, outlines)
        except ValueError as error:
            listing.refuse(path, error)
    return listing.finish(labels or None, every_picture=file is None)


def _labels(path):
    """The classes of a labelling configuration."""
    tree = parse_xml(path)
    values = (
        label.get("value") for tag in _BOX_LABELS for label in tree.iterfind(f".//{tag}/Label")
    )
    return [value for value in values if value]


def _task_name(task, number):
    return f"task {task['id']}" if isinstance(task, dict) and "id" in task else f"task {number}"


def _add(listing, path, task, find):
    """Add a task; returns how many of its boxes were drawn as another shape."""
    data = task.entry("data") if task.has("data") else task
    image = find(_image_name(data))
    regions = _regions(task, listing, path)
    if regions is None:
        listing.dataset.unannotated.append(image)
        return 0
    sizes = {region.size for region in regions}
    if len(sizes) > 1:
        raise ValueError(
            f"{task.where}: regions state several sizes of the image: {sorted(sizes)}."
        )
    width, height = sizes.pop() if sizes else size_of(image, task.where)
    boxes = [AnnotatedBox(r.label, r.corners, None, r.where, 0, r.score) for r in regions]
    part = data.values.get(_PART)
    annotated = AnnotatedImage(image, path, 0, width, height, tuple(boxes))
    listing.add(annotated, part if isinstance(part, str) and part else None)
    return sum(region.is_outline for region in regions)


def _image_name(data: Entry) -> str:
    """The image's path in a task's data: what was uploaded, of a local file or of a URL."""
    value = data.values.get("image")
    if not isinstance(value, str) or not value:
        texts = [v for v in data.values.values() if isinstance(v, str)]
        images = [v for v in texts if _path(v).lower().endswith(IMAGE_SUFFIXES)]
        if len(images) != 1:
            raise ValueError(f"{data.where}: {len(images)} values name an image, expected 1.")
        value = images[0]
    return _path(value)


def _path(url):
    if "?d=" in url:  # of local storage
        return unquote(url.partition("?d=")[2].partition("&")[0])
    if re.match(r"[A-Za-z][\w+.-]+://", url):
        try:
            return unquote(urlsplit(url).path).lstrip("/")
        except ValueError:
            return url
    return unquote(url) if url.startswith("/data/") else url


def _regions(task: Entry, listing: Listing, path: Path) -> list[Region] | None:
    """Regions of the annotation that counts, or of the prediction; None: there is neither."""
    if not task.has("data"):  # JSON-MIN
        return regions_of(_short_results(task), task.where)
    kept = []
    for annotation in task.entries("annotations", "annotation") if task.has("annotations") else ():
        if annotation.values.get("was_cancelled"):
            listing.dataset.simplified.append((path, f"{task.where}: a skipped annotation"))
        else:
            kept.append(annotation)
    if kept:
        chosen = _chosen(kept, task, listing, path)
        return regions_of(chosen.entries("result", "result"), task.where)
    predictions = list(task.entries("predictions", "prediction")) if task.has("predictions") else []
    if not predictions:
        return None
    if len(predictions) > 1:
        message = f"{task.where}: {len(predictions)} predictions, of which the last is read"
        listing.dataset.simplified.append((path, message))
    return regions_of(predictions[-1].entries("result", "result"), task.where)


def _chosen(annotations, task, listing, path):
    """Of several annotations the one that is marked as ground truth, else the latest."""
    marked = [each for each in annotations if each.values.get("ground_truth") is True]
    if len(annotations) == 1 or len(marked) == 1:
        chosen = (marked or annotations)[0]
    else:
        chosen = max(annotations, key=lambda each: str(each.values.get("updated_at") or ""))
    if len(annotations) > 1:
        why = "marked as ground truth" if len(marked) == 1 else "the latest"
        message = f"{task.where}: {len(annotations)} annotations, of which that {why} is read"
        listing.dataset.simplified.append((path, message))
    return chosen


def _short_results(task: Entry) -> Iterator[Entry]:
    """The regions of a task of JSON-MIN: the list of objects under the name of its control."""
    for key, value in task.values.items():
        if isinstance(value, list) and all(isinstance(each, dict) for each in value):
            yield from task.entries(key, f"{key}")


def write_label_studio(writing: Writing) -> None:
    """Write ``tasks.json`` to import, and ``labelling.xml``, the labelling configuration.

    Boxes with scores are predictions, which Label Studio shows as pre-annotations; others are
    annotations. Images are named as local storage serves the folder.
    """
    tasks = []
    for number, (name, image) in enumerate(writing.images.items(), start=1):
        path = f"/data/local-files/?d=images/{quote(writing.file_name(name))}"
        data = {"image": path, **writing.part_as(_PART, name)}
        results = [_result(box, image, f"{name} {i}") for i, box in enumerate(image.boxes)]
        task = {"id": number, "data": data, "annotations": [], "predictions": []}
        if any(box.score is not None for box in image.boxes) or not image.boxes:
            task["predictions"].append({"model_version": _MODEL, "result": results})
        else:
            task["annotations"].append({"result": results})
        tasks.append(task)
    writing.put("tasks.json", json.dumps(tasks, ensure_ascii=False, indent=1) + "\n")
    writing.put("labelling.xml", _configuration(writing.class_names))


def _configuration(class_names):
    labels = [
        "    <Label value={} background={}/>\n".format(
            quoteattr(name), quoteattr("#{:02x}{:02x}{:02x}".format(*color))
        )
        for name, color in zip(class_names, class_colors(class_names), strict=True)
    ]
    return (
        '<View>\n  <Image name="image" value="$image" zoom="true"/>\n'
        '  <RectangleLabels name="label" toName="image">\n'
        f"{''.join(labels)}  </RectangleLabels>\n</View>\n"
    )


def _result(box, image, key):
    x0, y0, x1, y1 = box.corners
    value = {
        **{"x": 100 * x0 / image.width, "y": 100 * y0 / image.height},
        **{"width": 100 * (x1 - x0) / image.width, "height": 100 * (y1 - y0) / image.height},
        **{"rotation": 0, "rectanglelabels": [box.name]},
    }
    result = {
        **{"id": uuid5(NAMESPACE_URL, key).hex[:10], "type": "rectanglelabels"},
        **{"from_name": "label", "to_name": "image", "image_rotation": 0, "value": value},
        **{"original_width": image.width, "original_height": image.height},
    }
    return result if box.score is None else {**result, "score": box.score}
