"""ImageJ: a zip archive of ROIs for each image, as the ROI Manager saves it; by roifile."""

import contextlib
import io
import logging
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from bccd.data.classes import class_colors
from bccd.data.formats import files
from bccd.data.formats.annotated_image import AnnotatedBox, AnnotatedImage
from bccd.data.formats.dataset import AnnotatedDataset
from bccd.data.formats.json_content import Entry
from bccd.data.formats.listing import Listing, size_of
from bccd.data.formats.shapes import Corners
from bccd.data.formats.writing import Writing

_CLASS, _GROUP, _SCORE = "class", "group", "score"  # properties of a ROI
# The ROI Manager calls what is drawn by hand 0123-0456, by its place in the image.
_BY_HAND = re.compile(r"(?:\d+-)*\d+")
_NUMBERED = re.compile(r"(.+?)(?:-\d+){1,2}")  # it adds a second number where two are the same
_MAX_ROI_BYTES = 2**22
_SHOWN = 200  # characters of an error that may hold the bytes of a file


def is_imagej(root: Path, below: Sequence[Path]) -> bool:
    """Whether ROIs are among the files ``below`` a folder."""
    return any(map(describes, below))


def describes(path: Path) -> bool:
    """Whether a file is a ROI or an archive of them."""
    if path.suffix.lower() == ".roi":
        return True
    if path.suffix.lower() != ".zip":
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            names = [info.filename for info in archive.infolist() if not info.is_dir()]
    except Exception:  # zipfile raises whatever broken bytes make of it
        return False
    return all(name.lower().endswith(".roi") for name in names)


def read_imagej(root: Path, file: Path | None = None) -> AnnotatedDataset:
    """List the archives of ROIs below a folder, or one of them.

    ``field.zip``, ``field_RoiSet.zip``, ``RoiSet_field.zip`` or ``field.roi`` is of the image
    ``field.jpg``.
    """
    found = [file] if file else [p for p in files.list_files(root) if describes(p)]
    listing = Listing(root, "imagej", found)
    read = {}
    for path in found:
        try:
            read[path] = list(_rois(path))
        except ValueError as error:
            listing.refuse(path, error)
    groups = _classes_of_groups(roi for rois in read.values() for _, roi in rois)
    for path, rois in read.items():
        try:
            image, outlines = _image(path, rois, groups, listing)
            listing.add(image)
            listing.simplify(path, outlines)
        except ValueError as error:
            listing.refuse(path, error)
    return listing.finish(every_picture=file is None)


def _rois(path: Path) -> Iterator[tuple[str, object]]:
    """(place for messages, ImagejRoi) of each ROI of a file."""
    if path.suffix.lower() == ".roi":
        yield str(path), _parse(path.read_bytes(), str(path), path.stem)
        return
    for entry, content in _entries(path):
        where = f"{path}, {entry}"
        if content is None:
            raise ValueError(f"{where}: too large for a ROI. Remove it.")
        yield where, _parse(content, where, Path(entry).stem)


def _entries(path):
    """(name, bytes) of the files of an archive; None where one is too large for a ROI."""
    try:
        with zipfile.ZipFile(path) as archive:
            return [
                (info.filename, None if info.file_size > _MAX_ROI_BYTES else archive.read(info))
                for info in archive.infolist()
            ]
    except Exception as error:  # zipfile raises whatever broken bytes make of it
        reason = str(error)[:_SHOWN]
        raise ValueError(f"{path}: not an archive of ROIs ({reason}). Save it anew.") from None


def _parse(content, where, name):
    from roifile import ImagejRoi  # only this format needs it

    try:
        with _quiet("roifile"):
            roi = ImagejRoi.frombytes(content)
    except Exception as error:  # whatever roifile makes of broken bytes
        raise ValueError(f"{where}: not a ROI of ImageJ ({error}). Save it anew.") from None
    roi.name = name  # renaming in the ROI Manager changes the entry's name first
    return roi


@contextlib.contextmanager
def _quiet(name):
    """No log messages of a library, whose errors are reported otherwise."""
    library = logging.getLogger(name)
    level = library.level
    library.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        library.setLevel(level)


def _image(path, rois, groups, listing):
    """An AnnotatedImage, and how many of its boxes were drawn as another shape."""
    boxes, outlines = [], 0
    for where, roi in rois:
        corners, is_box = _corners(roi, where)
        score = Entry(_properties(roi), where).score(_SCORE)
        boxes.append(AnnotatedBox(_class_of(roi, groups, where), corners, None, where, 0, score))
        outlines += not is_box
    stem = re.sub(r"(?i)^roiset[_ -]+|[_ -]+roiset$|[_ -]+rois?$", "", path.stem)
    image = listing.same_stem(path, stem)
    width, height = size_of(image, str(path), as_stored=True)
    return AnnotatedImage(image, path, 0, width, height, tuple(boxes)), outlines


