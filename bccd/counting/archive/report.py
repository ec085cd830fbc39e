"""What a run of counting in an archive has come to, for its log and for programs."""

import logging
from typing import NamedTuple

from bccd.counting.archive.listing import LeftOut
from bccd.counting.archive.results import COUNTS, DETECTIONS, Totals

logger = logging.getLogger(__name__)


class Outcome(NamedTuple):
    """What a run has come to.

    Attributes:
        output: folder of the results.
        done: what was counted, by this and earlier starts.
        doubled: files that were counted twice; see ``Finished``.
        left_out: what the input folders hold beside.
    """

    output: str
    done: Totals
    doubled: int
    left_out: LeftOut

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
            "counts": done.totals,
            "counted": done.counted,
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
    if done.counted:
        counts = ", ".join(f"{name} {number}" for name, number in done.totals.items())
        logger.info(f"{counts} in {done.counted} images. The results are in {outcome.output}")
    else:
        logger.error("No image was counted")
    if done.noted:
        logger.warning(
            f"{done.noted} of {done.counted} counts should not be trusted: the notes in {table} "
            "say why"
        )
    if done.failed:
        lines = [f"\n  {name}: {why}" for name, why in done.examples.items()]
        more = f"\n  and more; all are in {table}" if done.failed > len(lines) else ""
        logger.error(
            f"{done.failed} of {done.counted + done.failed} images could not be counted:"
            f"{''.join(lines)}{more}"
        )
    if outcome.doubled:
        logger.error(
            f"{outcome.doubled} files are counted twice: did two commands write into one folder? "
            "Start one of them again; it counts these files once more, and keeps that"
        )
    if outcome.doubled:
        logger.error(
            f"{outcome.doubled} files are counted twice: did two commands write into one folder? "
            "Start one of them again: it counts these files once more, and keeps that"
        )
    for reason, (number, first) in outcome.left_out.found.items():
        logger.error(f"Left out: {number}, such as {first} ({reason})")
    return 0 if outcome.complete else 1
