"""Files of a data set on disk: listing them, naming the images, finding an image by its name."""

import os
import re
from collections.abc import Iterable
from pathlib import Path

from bccd.data.images.apple_double import without_apple_double
from bccd.data.images.image_source import IMAGE_SUFFIXES

# Names of folders that separate a part of a data set from another: part in Detectron2's words.
PARTS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
# Names of folders that separate images from annotations and say nothing about either.
_ROOMS = (
    "annotations",
    "annotation",
    "xml",
    "jpegimages",
    "images",
    "image",
    "img",
    "labels",
    "data",
)
_LONGEST = 4096  # characters of a path
# Label Studio puts this in front of the names of the files that are uploaded to it.
_LABEL_STUDIO_PREFIX = re.compile(r"^[0-9a-f]{8}-")


def list_files(root: Path, *, log_skipped: bool = True) -> list[Path]:
    """All files below ``root``, sorted, without hidden files and folders and those of macOS.

    Files of macOS are named in a log message, if ``log_skipped``.
    """
    found = []
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = sorted(n for n in subfolders if not n.startswith((".", "__MACOSX")))
        found += [Path(folder, name) for name in sorted(names)]
    if log_skipped:
        found = without_apple_double(found)
    return [path for path in found if not path.name.startswith(".")]


def with_suffix(paths: Iterable[Path], suffixes: Iterable[str]) -> list[Path]:
    """Those of ``paths`` whose suffix, in any case, is one of ``suffixes``."""
    return [path for path in paths if path.suffix.lower() in suffixes]


def images_of(paths: Iterable[Path]) -> list[Path]:
    """Those of ``paths`` that are images by their names."""
    return with_suffix(paths, IMAGE_SUFFIXES)


def common_folder(paths: Iterable[Path], root: Path) -> Path:
    """The folder that names of images start from: the deepest one that holds all ``paths``.

    It is never the folder of one part (``train``) or of images or annotations alone, as far as
    ``root`` reaches.
    """
    folders = {path.parent for path in paths}
    folder = Path(os.path.commonpath(folders)) if folders else root
    while folder != root and folder.name.lower() in (*PARTS, *_ROOMS):
        folder = folder.parent
    return folder


def entry_name(path: Path, folder: Path) -> str:
    """Name of an image in its data set, which its annotation shares: ``slide1/smear_07``.

    It is the path below ``folder`` without suffix, and without folders such as ``images`` and
    ``Annotations``. Where ``path`` is not below ``folder``, it is the stem.
    """
    if not path.is_relative_to(folder):
        return path.stem
    parts = path.relative_to(folder).parts[:-1]
    return "/".join([*(part for part in parts if part.lower() not in _ROOMS), path.stem])


def by_name(paths: Iterable[Path], folder: Path) -> dict[str, Path]:
    """``paths`` by their :func:`entry_name`.

    Raises:
        ValueError: two have one name.
    """
    found = {}
    for path in paths:
        name = entry_name(path, folder)
        if name in found:
            raise ValueError(f"{found[name]} and {path} have one name. Rename one of them.")
        found[name] = path
    return found


def parts_by_folder(names: Iterable[str]) -> dict[str, list[str]]:
    """Splits of a data set whose names start with ``train/``, ``valid/``, ``test/``."""
    splits = {}
    for name in names:
        part, slash, _ = name.partition("/")
        if slash and part.lower() in PARTS:
            splits.setdefault(part, []).append(name)
    return splits


class ImageFinder:
    """Finds the image that an annotation names.

    Programs write the path as it was on another computer. A path below one of ``folders`` is
    taken first, then the one image of that file name below ``root``, then the one whose name
    differs by the eight digits that Label Studio puts in front.
    """

    def __init__(self, folders: Iterable[Path | str], images: Iterable[Path] = ()) -> None:
        """``folders``: that a path may start from; ``images``: below the data set's folder."""
        self._folders = [Path(folder) for folder in folders]
        self._by_file_name = {}
        for image in images:
            for key in {image.name, without_upload_prefix(image.name)}:
                self._by_file_name.setdefault(key, []).append(image)

    def starting_from(self, folders: Iterable[Path | str]) -> "ImageFinder":
        """One for the same images, whose paths may start from other folders."""
        finder = ImageFinder(folders)
        finder._by_file_name = self._by_file_name
        return finder

    def __call__(self, name: str) -> Path:
        """Path of the image; below the first folder where there is no such image."""
        if "\0" in name or len(name) > _LONGEST:
            raise ValueError(f"{name[:60]!r} is not the name of an image. Correct it.")
        spellings = dict.fromkeys((name, name.replace("\\", "/")))
        for folder in self._folders:
            for spelling in spellings:
                if _is_file(folder / spelling):
                    return folder / spelling
        file_name = name.replace("\\", "/").rpartition("/")[2]
        for key in (file_name, without_upload_prefix(file_name)):
            found = self._by_file_name.get(key, ())
            exact = [image for image in found if image.name == key]
            if len(exact or found) == 1:
                return (exact or found)[0]
        return self._folders[0] / name


def _is_file(path):
    try:
        return path.is_file()
    except OSError:  # a part of its name is too long
        return False


def without_upload_prefix(file_name: str) -> str:
    """A file name without the eight digits that Label Studio puts in front of uploads."""
    return _LABEL_STUDIO_PREFIX.sub("", file_name)
