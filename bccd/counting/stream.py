"""Results of one image after another, for programs."""

import dataclasses
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bccd.counting.detection_files import printable
from bccd.counting.field_info import FieldInfo
from bccd.counting.image_errors import ImageError, blame_image
from bccd.counting.images import ChannelOrder, ImageLike, is_path, to_bgr, to_source
from bccd.counting.inputs import find_images, log_left_out, plan_pictures
from bccd.counting.pictures import write_picture
from bccd.counting.pipeline import count_ahead
from bccd.counting.regions.per_image import Regions
from bccd.counting.result import CountResult

if TYPE_CHECKING:  # it streams with this module
    from bccd.counting.counter import CellCounter

# An image, and the name of its picture or None.
Planned = tuple[Any, Path | None]


def plan(
    images: str | os.PathLike | Iterable[ImageLike], pictures: str | os.PathLike | None
) -> Iterable[Planned]:
    """The images that a caller means, and the names of their pictures.

    Args:
        images, pictures: see ``CellCounter.stream``.

    Raises:
        FileNotFoundError: a path names no image.
        TypeError: the images are a single array or PIL image.
        ValueError: pictures are wanted of what has no name.
    """
    images = [images] if is_path(images) else images
    if not isinstance(images, Iterable) or (isinstance(images, np.ndarray) and images.ndim < 4):
        raise TypeError("a stream takes several images, and this is one image; put it into a list")
    if isinstance(images, list | tuple) and all(map(is_path, images)):
        found = find_images([str(image) for image in images])
        log_left_out(found.left_out)
        return plan_pictures(found.images, pictures)
    if pictures is not None:
        raise ValueError("pictures: the images must be given by their paths")
    # Read ahead, a caller's buffer would have the next image by the time it is looked at.
    return ((np.copy(i) if isinstance(i, np.ndarray) else i, None) for i in images)


def stream(
    counter: "CellCounter",
    tasks: Iterable[Planned],
    channel_order: ChannelOrder,
    pictures: str | os.PathLike | None,
    regions: Regions,
    *,
    ends_at_error: bool,
) -> Iterator[CountResult]:
    """Results in the order of ``tasks``.

    Args:
        counter: counts.
        tasks: from :func:`plan`.
        channel_order: of arrays.
        pictures: folder for them, or None.
        regions: of interest.
        ends_at_error: raise ImageError where an image is not counted.
    """

    def read(task):
        image = task[0]
        with blame_image("unreadable", file=image if is_path(image) else ""):
            return to_bgr(image, channel_order)

    def describe(task, pixels):
        image = task[0]
        source = to_source(image) if is_path(image) else None
        with blame_image("region of interest"):
            return FieldInfo.read(source, pixels.shape[:2], regions)

    def name(task, pixels, result):
        return with_source(result, task[0], pixels)

    def draw(task, pixels, result):
        result = name(task, pixels, result)
        try:
            if result.ok:
                write_picture(Path(pictures, task[1]), pixels, result, result.name)
        except ImageError as error:
            return dataclasses.replace(counter.failed(error), file=result.file)
        return result

    if pictures is None:
        results = (name(*each) for each in count_ahead(counter, tasks, read, None, describe))
    else:
        results = count_ahead(counter, tasks, read, draw, describe)
    for result in results:
        if ends_at_error and not result.ok:
            raise ImageError(f"{result.file or 'an image'}: {result.status}")
        yield result


def with_source(result: CountResult, image: ImageLike, pixels: np.ndarray) -> CountResult:
    """``result`` with what ``draw`` needs: the name of a file, or the pixels."""
    if not is_path(image):
        return dataclasses.replace(result, _image=pixels)
    source = to_source(image)
    return dataclasses.replace(result, file=printable(source), _image=source)
