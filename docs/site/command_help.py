"""The page of command lines: what each prints with ``--help``."""

import contextlib
import io
import os
import re
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ("train_net.py", "demo.py", "datasets/prepare_bccd.py")
INTRODUCTION = """\
What each command prints with `--help`. The [configuration keys](config_keys.md) can follow the
flags of those that take `KEY VALUE` pairs."""


def help_of(program: str, arguments: list[str]) -> str:
    """What a Python file, or a module that is no path, prints with ``arguments`` and ``--help``."""
    output = io.StringIO()
    words = [program, *arguments, "--help"]
    before = sys.argv, sys.path[:], os.environ.copy()
    try:
        os.environ |= {"COLUMNS": "100", "NO_COLOR": "1"}
        sys.argv = words
        sys.path.insert(0, str((ROOT / program).parent))
        with contextlib.redirect_stdout(output), contextlib.suppress(SystemExit):
            if program.endswith(".py"):
                runpy.run_path(str(ROOT / program), run_name="__main__")
            else:
                runpy.run_module(program, run_name="__main__", alter_sys=True)
    finally:
        sys.argv, sys.path[:] = before[:2]
        os.environ.clear()
        os.environ.update(before[2])
    return output.getvalue().strip()


def commands() -> Iterator[tuple[str, str]]:
    """(command, its help), the ``bccd`` command and its subcommands first."""
    overview = help_of("bccd.cli", [])
    yield "bccd", overview
    for name in re.findall(r"^    ([a-z][\w-]*) ", overview, flags=re.MULTILINE):
        yield f"bccd {name}", help_of("bccd.cli", [name])
    tools = [path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "tools").glob("*.py"))]
    for program in (*SCRIPTS, *tools):
        yield program, help_of(program, [])
    for path in sorted((ROOT / "tools").glob("*.sh")):  # they have no --help
        lines = path.read_text(encoding="utf-8").splitlines()[1:]
        end = next(i for i, line in enumerate(lines) if not line.startswith("#"))
        yield f"tools/{path.name}", "\n".join(line.lstrip("#")[1:] for line in lines[:end])


def page() -> str:
    """The page as Markdown."""
    sections = [f"## {name}\n\n```text\n{text}\n```" for name, text in commands()]
    return "\n\n".join(["# Command lines", INTRODUCTION, *sections]) + "\n"
