#!/usr/bin/env python
"""Count blood cells in images or a video: Detectron2's demo flags, see ``demo.py --help``.

In an installation ``bccd count`` is the same.
"""

import argparse
import sys
from collections.abc import Callable, Sequence

from bccd.cli import count
from bccd.counting.arguments import add_arguments


def main(argv: Sequence[str] | None = None, predictor: Callable | None = None) -> int:
    """Count with ``predictor`` (see ``Predictor``), or the one that the flags describe.

    Returns:
        exit status, see ``--help``. A wrong command line exits with 2.
    """
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return count(parser.parse_args(argv), parser, predictor)


if __name__ == "__main__":
    sys.exit(main())
