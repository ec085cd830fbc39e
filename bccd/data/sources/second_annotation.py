"""The second annotation of a BCCD data set, where there is one."""

from collections.abc import Sequence
from pathlib import Path

from detectron2.data import DatasetCatalog

from bccd.data.records import load_records


def load_second_annotation(
    dataset: str, records: Sequence[dict], class_names: Sequence[str]
) -> list[dict] | None:
    """What another annotator marked on some of the images of ``bccd_<split>``.

    Args:
        dataset: a registered name; ``bccd_relabelled_<split>`` is its second annotation.
        records: Detectron2 records of the data set.
        class_names: of their classes.

    Returns:
        Detectron2 records of the images that both have, with the image ids of ``records``; None
        where no second annotation is registered under that name or its files are not there.
    """
    name = dataset.replace("bccd_", "bccd_relabelled_", 1)
    if name == dataset or name not in DatasetCatalog:
        return None
    try:
        second = load_records(name, class_names)
    except FileNotFoundError:
        return None
    ids = {Path(record["file_name"]).stem: record["image_id"] for record in records}
    shared = [(ids.get(Path(record["file_name"]).stem), record) for record in second]
    return [{**record, "image_id": i} for i, record in shared if i is not None]
