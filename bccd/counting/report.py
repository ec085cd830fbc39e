"""What a run of counting has come to, for its log and for programs."""

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from bccd.counting.detection_files import CSV_NAME, JSON_NAME, printable
from bccd.counting.inputs import LeftOut, log_left_out
from bccd.counting.progress import Merged
from bccd.counting.summary import Quantity, in_words

NAMED = 20  # images that the log names; counts.csv has all of them

logger = logging.getLogger(__name__)


class Outcome(NamedTuple):
    """What a run has come to.

    Attributes:
        output: folder of the results.
        done: what was counted.
        left_out: what the input folders hold beside.
        others: pictures of other runs in the folder.
        summary: of the counted fields; empty: there is none.
    """

    output: str
    done: Merged
    left_out: list[LeftOut]
    others: list[Path]
    summary: Sequence[Quantity] = ()

    @property
    def complete(self) -> bool:
        """Whether all that was asked for was counted."""
        return not (self.done.failed or self.done.undone or self.left_out)

    def to_json(self) -> dict:
        """As ``bccd count --json`` prints it."""
        done = self.done
        return {
            "output": str(self.output),
            "table": str(Path(self.output, CSV_NAME)),
            "detections": str(Path(self.output, JSON_NAME)),
            "complete": self.complete,
            "counts": done.totals,
            "summary": [dataclasses.asdict(quantity) for quantity in self.summary],
            "counted": done.counted,
            "with_notes": done.noted,
            "not_counted": done.failed,
            "not_done_yet": done.undone,
            "left_out": {printable(path): reason for path, reason in self.left_out},
            "pictures_of_other_runs": [printable(path) for path in self.others],
        }


def report(outcome: Outcome) -> int:
    """Log how a run ended; returns the exit status."""
    done, table = outcome.done, Path(outcome.output, CSV_NAME)
    count = done.counted + len(done.failed) + len(done.undone)
    if done.counted:
        counts = ", ".join(f"{name} {number}" for name, number in done.totals.items())
        logger.info(f"{counts} in {done.counted} images. The results are in {outcome.output}")
        for quantity in outcome.summary:
            logger.info(in_words(quantity))
    else:
        logger.error("No image was counted")
    if outcome.others:
        logger.warning(
            f"{outcome.output} also holds {len(outcome.others)} pictures of other runs, such as "
            f"{printable(outcome.others[0])}: {table} does not count them"
        )
    if done.noted:
        logger.warning(
            f"{done.noted} of {done.counted} counts should not be trusted: the notes in {table} "
            "say why"
        )
    if done.undone:
        logger.error(
            f"{len(done.undone)} of {count} images are not done yet: start the same command again"
        )
    if done.failed:
        lines = [f"\n  {name}: {why}" for name, why in done.failed.items()]
        more = f"\n  and more; all are in {table}"
        logger.error(
            f"{len(lines)} of {count} images could not be counted:"
            f"{''.join(lines[:NAMED])}{more if len(lines) > NAMED else ''}"
        )
    log_left_out(outcome.left_out)
    return 0 if outcome.complete else 1
