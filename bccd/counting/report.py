"""What a run of counting logs, and its exit status."""

import logging
from argparse import Namespace
from pathlib import Path

from bccd.counting.detection_files import CSV_NAME, printable
from bccd.counting.inputs import LeftOut
from bccd.counting.progress import Merged

NAMED = 20  # images that the log names; counts.csv has all of them

logger = logging.getLogger(__name__)


def report(done: Merged, left_out: list[LeftOut], args: Namespace) -> int:
    """Log how a run ended; returns the exit status."""
    count = done.counted + len(done.failed) + len(done.undone)
    if done.counted:
        counts = ", ".join(f"{name} {number}" for name, number in done.totals.items())
        logger.info(f"{counts} in {done.counted} images. The results are in {args.output}")
    else:
        logger.error("No image was counted")
    if done.noted:
        logger.warning(
            f"{done.noted} of {done.counted} counts should not be trusted: the notes in "
            f"{Path(args.output, CSV_NAME)} say why"
        )
    if done.undone:
        logger.error(
            f"{len(done.undone)} of {count} images are not done yet: start the same command again"
        )
    if done.failed:
        lines = [f"\n  {name}: {why}" for name, why in done.failed.items()]
        more = f"\n  and more; all are in {Path(args.output, CSV_NAME)}"
        logger.error(
            f"{len(lines)} of {count} images could not be counted:"
            f"{''.join(lines[:NAMED])}{more if len(lines) > NAMED else ''}"
        )
    for path, reason in left_out:
        logger.error(f"Left out: {printable(path)} ({reason})")
    return 1 if done.failed or done.undone or left_out else 0
