"""Files named ``._*``, in which macOS keeps attributes beside the files of other systems' disks."""

import logging
from collections.abc import Iterable
from pathlib import Path

logger = logging.getLogger(__name__)


def is_apple_double(path: Path) -> bool:
    """Whether a file is no image and no annotation, whatever its suffix says."""
    return path.name.startswith("._")


def without_apple_double(paths: Iterable[Path]) -> list[Path]:
    """The other paths; one log message says what is skipped."""
    paths = list(paths)
    kept = [path for path in paths if not is_apple_double(path)]
    skipped = [path for path in paths if is_apple_double(path)]
    if skipped:
        logger.info(
            f"Skipped {len(skipped)} files in which macOS keeps attributes, such as {skipped[0]}"
        )
    return kept
