"""Blood-cell detection and counting on Detectron2.

    from bccd import CellCounter

    counter = CellCounter("ssd_lite")
    print(counter("field.jpg").counts)

Importing this package loads neither PyTorch nor NumPy; the first use of a name does.
"""

from typing import TYPE_CHECKING

import bccd.openmp

from bccd.lazy_names import lazy_names

if TYPE_CHECKING:
    from bccd.counting.counter import CellCounter
    from bccd.counting.image_errors import ImageError
    from bccd.counting.result import CountResult
    from bccd.counting.slides.result import SlideResult

__version__ = "0.1.0"
__all__ = ["CellCounter", "CountResult", "ImageError", "SlideResult"]

_MODULES = {
    "CellCounter": "bccd.counting.counter",
    "CountResult": "bccd.counting.result",
    "ImageError": "bccd.counting.image_errors",
    "SlideResult": "bccd.counting.slides.result",
}

__getattr__ = lazy_names(__name__, _MODULES)


def __dir__() -> list[str]:
    """The public names, loaded or not."""
    return sorted({*globals(), *__all__})
