"""Counting in one image after another: the next are read, and the last ones drawn, meanwhile."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from itertools import takewhile
from typing import TYPE_CHECKING, Any

import numpy as np

from bccd.counting.field_info import UNKNOWN, FieldInfo
from bccd.counting.image_errors import ImageError, blame_image
from bccd.counting.pictures import BLANK
from bccd.data.loading.ahead import map_ahead

if TYPE_CHECKING:  # it streams with this module
    from bccd.counting.counter import CellCounter

AHEAD = 4  # images read, and as many drawn, while the model works on one


def count_ahead(
    counter: "CellCounter",
    owners: Iterable[Any],
    read: Callable[[Any], np.ndarray | None],
    finish: Callable | None = None,
    describe: Callable[[Any, np.ndarray], FieldInfo] = lambda owner, image: UNKNOWN,
    before: Callable[[], None] = lambda: None,
) -> Iterator:
    """Count in images one by one, in memory that does not grow with their number.

    An image that fails at any stage has a result that says why; see ``blame_image`` for the errors
    that end the iteration.

    Args:
        counter: counts.
        owners: what ``read`` and ``finish`` know an image by; may be endless.
        read: gives the uint8 BGR array (H, W, 3) of an owner, in another thread; None ends it all.
            What it raises as ImageError is the image's.
        finish: gets owner, image and CountResult, in a third thread and in the order of
            ``owners``; the image is None where it could not be read.
        describe: gives what is known of an owner's image beside its pixels; as ``read``.
        before: is called before each detection, in its thread.

    Yields:
        what ``finish`` returns, or without it its arguments.
    """

    def load(owner):
        try:
            image = read(owner)
            if image is None:
                return None
            info = describe(owner, image)
            with blame_image("cannot be resized", lambda: counter.prepare(BLANK)):
                return owner, image, counter.prepare(image, info), info
        except ImageError as error:
            return owner, None, error, UNKNOWN

    def detect(owner, image, inputs, info):
        if image is None:
            return owner, None, counter.failed(inputs)
        try:
            before()
            with blame_image("detection failed", counter.check):
                return owner, image, counter.detect(image, inputs, info)
        except ImageError as error:
            return owner, None, counter.failed(error)

    with closing(map_ahead(load, owners, AHEAD)) as loaded:
        ready = takewhile(lambda each: each is not None, loaded)
        found = (detect(*each) for each in ready)
        if finish is None:
            yield from found
        else:
            with closing(map_ahead(lambda each: finish(*each), found, AHEAD)) as finished:
                yield from finished
