"""Folders of YOLO label files: with a data.yaml (Ultralytics, Roboflow) or a list of names."""

from collections.abc import Sequence
from pathlib import Path

import yaml

from bccd.data.formats import files
from bccd.data.formats.annotated_image import AnnotatedImage
from bccd.data.formats.dataset import AnnotatedDataset, unique_classes
from bccd.data.formats.text_content import read_text
from bccd.data.formats.writing import Writing
from bccd.data.formats.yolo import read_labels, to_yolo_lines
from bccd.data.images.decoding import image_size
from bccd.data.images.image_source import UnreadableImageError

_NAME_LISTS = ("classes.txt", "obj.names")  # of Label Studio and labelImg; of Darknet and CVAT
_LABELS, _IMAGES = "labels", "images"


def is_yolo(root: Path, below: Sequence[Path]) -> bool:
    """Whether a yaml or a list of names is in ``root``, which has the files ``below``."""
    return bool(_descriptions(below))


def describes_yolo(path: Path) -> bool:
    """Whether a file is a yaml or a list of names."""
    return path.suffix.lower() in (".yaml", ".yml") or path.name in _NAME_LISTS


def _descriptions(below):
    """Those files that name classes, the uppermost first."""
    found = [path for path in files.with_suffix(below, (".yaml", ".yml")) if _has_names(path)]
    found = found or [path for path in below if path.name in _NAME_LISTS]
    return sorted(found, key=lambda path: len(path.parts))


def _has_names(path):
    try:
        content = yaml.safe_load(read_text(path))
    except (yaml.YAMLError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and "names" in content


def read_yolo(root: Path, description: Path | None = None) -> AnnotatedDataset:
    """List a YOLO data set; an image without a label file is one without cells.

    Args:
        root: folder.
        description: ``data.yaml``, ``classes.txt`` or ``obj.names``; searched below ``root`` if
            None.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be used, or there are several; no image has a label file.
    """
    root = Path(root)
    if description is None:
        description = _only_description(root)
    if not description.is_file():
        raise FileNotFoundError(f"{description} is not there. Name a data.yaml, or its folder.")
    dataset = AnnotatedDataset(root, "yolo")
    if description.suffix in (".yaml", ".yml"):
        content = _parse(description)
        class_names = _class_names(content, description)
        parts = _parts(content, description, dataset)
    else:
        lines = read_text(description).splitlines()
        class_names = [line.strip() for line in lines if line.strip()]
        parts = {None: files.images_of(files.list_files(root))}
    dataset.class_names = unique_classes(class_names)
    _add_images(dataset, parts, description, class_names)
    return dataset


def _only_description(root):
    found = _descriptions(files.list_files(root, log_skipped=False))
    if not found:
        raise FileNotFoundError(f"{root} has no data.yaml or classes.txt, which names the classes.")
    if len(found) > 1 and len(found[0].parts) == len(found[1].parts):
        raise ValueError(
            f"{root} has {found[0].name} and {found[1].name}. Name the one that is meant, as "
            f"yolo:{found[0]}."
        )
    return found[0]


def _parse(description):
    try:
        content = yaml.safe_load(read_text(description))
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"{description}: not yaml ({' '.join(str(error).split())}).") from None
    if not isinstance(content, dict):
        raise ValueError(f"{description}: no keys, expected train, val and names.")
    return content


def _class_names(content, description):
    names = content.get("names")
    if isinstance(names, dict):
        if sorted(names, key=str) != sorted(range(len(names)), key=str):
            raise ValueError(
                f"{description}: names are numbered {', '.join(map(str, names))}; expected 0 to "
                f"{len(names) - 1}."
            )
        names = [names[i] for i in range(len(names))]
    if not isinstance(names, list) or not names:
        raise ValueError(f"{description}: names is {names!r}, expected the names of the classes.")
    names = [str(name) for name in names]
    if len(set(names)) < len(names):
        raise ValueError(f"{description}: two classes have one name: {', '.join(names)}.")
    if content.get("nc") not in (None, len(names)):
        raise ValueError(
            f"{description}: nc is {content['nc']}, but there are {len(names)} names. Correct one."
        )
    return names


def _parts(content, description, dataset):
    """Part to the images that the description lists for it; what is not there is noted."""
    parts, usual = {}, ("train", "val", "valid", "test")
    # Lists of other names, as of parts that another format calls ``all`` or ``default``.
    others = [
        key
        for key, entry in content.items()
        if key not in (*usual, "path") and isinstance(entry, str) and entry.endswith(".txt")
    ]
    for part in (*usual, *map(str, others)):
        entries = content.get(part)
        entries = [entries] if isinstance(entries, str) else entries or []
        found = []
        for entry in entries:
            path = _locate(str(entry), content, description)
            if path is None:
                dataset.absent.append((description, f"{part} is {entry}, which is not there"))
            elif path.is_dir():
                found += files.images_of(files.list_files(path))
            else:
                found += _listed(path, dataset)
        if found:
            parts[part] = found
    if not parts:
        raise ValueError(
            f"{description}: none of train, val and test names images that are there. Correct the "
            "paths: they are relative to this file."
        )
    return parts


