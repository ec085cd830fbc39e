"""The ``bccd`` command; :mod:`bccd.commands` has its subcommands."""

import argparse
import contextlib
import importlib
import json
import os
import pkgutil
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from types import ModuleType

import bccd
from bccd import commands, console
from bccd.console import CommandError, Parser
from bccd.suggestions import did_you_mean

DESCRIPTION = "Detect, classify and count blood cells."


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status, see ``console.EXIT_STATUSES``."""
    argv = sys.argv[1:] if argv is None else list(argv)
    args = argparse.Namespace()
    try:
        run = _parse(argv, args)
        with console.stdout_for_json() if args.json else nullcontext() as args.stdout:
            return run(args)
    except CommandError as error:
        print(f"{error.usage}bccd: error: {error}", file=sys.stderr)
        status, message = console.REFUSED, str(error)
    except KeyboardInterrupt:
        message = "Interrupted: to go on, start the same command again"
        print(message, file=sys.stderr)
        status = console.INTERRUPTED
    except BrokenPipeError:  # the reader of a pipe, as ``head``, has seen enough
        with contextlib.suppress(OSError):  # or Python complains again when it ends
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return console.INCOMPLETE
    except Exception as error:
        traceback.print_exc()
        status, message = console.FAILED, f"{type(error).__name__}: {error}"
    if "--json" in argv and not hasattr(args, "shown"):
        print(json.dumps({"error": message, "status": status}))
    return status


def list_commands() -> list[str]:
    """Sorted names of the subcommands, as they are typed."""
    names = (module.name for module in pkgutil.iter_modules(commands.__path__))
    return sorted(name.replace("_", "-") for name in names if not name.startswith("_"))


def load_command(name: str) -> ModuleType:
    """The module of a subcommand."""
    return importlib.import_module(f"bccd.commands.{name.replace('-', '_')}")


def command_parser(name: str) -> Parser:
    """The parser of a subcommand's options."""
    module = load_command(name)
    parser = Parser(prog=f"bccd {name}", description=module.__doc__, epilog=console.EXIT_STATUSES)
    module.add_arguments(parser)
    console.add_json_flag(parser)
    return parser


def _parse(argv: list[str], args: argparse.Namespace) -> Callable[[argparse.Namespace], int]:
    """Parse the command line into ``args``; returns what does the work."""
    parser = Parser(prog="bccd", description=DESCRIPTION)
    parser.add_argument("--version", action="version", version=bccd.__version__)
    if argv[:1] and not argv[0].startswith("-"):
        if argv[0] in list_commands():
            command_parser(argv[0]).parse_args(argv[1:], args)
            return load_command(argv[0]).run
        known = list_commands()
        hint = did_you_mean(argv[0], known) or f" There are: {', '.join(known)}."
        parser.error(f"unknown command {argv[0]}.{hint}")
    found = parser.add_subparsers(metavar="COMMAND", required=True)
    for name in list_commands():
        found.add_parser(name, help=load_command(name).SUMMARY)
    parser.parse_args(argv)
    parser.error("name a command first")


if __name__ == "__main__":
    sys.exit(main())
