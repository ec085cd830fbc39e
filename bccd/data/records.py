"""Records of registered data sets, in the one form that the rest of the project reads.

A data set that somebody else registered has boxes in any of Detectron2's box modes and its classes
in an order of its own. Read by position, both would give wrong numbers without a word.

What names the classes of a model and of a data set is here, too.
"""

import logging
from collections.abc import Sequence

from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import BoxMode

from bccd.data.boxes import box_error, clip, format_box, has_no_area, passes_border
from bccd.data.classes import check_class_names, find_class
from bccd.data.record_boxes import xyxy_boxes

logger = logging.getLogger(__name__)

_FIELDS = ("file_name", "image_id", "height", "width")
# What a loader or a record of another form raises in place of saying what is wrong.
_UNCLEAR = (AssertionError, AttributeError, IndexError, KeyError, NotImplementedError, TypeError)


def dataset_class_names(name: str) -> tuple[str, ...]:
    """Names of the classes of a registered data set, in its order; empty where it names none.

    Raises:
        OSError, ValueError: it cannot be read; two of the classes are one class, or one is no
            name.
    """
    if name in DatasetCatalog and MetadataCatalog.get(name).get("thing_classes") is None:
        _read(name)  # Detectron2's loader of COCO files names the classes then
    names = MetadataCatalog.get(name).get("thing_classes") or ()
    return check_class_names(tuple(names), f"thing_classes of dataset {name}") if names else ()


def incomplete_classes(name: str) -> tuple[str, ...]:
    """Classes of a registered data set of which many cells are not marked.

    Nothing can be said of counts of these. ``incomplete_classes`` in MetadataCatalog names them.
    """
    return tuple(MetadataCatalog.get(name).get("incomplete_classes") or ())


def model_class_names(cfg: CfgNode) -> tuple[str, ...]:
    """Names of the classes of the model that ``cfg`` describes, in its order.

    Returns:
        MODEL.CLASS_NAMES or, where that is empty, the classes of the first of DATASETS.TRAIN; empty
        where neither names any.
    """
    if cfg.MODEL.CLASS_NAMES:
        return check_class_names(tuple(cfg.MODEL.CLASS_NAMES), "MODEL.CLASS_NAMES")
    return dataset_class_names(cfg.DATASETS.TRAIN[0]) if cfg.DATASETS.TRAIN else ()


def load_records(
    name: str, class_names: Sequence[str] = (), *, need_boxes: bool = False
) -> list[dict]:
    """Records of a registered data set by the rules of ``annotated_image.to_records``.

    Classes are matched by name, in any accepted spelling. A class of another name is passed over as
    long as no box has it.

    Args:
        name: in DatasetCatalog; ``thing_classes`` in MetadataCatalog names its classes.
        class_names: of the model; empty: those of the data set itself.
        need_boxes: refuse a data set without a box, of which nothing can be learnt or
            measured.

    Returns:
        copies of the records with ``annotations``, each with ``bbox`` in XYXY_ABS,
        ``category_id`` by ``class_names`` and ``iscrowd`` 0 or 1. A box without area is dropped,
        one past the border is clipped, each with a warning.

    Raises:
        FileNotFoundError: a file of the data set is missing.
        ValueError: no image, no box where one is needed, other classes, or a record or box that
            cannot be used; the message names the data set, and the image.
    """
    records = _read(name)
    if not records:
        raise ValueError(f"dataset {name} has no image; check the files that it was registered by")
    class_ids, clipped = _match_classes(name, records, class_names), []
    _check_fields(name, records)
    loaded = [_canonical(record, class_ids, name, clipped) for record in records]
    if clipped:
        message = "%s: %d boxes reach past the border of their image and are clipped, first in %s"
        logger.warning(message, name, len(clipped), clipped[0])
    if need_boxes and not any(not a["iscrowd"] for r in loaded for a in r["annotations"]):
        raise ValueError(
            f"dataset {name} has {len(loaded)} images, but no annotated box to learn or measure "
            "anything by; check the files that it was registered by"
        )
    return loaded


