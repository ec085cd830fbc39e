"""What a run of counting in an archive has come to, for its log and for programs."""

import dataclasses
import logging
from collections.abc import Sequence
from typing import NamedTuple

from bccd.counting.archive.listing import LeftOut
from bccd.counting.archive.results import COUNTS, DETECTIONS, Totals
from bccd.counting.summary import Quantity, in_words

logger = logging.getLogger(__name__)


class Outcome(NamedTuple):
    """What a run has come to.

    Attributes:
        output: folder of the results.
        done: what was counted, by this and earlier starts.
        doubled: files that were counted twice; see ``Finished``.
        left_out: what the input folders hold beside.
        summary: of the counted fields.
    """

    output: str
    done: Totals
    doubled: int
    left_out: LeftOut
    summary: Sequence[Quantity]

    @property
    def complete(self) -> bool:
        """Whether all that was asked for was counted."""
        return not (self.done.failed or self.doubled or self.left_out.found)

    def to_json(self) -> dict:
        """As ``bccd count --ray ... --json`` prints it."""
        done, output = self.done, self.output.rstrip("/")
        return {
            "output": self.output,
            "table": f"{output}/{COUNTS}",
            "detections": f"{output}/{DETECTIONS}",
            "complete": self.complete,
            "counts": done.counts,
            "summary": [dataclasses.asdict(quantity) for quantity in self.summary],
            "counted": done.tally.fields,
            "with_notes": done.noted,
            "not_counted": done.failed,
            "not_counted_examples": done.examples,
            "counted_twice": self.doubled,
            "left_out": {
                reason: {"number": number, "first": first}
                for reason, (number, first) in self.left_out.found.items()
            },
        }


def report(outcome: Outcome) -> int:
    """Log how a run ended; returns the exit status."""
    done, table = outcome.done, f"{outcome.output.rstrip('/')}/{COUNTS}"
    counted = done.tally.fields
    if counted:
        counts = ", ".join(f"{name} {number}" for name, number in done.counts.items())
        logger.info(f"{counts} in {counted} images. The results are in {outcome.output}")
        for quantity in outcome.summary:
            logger.info(in_words(quantity))
    else:
        logger.error("No image was counted")
    if done.noted:
        logger.warning(
            f"{done.noted} of {counted} counts should not be trusted: the notes in {table} say why"
        )
    if done.failed:
        lines = [f"\n  {name}: {why}" for name, why in done.examples.items()]
        more = f"\n  and more; all are in {table}" if done.failed > len(lines) else ""
        logger.error(
            f"{done.failed} of {counted + done.failed} images could not be counted:"
            f"{''.join(lines)}{more}"
        )
    if outcome.doubled:
        logger.error(
            f"{outcome.doubled} files are counted twice: did two commands write into one folder? "
            "Start one of them again: it counts these files once more, and keeps that"
        )
    for reason, (number, first) in outcome.left_out.found.items():
        logger.error(f"Left out: {number}, such as {first} ({reason})")
    return 0 if outcome.complete else 1