def _corners(roi, where) -> tuple[Corners, bool]:
    """The box of a ROI, and whether it was drawn as one."""
    from roifile import ROI_SUBTYPE, ROI_TYPE

    if roi.roitype in (ROI_TYPE.RECT, ROI_TYPE.OVAL) and not roi.composite:
        left, top, right, bottom = roi.left, roi.top, roi.right, roi.bottom
        if roi.subpixelrect:
            left, top, right, bottom = roi.xd, roi.yd, roi.xd + roi.widthd, roi.yd + roi.heightd
        corners = (float(left), float(top), float(right), float(bottom))
        return corners, roi.roitype == ROI_TYPE.RECT
    areas = (ROI_TYPE.POLYGON, ROI_TYPE.FREEHAND, ROI_TYPE.TRACED, ROI_TYPE.RECT)
    if roi.roitype not in areas or roi.subtype == ROI_SUBTYPE.TEXT:
        raise ValueError(
            f"{where}: a {roi.roitype.name.lower()} has no box. Draw a rectangle instead, or "
            "remove it."
        )
    try:
        points = np.concatenate(roi.coordinates(multi=True)).astype(float)
        (x0, y0), (x1, y1) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    except Exception as error:  # whatever roifile makes of a broken outline
        raise ValueError(f"{where}: its outline cannot be read ({error}). Draw it anew.") from None
    return (x0, y0, x1, y1), False


def _properties(roi) -> dict[str, str]:
    """Properties of a ROI: a line ``key: value`` each."""
    pairs = (line.partition(":") for line in roi.props.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs if value.strip()}


def _own_class(roi) -> str | None:
    """The class that a ROI itself states; None where its group does.

    What a person changed counts: a name that is not of the class that was written, then a group
    that is not.
    """
    name, written = roi.name.strip(), _properties(roi)
    numbered = _NUMBERED.fullmatch(name)
    named = None if _BY_HAND.fullmatch(name) else numbered[1] if numbered else name or None
    stated = written.get(_CLASS)
    if stated is None:
        return named
    as_written = re.fullmatch(re.escape(_entry_name(stated)) + r"(?:-\d+){0,2}", name)
    if named and not as_written:
        return named
    return None if written.get(_GROUP, str(roi.group)) != str(roi.group) else stated


def _classes_of_groups(rois) -> dict[int, set[str]]:
    """Classes by the group of the ROIs that state one."""
    groups = {}
    for roi in rois:
        if roi.group and (name := _own_class(roi)):
            groups.setdefault(roi.group, set()).add(name)
    return groups


def _class_of(roi, groups: Mapping[int, set[str]], where: str) -> str:
    if name := _own_class(roi):
        return name
    of_group = groups.get(roi.group, set())
    if len(of_group) == 1:
        return next(iter(of_group))
    raise ValueError(
        f"{where}: the ROI has no class. Rename it to its class and a number, such as RBC-12, or "
        "give it the group of its class."
    )


def write_imagej(writing: Writing) -> None:
    """Write an archive of ROIs for each image, beside it; one without cells is empty.

    A ROI is called by its class and number. Class and score are its properties, and the class is
    its group, from 1 on.
    """
    colors = class_colors(writing.class_names)
    for name, image in writing.images.items():
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
            for number, box in enumerate(image.boxes, start=1):
                group = writing.class_names.index(box.name) + 1
                entry = zipfile.ZipInfo(f"{_entry_name(box.name)}-{number:04d}.roi")
                archive.writestr(entry, _roi(box, group, colors[group - 1]).tobytes())
        writing.put(f"{writing.place(name)}.zip", stream.getvalue())


def _entry_name(name):
    return re.sub(r'[\\/:*?"<>|\x00-\x1f]', "_", name)


def _roi(box, group, color):
    from roifile import ROI_OPTIONS, ROI_TYPE, ImagejRoi

    x0, y0, x1, y1 = box.corners
    props = f"{_CLASS}: {box.name}\n{_GROUP}: {group}\n"
    if max(props) > "\uffff":
        raise ValueError(f"{box.name}: ImageJ's files hold no such characters. Rename the class.")
    if box.score is not None:
        props += f"{_SCORE}: {box.score!r}\n"
    return ImagejRoi(
        roitype=ROI_TYPE.RECT,
        options=ROI_OPTIONS.SUB_PIXEL_RESOLUTION,
        **{"left": int(x0), "top": int(y0), "right": round(x1), "bottom": round(y1)},
        **{"xd": x0, "yd": y0, "widthd": x1 - x0, "heightd": y1 - y0},
        name=_entry_name(box.name),
        props=props,
        group=group,
        stroke_color=bytes((255, *color)),
    )