def _read(name):
    try:
        return list(DatasetCatalog.get(name))
    except _UNCLEAR as error:
        raise ValueError(
            f"dataset {name} cannot be read, an entry has another form than its loader expects "
            f"({type(error).__name__}: {error})"
        ) from error


def _match_classes(name, records, class_names):
    """{class id of the data set: that of ``class_names``}.

    Raises:
        ValueError: the data set does not say its classes, or they are not the model's.
    """
    try:
        used = {a["category_id"] for record in records for a in record.get("annotations", ())}
    except _UNCLEAR as error:
        raise ValueError(f"dataset {name}: an annotation has no category_id") from error
    expected = f"expected {', '.join(class_names) or 'a name for each'}, in any order"
    found = MetadataCatalog.get(name).get("thing_classes")
    if found is None:
        if not used:
            return {}
        raise ValueError(
            f"dataset {name} does not name its classes ({expected}): set "
            f"MetadataCatalog.get({name!r}).thing_classes"
        )
    class_names = class_names or dataset_class_names(name)
    class_ids = {i: find_class(str(spelling), class_names) for i, spelling in enumerate(found)}
    missing = [c for k, c in enumerate(class_names) if k not in class_ids.values()]
    strange = [str(found[i]) for i in class_ids if i in used and class_ids[i] is None]
    if missing or strange:
        differences = [f"it lacks {', '.join(missing)}"] * bool(missing)
        differences += [f"it has boxes of {', '.join(strange)}"] * bool(strange)
        raise ValueError(
            f"dataset {name} has the classes {', '.join(map(str, found)) or 'none'}; {expected}, "
            f"which are the model's: {'; '.join(differences)}. Rename its classes, leave the "
            "dataset out, or train a model for its classes"
        )
    if unnamed := [i for i in used if i not in class_ids]:
        raise ValueError(
            f"dataset {name} has boxes of class {unnamed[0]!r}, but names {len(found)} classes; "
            "category_id counts them from 0"
        )
    return class_ids


def _check_fields(name, records):
    """Raise ValueError for a record without what every one has, or with the id of another."""
    files = {}
    for record in records:
        if missing := [field for field in _FIELDS if record.get(field) is None]:
            file = record.get("file_name", "a record")
            raise ValueError(f"dataset {name}: {file} lacks {', '.join(missing)}")
        if record["image_id"] in files:
            raise ValueError(
                f"dataset {name}: {files[record['image_id']]} and {record['file_name']} have the "
                f"same image_id {record['image_id']}, by which detections are told apart. Renumber "
                "them, or list an image once"
            )
        files[record["image_id"]] = record["file_name"]


def _canonical(record, class_ids, name, clipped):
    """A copy of ``record`` as load_records returns it; the files of clipped boxes are appended."""
    where = f"dataset {name}: {record['file_name']}"
    annotations = record.get("annotations") or []
    try:
        boxes = xyxy_boxes(annotations)
    except (*_UNCLEAR, ValueError) as error:
        raise ValueError(
            f"{where} has a box that is not four numbers with a bbox_mode in pixels ({error})"
        ) from error
    size, kept = (record["width"], record["height"]), []
    for annotation, box in zip(annotations, boxes.tolist(), strict=True):
        if error := box_error(box, *size):
            raise ValueError(f"{where}: {error}. Correct or remove this box.")
        if has_no_area(box):
            logger.warning("%s: box %s has no area and is dropped", where, format_box(box))
            continue
        if passes_border(box, *size):
            clipped.append(record["file_name"])
        kept.append(
            {
                **annotation,
                "bbox": clip(box, *size),
                "bbox_mode": BoxMode.XYXY_ABS,
                "category_id": class_ids[annotation["category_id"]],
                "iscrowd": int(annotation.get("iscrowd") or 0),
            }
        )
    return {**record, "annotations": kept}
