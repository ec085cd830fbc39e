"""What a user asks to be analysed: files, folders and globs."""

import glob
import logging
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from bccd.counting.detection_files import printable
from bccd.data.images.apple_double import without_apple_double
from bccd.data.images.decoding import is_url, list_pages, local_path, looks_like_image
from bccd.data.images.image_source import IMAGE_SUFFIXES, ImageSource
from bccd.data.images.own_pictures import is_marked
from bccd.data.images.slide_files import SLIDE_SUFFIXES, is_slide

# Formats of microscopes, slide scanners and cameras, and films: not read, but reported where a
# folder holds them.
_FOREIGN_SUFFIXES = (
    *(".czi", ".nd2", ".lif", ".lsm", ".oib", ".oif", ".vsi", ".zvi", ".ims", ".stk", ".dcm"),
    *(".mrxs", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf"),
    *(".raf", ".rw2"),
)
_VIDEO_SUFFIXES = (".avi", ".mp4", ".mov", ".mkv", ".wmv", ".m4v")

logger = logging.getLogger(__name__)


class Task(NamedTuple):
    """An image to count in, and the name of its picture in the output folder (None: no picture).

    A slide has a ``folder`` for its results there, in which its picture is.
    """

    file: ImageSource
    picture: Path | None
    folder: Path | None = None


class LeftOut(NamedTuple):
    """A file or subfolder that may hold what the user wants counted, and why it is left out."""

    path: Path
    reason: str


class Inputs(NamedTuple):
    """What :func:`find_images` found."""

    images: list[ImageSource]
    left_out: list[LeftOut]


def find_images(patterns: Iterable[str]) -> Inputs:
    """List the images that files, folders, globs and URLs name, each once, in a stable order.

    A file of several fields of view gives one image for each. Files named ``._*``, in which macOS
    keeps attributes, and pictures that this project drew are skipped with a message.

    Args:
        patterns: a folder stands for the images directly inside it; ``**`` in a glob also enters
            subfolders; ``smear.tif#2`` is the second page of a file. A URL is one of Detectron2's
            ``PathManager``.

    Returns:
        Inputs; ``left_out`` has what looks like images in the folders and is not listed.

    Raises:
        FileNotFoundError: a pattern names nothing, or nothing that is an image.
    """
    found, left_out = {}, []
    for pattern in patterns:
        page = ImageSource.parse(os.path.expanduser(pattern))
        if page.page is not None and page.path.is_file():
            found.setdefault((page.path.resolve(), page.page), page)
            continue
        files, ignored = _expand(pattern)
        files = _without_drawn(without_apple_double(files))
        if not files:
            raise FileNotFoundError(_nothing(pattern, ignored))
        left_out += ignored
        for page in (page for path in files for page in _list_images(path)):
            found.setdefault((page.path.resolve(), page.page), page)
    covered = {parent for path, _ in found for parent in (path, *path.parents)}
    left_out = [each for each in left_out if each.path.resolve() not in covered]
    return Inputs(list(found.values()), left_out)


def _list_images(path):
    """The images of a file; a slide, which may hold pictures of its label beside, is one."""
    return [ImageSource(path)] if is_slide(path) else list_pages(path)


def _expand(pattern):
    """The files that a pattern names, and what of a folder is left out."""
    if is_url(pattern):
        return [Path(local_path(pattern))], []
    pattern = os.path.expanduser(pattern)
    path = Path(pattern)
    if path.is_file():
        return [path], []
    if path.is_dir():
        return _list_folder(path)
    return sorted(Path(p) for p in glob.glob(pattern, recursive=True) if os.path.isfile(p)), []


def _list_folder(folder):
    images, left_out = [], []
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in (*IMAGE_SUFFIXES, *SLIDE_SUFFIXES) and not path.is_dir():
            images.append(path)
        elif path.name.startswith("."):
            continue
        elif path.is_dir():
            if any(map(_is_image, path.rglob("*"))):
                left_out.append(LeftOut(path, "a subfolder with images; name it as well"))
        else:
            reason = _why_left_out(path)
            if reason:
                left_out.append(LeftOut(path, reason))
    return images, left_out


def _is_image(path):
    """Whether a file's name is that of an image that somebody may want counted."""
    suffixes = (*IMAGE_SUFFIXES, *SLIDE_SUFFIXES)
    named = path.suffix.lower() in suffixes and not path.name.startswith(".")
    return named and path.is_file() and not _is_drawn(path)


def _is_drawn(path):
    return path.suffix.lower() == ".png" and is_marked(path)


def _without_drawn(paths):
    kept, drawn = [], []
    for path in paths:
        (drawn if _is_drawn(path) else kept).append(path)
    if drawn:
        logger.info(f"Skipped {len(drawn)} pictures that this project drew, such as {drawn[0]}")
    return kept


def foreign_reason(name: str | os.PathLike) -> str | None:
    """Why a file is left out whose name is that of a film or of a format that is not read."""
    suffix = Path(name).suffix
    if suffix.lower() in _FOREIGN_SUFFIXES:
        return f"{suffix} files are not read; export its fields as TIFF, PNG or JPEG"
    if suffix.lower() in _VIDEO_SUFFIXES:
        return "a video; count it alone, with --video-input"
    return None


def _why_left_out(path):
    """Why a file that is an image is left out; None for one that is none."""
    if reason := foreign_reason(path):
        return reason
    return "an image without the suffix of one; rename it" if looks_like_image(path) else None


def _nothing(pattern, left_out):
    """Message for a pattern that names no image."""
    if not (is_url(pattern) or os.path.exists(os.path.expanduser(pattern))):
        return f"No file, folder or glob match: {pattern}"
    if os.path.isfile(os.path.expanduser(pattern)):
        return f"{pattern} is no image to count (see above); name the images themselves"
    message = f"No image ({' '.join(IMAGE_SUFFIXES)}) in {pattern}. "
    if left_out:
        return message + "; ".join(f"{path}: {reason}" for path, reason in left_out)
    return f"{message}Subfolders are not entered: use '{pattern}/**/*.jpg' for those."


def picture_names(images: Sequence[ImageSource]) -> list[Path]:
    """Relative names of the output pictures, one per input image and no two alike.

    Folders are kept from the inputs' common one on, so that ``a/1.jpg`` and ``b/1.jpg`` stay
    apart; the input's suffix is kept where ``1.jpg`` and ``1.tif`` would meet.

    Args:
        images: all different.

    Returns:
        names that end in ``.png``.
    """
    absolute = [Path(os.path.abspath(image.path)) for image in images]
    root = os.path.commonpath([path.parent for path in absolute])
    relative = [path.relative_to(root) for path in absolute]
    pages = [image.page_suffix for image in images]
    pairs = list(zip(relative, pages, strict=True))
    names = [path.with_name(f"{path.stem}{page}.png") for path, page in pairs]
    if len(set(names)) == len(names):
        return names
    return [path.with_name(f"{path.name}{page}.png") for path, page in pairs]


def plan_pictures(images: Sequence[ImageSource], folder: str | os.PathLike | None) -> list[Task]:
    """Each image with the name of its picture, see :func:`picture_names`.

    Args:
        images: all different.
        folder: that pictures are to be written to, or None.

    Returns:
        without ``folder`` they have no picture.

    Raises:
        FileExistsError: pictures would lie beside the images, or replace one.
    """
    if folder is None:
        return [Task(image, None) for image in images]
    for image in images:
        if Path(folder).resolve() in image.path.resolve().parents:
            raise FileExistsError(
                f"the output folder {folder} holds the input {image}: pictures would replace "
                "images, or be taken for some; name another folder"
            )
    return [Task(*each) for each in zip(images, picture_names(images), strict=True)]


def plan_slides(tasks: Sequence[Task], picture: str) -> list[Task]:
    """The tasks, those of slides with a folder for their results.

    Args:
        tasks: of all images.
        picture: name of a slide's picture in its folder.
    """
    names = picture_names([task.file for task in tasks])
    planned = []
    for task, name in zip(tasks, names, strict=True):
        if task.file.page is None and is_slide(task.file.path):
            folder = name.with_suffix("")
            task = Task(task.file, folder / picture if task.picture else None, folder)
        planned.append(task)
    return planned


def log_left_out(left_out: Iterable[LeftOut]) -> None:
    """Log what a folder holds that is not counted."""
    for path, reason in left_out:
        logger.error(f"Left out: {printable(path)} ({reason})")