def _locate(entry, content, description):
    """The folder or list that a yaml names, or None.

    ``path`` is what the others are relative to; where another computer's does not exist here, the
    yaml's folder is. Roboflow writes ``../train/images`` for what is beside the yaml.
    """
    entry = entry.replace("\\", "/")
    base = description.parent
    bases = [base / str(content.get("path") or "").replace("\\", "/"), base]
    spellings = [entry, entry.removeprefix("../")]
    candidates = [folder / spelling for spelling in spellings for folder in bases]
    return next((path for path in candidates if path.exists()), None)


def _listed(path, dataset):
    """Images that a text file lists, a line each; those not there are noted."""
    images = []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        if name := line.strip().replace("\\", "/"):
            image = path.parent / name
            if image.is_file():
                images.append(image)
            else:
                dataset.unreadable.append((path, f"{path}:{number}: {name} is not there"))
    return images


def _add_images(dataset, parts, description, class_names):
    every = list(dict.fromkeys(image for images in parts.values() for image in images))
    folder = files.common_folder([*every, description], dataset.root)
    names, labelled = _names(every, folder), 0
    uploads = _Uploads()
    for number, image in enumerate(every, start=1):
        labels = uploads.find(_label_file(image))
        labelled += labels.is_file()
        try:
            width, height = image_size(image)
            boxes = ()
            if labels.is_file():
                boxes = read_labels(labels, class_names, width, height)
        except (OSError, UnreadableImageError, ValueError) as error:
            dataset.unreadable.append((labels if labels.is_file() else image, str(error)))
            continue
        source = labels if labels.is_file() else description
        dataset.images[names[image]] = AnnotatedImage(image, source, number, width, height, boxes)
    if every and not labelled:
        raise ValueError(
            f"{description}: none of its {len(every)} images has a label file; expected "
            f"{_label_file(every[0])} for {every[0]}. Put the label files there."
        )
    dataset.splits = {
        part: [names[image] for image in images] for part, images in parts.items() if part
    }


def _names(images, folder):
    names = {}  # name to image
    for image in images:
        name = files.entry_name(image, folder)
        names[name if name not in names else f"{name}{image.suffix}"] = image
    return {image: name for name, image in names.items()}


class _Uploads:
    """Label files whose names differ from their images' by what Label Studio puts in front."""

    def __init__(self):
        self._folders = {}

    def find(self, labels):
        """A label file as it is called; ``labels`` where there is none."""
        if labels.is_file():
            return labels
        if labels.parent not in self._folders:
            found = self._folders[labels.parent] = {}
            for path in labels.parent.glob("*.txt"):
                found.setdefault(files.without_upload_prefix(path.name), []).append(path)
        uploaded = self._folders[labels.parent].get(labels.name, [])
        return uploaded[0] if len(uploaded) == 1 else labels


def _label_file(image):
    """Where the labels of an image belong: the last ``images`` of its path is ``labels``."""
    parts = list(image.with_suffix(".txt").parts)
    for i in reversed(range(len(parts) - 1)):
        if parts[i] == _IMAGES:
            parts[i] = _LABELS
            return Path(*parts)
    return Path(*parts)


def write_yolo(writing: Writing) -> None:
    """Write label files, a list ``<part>.txt`` for each part, and yaml files.

    There is a yaml for each family of parts: ``paper.yaml`` for ``paper_train``, ``paper_val``;
    ``data.yaml`` for ``train``, ``val``.
    """
    for name, image in writing.images.items():
        lines = to_yolo_lines(image, writing.class_names)
        writing.put(f"{_LABELS}/{name}.txt", "".join(lines))
    parts = writing.parts()
    for part, names in parts.items():
        lines = (f"./{_IMAGES}/{writing.file_name(name)}\n" for name in names)
        writing.put(f"{part}.txt", "".join(lines))
    for family, members in _families(parts).items():
        content = {part: f"{split}.txt" for part, split in members.items()}
        content["names"] = dict(enumerate(writing.class_names))
        writing.put(f"{family}.yaml", yaml.safe_dump(content, sort_keys=False, allow_unicode=True))


def _families(splits):
    """Split names by what they have in common: paper_train, paper_val -> paper: {train, val}."""
    families = {}
    for split in splits:
        family, _, part = split.rpartition("_")
        families.setdefault(family or "data", {})[files.PARTS.get(part, part)] = split
    return families
