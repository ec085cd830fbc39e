"""What the command lines share: parsing, exit statuses, and output."""

import argparse
import contextlib
import functools
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

from bccd.mistakes import in_words, mistake
from bccd.suggestions import did_you_mean

DONE = 0
INCOMPLETE = 1  # the work ended, but not all of it succeeded; the output says what did not
REFUSED = 2  # the command line, or what it names, cannot be used
FAILED = 3  # an unexpected error, with a traceback
INTERRUPTED = 130  # exit status of a program that Ctrl-C ends, in every shell

EXIT_STATUSES = """\
exit status:
  0    done
  1    ended, but not all of it succeeded; the output says what did not
  2    the command line, or a file that it names, cannot be used
  3    an unexpected error, with a traceback
  130  interrupted by Ctrl-C
"""


class CommandError(Exception):
    """The command line, or what it names, cannot be used; the message says why and what to do."""

    def __init__(self, message: str, usage: str = "") -> None:
        """``usage``: how the command is used, shown above the message."""
        super().__init__(message)
        self.usage = usage


@contextlib.contextmanager
def refusing(*errors: type[Exception]) -> Iterator[None]:
    """Turn OSError, ValueError, ImportError and ``errors`` inside the ``with`` block into status 2.

    Wrap what checks and loads what the user named, not the work itself: there, these errors are
    unexpected ones.
    """
    try:
        yield
    except (OSError, ValueError, ImportError, *errors) as error:
        raise CommandError(in_words(error)) from error


@contextlib.contextmanager
def refusing_mistakes() -> Iterator[None]:
    """As :func:`refusing`, around work: only for the errors that :func:`mistake` tells apart."""
    try:
        yield
    except Exception as error:
        if (sentence := mistake(error)) is None:
            raise
        raise CommandError(sentence) from error


def script(main: Callable[[list[str] | None], int]) -> Callable[[list[str] | None], int]:
    """Let the ``main(argv)`` of a script end as ``bccd`` does where the user made a mistake.

    The decorated function writes one sentence to standard error and returns REFUSED.
    """
    name = Path(main.__code__.co_filename).stem

    @functools.wraps(main)
    def run(argv: list[str] | None = None) -> int:
        try:
            with refusing_mistakes():
                return main(argv)
        except CommandError as error:
            print(f"{name}: {error}", file=sys.stderr)
            return REFUSED

    return run


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that takes no abbreviations and suggests an option for a wrong one."""

    def __init__(self, **options: Any) -> None:
        """``options``: those of ArgumentParser."""
        formatter = argparse.RawDescriptionHelpFormatter
        super().__init__(allow_abbrev=False, formatter_class=formatter, **options)

    def parse_args(
        self, args: list[str], namespace: argparse.Namespace | None = None
    ) -> argparse.Namespace:
        """As ArgumentParser's; raises CommandError for a wrong command line."""
        self._check_options(args)  # argparse first reports what is missing, not what is misspelt
        namespace, rest = self.parse_known_args(args, namespace)
        if rest:
            self.error(
                f"unexpected argument {rest[0]}: arguments stand together, before or behind "
                "the options"
            )
        return namespace

    def error(self, message: str) -> NoReturn:
        """Raise CommandError."""
        raise CommandError(message, self.format_usage())

    def _check_options(self, args):
        known = {name: action for action in self._actions for name in action.option_strings}
        for argument in args:
            name = argument.partition("=")[0]
            if name == "--" or (name in known and known[name].nargs == argparse.REMAINDER):
                return
            if name.startswith("--") and name not in known:
                self.error(f"unknown option {name}.{did_you_mean(name, known)}")


def add_json_flag(parser: argparse.ArgumentParser) -> None:
    """Add ``--json``, which every subcommand has."""
    parser.add_argument(
        "--json",
        action="store_true",
        help="print one JSON document on standard output; everything else goes to standard error",
    )


def number_of_processes(text: str) -> int:
    """A number of processes of the command line."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number of processes, 1 or more, not {text}")
    return int(text)


def show(args: argparse.Namespace, document: dict, text: str) -> None:
    """Print the outcome of a command: ``document`` with ``--json``, ``text`` without.

    Args:
        args: parsed flags of a subcommand.
        document: what JSON can hold.
        text: for people.
    """
    args.shown = True  # an error after it prints no second document
    if args.json:
        print(json.dumps(document, indent=2), file=args.stdout, flush=True)
    else:
        print(text, flush=True)


@contextlib.contextmanager
def stdout_for_json() -> Iterator:
    """Send what this process and its children print to standard error; give the real output."""
    sys.stdout.flush()
    real = sys.stdout
    saved = os.dup(1)
    if _is_file(real, 1):
        real = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield real
    finally:
        real.flush()
        os.dup2(saved, 1)
        os.close(saved)


def _is_file(stream, descriptor):
    try:
        return stream.fileno() == descriptor
    except (OSError, ValueError, AttributeError):  # replaced by what is no file, as in tests
        return False
