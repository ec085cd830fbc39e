"""The end of a command line: a mistake of the user is one sentence, a bug a traceback."""

import sys
from argparse import Namespace
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch.multiprocessing as mp
from torch.multiprocessing.spawn import ProcessException

from bccd.console import DONE, REFUSED
from bccd.engine.launch import launch
from bccd.mistakes import mistake


def launch_command(main: Callable[[Namespace], object], args: Namespace) -> int:
    """Call ``main(args)`` in every process of the run, as :func:`bccd.engine.launch.launch`.

    A mistake of the user (see :func:`.mistake`) is written to stderr as one sentence. Every other
    error is raised.

    Args:
        main: a picklable function.
        args: as parsed by Detectron2's ``default_argument_parser()``.

    Returns:
        The exit status of the command.
    """
    sentences = mp.get_context("spawn").SimpleQueue()
    try:
        launch(partial(_run, main, sentences), args)
        return DONE
    except ProcessException:  # of any process: the end of one can be an error to the others
        if sentences.empty():
            raise
        sentence = sentences.get()
    except Exception as error:
        if (sentence := mistake(error)) is None:
            raise
    print(f"{Path(sys.argv[0]).stem}: {sentence}", file=sys.stderr)
    return REFUSED


def _run(main, sentences, args):
    """In every process; the sentence of a process that was started here goes to the one above."""
    try:
        return main(args)
    except Exception as error:
        if mp.parent_process() is None or (sentence := mistake(error)) is None:
            raise
        sentences.put(sentence)
        sys.exit(REFUSED)
