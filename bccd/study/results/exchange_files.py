"""A study for other programs: JSON with everything, and COCO."""

import dataclasses
import json
from pathlib import Path

from bccd.counting.coco_file import CocoFile
from bccd.counting.detection_files import Found
from bccd.study.results.comparison import agree
from bccd.study.results.content import Content
from bccd.study.results.numbers import summarise_content

FORMAT = 1  # of the JSON file


def write_json(content: Content, path: Path) -> None:
    """Write settings, fields with boxes, regions and log, and the summary; a field at a time."""
    found = summarise_content(content)
    about = {
        "format": FORMAT,
        "study": content.study.name,
        "settings": dataclasses.asdict(content.settings),
        "classes": [dataclasses.asdict(each) for each in content.classes],
        "summary": [dataclasses.asdict(each) for each in found.quantities],
        "agreement": {name: e._asdict() for name, e in agree(content).by_class.items()},
    }
    with open(path, "w", encoding="utf-8") as file:
        file.write(json.dumps(about, ensure_ascii=False)[:-1])
        file.write(',\n"fields": [')
        for number, field in enumerate(content.fields()):
            log = [
                {"who": e.who, "at": e.at, "kind": e.kind, "asked": e.asked}
                for e in field.looked.log
            ]
            entry = {
                **field.row._asdict(),
                "boxes": [box._asdict() for box in field.boxes],
                "regions": [region._asdict() for region in field.regions],
                "log": log,
            }
            file.write((",\n" if number else "\n") + json.dumps(entry, ensure_ascii=False))
        file.write("\n]}\n")


def write_coco(content: Content, path: Path) -> None:
    """Write a COCO file as ``bccd count`` does: what a person drew has no score."""
    names = content.names()
    numbers = {name: number for number, name in enumerate(content.class_names, start=1)}
    settings = dataclasses.asdict(content.settings)
    info = {"description": "cells counted and corrected by bccd", **settings}
    file = CocoFile(path, content.colors, info)
    for field in content.fields():
        row = field.row
        if row.counts is None or not row.width or not row.height:
            status = row.error or "not counted yet"
            file.skip({"id": row.id, "file_name": names[row.id], "status": status})
            continue
        scale = (row.diameter, row.scale) if row.diameter else None
        area = (row.width * row.height, row.micrometres_per_pixel)
        found = Found(row.width, row.height, [], row.notes, scale, area)
        image = found.to_coco_image(row.id, names[row.id])
        if row.reviewed_by:
            image |= {"reviewed_by": row.reviewed_by, "reviewed_at": row.reviewed_at}
        file.add(image, (_detection(box, numbers) for box in field.boxes))
    file.close()


def _detection(box, numbers):
    left, top, right, bottom = box.box
    corners = [round(value, 3) for value in (left, top, right - left, bottom - top)]
    entry = {"category_id": numbers[box.name], "bbox": corners, "made_by": box.origin}
    return entry if box.score is None else entry | {"score": box.score}
