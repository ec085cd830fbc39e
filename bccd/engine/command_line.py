"""The end of a command line: a mistake of the user is one sentence, a bug a traceback."""

import re
import sys
from argparse import Namespace
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch.multiprocessing as mp
from torch.multiprocessing.spawn import ProcessException

from bccd.engine.launch import launch

STATUS = 1
# What a DataLoader makes of the error of a worker: the traceback as text, then type and message.
_IN_WORKER = re.compile(
    r'Caught (\w+) in DataLoader worker.*\n  File "([^"]+)", line \d+, in [^\n]+\n'
    r"(?:    [^\n]*\n)*(?:[\w.]+: )(.*)",
    re.DOTALL,
)


def launch_command(main: Callable[[Namespace], object], args: Namespace) -> int:
    """Call ``main(args)`` in every process of the run, as :func:`bccd.engine.launch.launch`.

    A mistake of the user (see :func:`mistake`) is written to stderr as one sentence. Every other
    error is raised.

    Args:
        main: a picklable function.
        args: as parsed by Detectron2's ``default_argument_parser()``.

    Returns:
        The exit status of the command.
    """
    sentences = mp.get_context("spawn").SimpleQueue()
    try:
        return launch(partial(_run, main, sentences), args)
    except ProcessException:  # of any process: the end of one can be an error to the others
        if sentences.empty():
            raise
        sentence = sentences.get()
    except (OSError, ValueError, FloatingPointError) as error:
        sentence = mistake(error)
        if sentence is None:
            raise
    print(f"{Path(sys.argv[0]).stem}: {sentence}", file=sys.stderr)
    return STATUS


def _run(main, sentences, args):
    """In every process; the sentence of a process that was started here goes to the one above."""
    try:
        return main(args)
    except (OSError, ValueError, FloatingPointError) as error:
        if mp.parent_process() is None or (sentence := mistake(error)) is None:
            raise
        sentences.put(sentence)
        sys.exit(STATUS)


def mistake(error: BaseException) -> str | None:
    """What an error says where it tells a mistake in the configuration or the data.

    These are the errors about a named file, and those which the code of this project raises itself.
    An error from inside a library is none: it may be a bug, whose traceback is needed.

    Returns:
        The sentence, or None.
    """
    if not isinstance(error, (OSError, ValueError, FloatingPointError)):
        return None
    if in_worker := _IN_WORKER.match(str(error)):
        kind, file, message = in_worker.groups()
        own = _is_own_file(file) or kind.endswith("NotFoundError")
        return message.strip() if own else None
    names_a_file = isinstance(error, OSError) and error.filename is not None
    return str(error) if names_a_file or _is_own_file(_raised_in(error)) else None


def _raised_in(error):
    """The file of the code that raised an error."""
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    return traceback.tb_frame.f_code.co_filename if traceback else ""


def _is_own_file(file):
    """Whether a file is of the package or of the checkout around it, but of no library."""
    package = Path(__file__).resolve().parents[1]
    path = Path(file).resolve()
    projects = package.parent / "projects"
    return path.is_relative_to(package) or path.is_relative_to(projects)
