#!/usr/bin/env python3
"""Build .venv from requirements.lock, or collect what that takes for machines without a network.

The Makefile runs it before every command; a ``.venv`` that is up to date costs nothing. It needs
no package of its own.

    python tools/install.py                # build or update .venv       (make install)
    python tools/install.py --wheels DIR   # from DIR, the index is off  (make install WHEELS=DIR)
    python tools/install.py --collect DIR  # fill DIR, with a network    (make wheels DIR=DIR)
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DETECTRON2_SDIST = "pb1-detectron2-0.6.tar.gz"
# What .venv is made from: it is updated when one of them has changed.
INPUTS = ("requirements.lock", "setup.py", "tools/install_detectron2.py")
COLLECTED = "collected.json"


class InstallError(RuntimeError):
    """The installation cannot go on; the message says what to do."""


def install(root: Path, wheels: Path | None = None) -> bool:
    """Build or update ``root/.venv``.

    Args:
        root: the project's folder.
        wheels: a folder that ``collect`` has filled; the package index is then switched off.

    Returns:
        False when there was nothing to do.

    Raises:
        InstallError: ``.venv`` or ``wheels`` is not for this Python and place, or pip failed.
    """
    venv, ready = root / ".venv", root / ".venv/.ready"
    stamp = json.dumps({"folder": str(root), "inputs": _digest(root, INPUTS)})
    complete = (venv / "bin/activate").exists()  # the last file that venv writes
    if complete:
        check_venv(venv)
    if ready.exists() and ready.read_text() == stamp:
        return False
    environment = dict(os.environ)
    if wheels:
        check_wheels(root, wheels)
        # A URL, because pip splits this setting at spaces.
        environment |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": wheels.resolve().as_uri()}
    print(
        "== Installing into .venv: PyTorch is large, the first time takes some minutes", flush=True
    )
    ready.unlink(missing_ok=True)
    if not complete:
        _run([sys.executable, "-m", "venv", str(venv)], "venv failed", root, environment)
    python = str(venv / "bin/python")
    pip = [python, "-m", "pip", "install"]
    lock = ["--progress-bar", "on", "--require-hashes", "-r", "requirements.lock"]
    _run([*pip, *lock], "pip could not install requirements.lock", root, environment)
    sdist = ["--sdist", str(wheels.resolve() / DETECTRON2_SDIST)] if wheels else []
    command = [python, "tools/install_detectron2.py", *sdist]
    _run(command, "Detectron2 could not be installed", root, environment)
    project = ["--quiet", "--no-deps", "--no-build-isolation", "-e", "."]
    _run([*pip, *project], "pip could not install this project", root, environment)
    ready.write_text(stamp)
    return True


def collect(root: Path, folder: Path) -> None:
    """Download all that ``install`` takes into ``folder``, for computers like this one.

    Raises:
        InstallError: something could not be fetched.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / COLLECTED).unlink(missing_ok=True)
    pip = [sys.executable, "-m", "pip", "download", "--progress-bar", "on", "--require-hashes"]
    lock = ["--dest", str(folder.resolve()), "-r", "requirements.lock"]
    _run([*pip, *lock], "pip could not download requirements.lock", root, os.environ)
    detectron2 = [sys.executable, "tools/install_detectron2.py", "--download"]
    command = [*detectron2, str(folder.resolve())]
    _run(command, "Detectron2 could not be downloaded", root, os.environ)
    about = {"computer": _computer(), "lock": _digest(root, INPUTS[:1])}
    (folder / COLLECTED).write_text(json.dumps(about, indent=1) + "\n")
    sizes = [file.stat().st_size for file in folder.iterdir()]
    print(
        f"{folder}: {len(sizes)} files, {sum(sizes) / 1e9:.1f} GB, for {_computer()}.\n"
        "Copy it and this project to the other computer and run there: make demo WHEELS=FOLDER"
    )


def check_venv(venv: Path) -> None:
    """Raise InstallError unless ``venv`` runs, is in its place and has this Python's version."""
    remedy = f"Remove it (rm -rf {venv}) and run the same command again."
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    try:
        command = [str(venv / "bin/python"), "-c", code]
        done = subprocess.run(command, capture_output=True, text=True)
        version = done.stdout.strip()
    except OSError:
        version = ""
    if not version:
        raise InstallError(
            f"{venv}: its Python does not start. It was removed, or .venv was copied from "
            f"another computer. {remedy}"
        )
    activate = (venv / "bin/activate").read_text(encoding="utf-8")
    place = re.search(r"^ *(?:export )?VIRTUAL_ENV=[\"']?(/.*?)[\"']?$", activate, re.MULTILINE)
    if place and place[1] != str(venv):
        raise InstallError(f"{venv} was made as {place[1]} and works only there. {remedy}")
    if version != _version():
        raise InstallError(
            f"{venv} holds Python {version}, and {sys.executable} is {_version()}. To go on with "
            f"{version}, leave PYTHON out. To change to {_version()}: {remedy}"
        )


def check_wheels(root: Path, folder: Path) -> None:
    """Raise InstallError unless ``collect`` filled ``folder`` for this computer and this lock."""
    again = f"Collect again, on a computer with a network: make wheels DIR={folder}"
    try:
        about = json.loads((folder / COLLECTED).read_text())
    except OSError as error:
        raise InstallError(
            f"{folder} is no folder that `make wheels` has filled to its end ({error.strerror}: "
            f"{COLLECTED}). {again}"
        ) from error
    if about["computer"] != _computer():
        raise InstallError(
            f"{folder} was collected for {about['computer']}, and this is {_computer()}. "
            f"{again}, of this kind and with PYTHON=python{_version()}"
        )
    if about["lock"] != _digest(root, INPUTS[:1]):
        raise InstallError(f"{folder} was collected for another requirements.lock. {again}")


def _version() -> str:
    return f"{sys.version_info[0]}.{sys.version_info[1]}"


def _computer() -> str:
    """What the files of the lock depend on."""
    return f"Python {_version()} on {platform.system()} {platform.machine()}"


def _digest(root: Path, names: tuple[str, ...]) -> str:
    return hashlib.sha256(b"".join((root / name).read_bytes() for name in names)).hexdigest()


def _run(command: list[str], failure: str, root: Path, environment: dict[str, str]) -> None:
    if subprocess.run(command, cwd=root, env=environment).returncode != 0:
        raise InstallError(
            f"{failure}; the messages are above. The same command goes on from here."
        )


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--wheels", type=Path, metavar="DIR", help="install from DIR alone")
    which.add_argument("--collect", type=Path, metavar="DIR", help="fill DIR and install nothing")
    args = parser.parse_args(argv)
    try:
        if args.collect:
            collect(ROOT, args.collect)
        else:
            install(ROOT, args.wheels)
    except (InstallError, OSError) as error:
        print(f"install: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninstall: interrupted; the same command goes on from here.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
