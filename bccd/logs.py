"""The log of a command on its console, in the layout of Detectron2's, which needs PyTorch."""

import logging
import sys


class _Formatter(logging.Formatter):
    def formatMessage(self, record: logging.LogRecord) -> str:
        text = super().formatMessage(record)
        if record.levelno < logging.WARNING:
            return text
        return text.replace("]: ", f"]: {record.levelname}: ", 1)


def log_to_console(rank: int = 0) -> None:
    """Show what the package logs from INFO on, in the process of rank 0; at most once."""
    log = logging.getLogger("bccd")
    log.setLevel(logging.INFO)
    if rank == 0 and not log.handlers:
        handler = logging.StreamHandler(sys.stdout)
        handler.setFormatter(
            _Formatter("[%(asctime)s %(name)s]: %(message)s", datefmt="%m/%d %H:%M:%S")
        )
        log.addHandler(handler)
