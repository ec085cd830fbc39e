#!/usr/bin/env python
"""Count blood cells in images or a video: Detectron2's demo flags, see ``demo.py --help``.

``bccd count`` does the same with the options of the ``bccd`` command.
"""

import argparse
import sys
from collections.abc import Callable, Sequence

from bccd.console import INTERRUPTED
from bccd.counting.arguments import add_arguments


def main(argv: Sequence[str] | None = None, predictor: Callable | None = None) -> int:
    """Count with ``predictor`` (see ``Predictor``), or the one that the flags describe.

    Returns:
        exit status, see ``--help``. A wrong command line exits with 2.
    """
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    args = parser.parse_args(argv)
    from bccd.counting.run import make_output, prepare, run  # --help needs none of it

    try:
        try:
            job = prepare(args, predictor)
            make_output(args.output)
        except (OSError, ValueError, ImportError) as error:
            parser.error(str(error))
        return run(job)
    except KeyboardInterrupt:
        print("Interrupted: to go on, start the same command again", file=sys.stderr)
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
