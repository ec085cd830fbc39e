"""Errors of one image, apart from those of the whole run."""

import contextlib
import traceback
from collections.abc import Callable, Iterator

from bccd.counting.detection_files import printable
from bccd.data.images.image_source import UnreadableImageError


class ImageError(ValueError):
    """An image that cannot be counted; the message says why in plain words."""


@contextlib.contextmanager
def blame_image(
    what: str, check: Callable[[], object] | None = None, file: object = ""
) -> Iterator[None]:
    """Turn an error inside the ``with`` block into an :class:`ImageError`, if it is the image's.

    What an image can make a decoder or a model raise has no common class: ``RuntimeError`` stands
    for a shape that does not fit and for a broken GPU. So ``check`` tries the same thing without
    the image. If that fails, too, the error is the run's and passes as it is; so does
    ``KeyboardInterrupt``, always. An image too large for the memory that others leave is skipped,
    a machine without memory ends the run.

    Args:
        what: begins the message, e.g. "unreadable".
        check: raises where the fault lies elsewhere; None: it is the image's.
        file: path that is left out of the message, which stands beside it.
    """
    try:
        yield
    except ImageError:
        raise
    except Exception as error:
        if check is not None and _fails(check, error):
            raise
        raise ImageError(f"{what}: {in_plain_words(error, file)}") from error


def _fails(check, error):
    traceback.clear_frames(error.__traceback__)  # they hold the image's tensors
    try:
        check()
    except Exception:
        return True
    return False


def in_plain_words(error: Exception, file: object = "") -> str:
    """One line that says what ``error`` is, without the path ``file``."""
    if isinstance(error, OSError | UnreadableImageError) and error.__cause__:
        error = error.__cause__  # what is around it names the file
    if isinstance(error, MemoryError):
        return "not enough memory"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = str(error).partition("\n")[0]
    for path in (f"image {file} ", repr(str(file)), str(file)) if file else ():
        text = text.replace(path, "")
    return printable(" ".join(text.split()))[:200] or type(error).__name__
