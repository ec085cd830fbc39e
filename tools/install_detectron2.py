#!/usr/bin/env python3
"""Install Detectron2 v0.6 without a compiler, or leave a usable Detectron2 alone.

Detectron2 is not on PyPI under its own name. The source distribution ``pb1-detectron2`` 0.6 holds
the Python files of the official tag v0.6 and none of the C++ sources, so pip cannot build it. This
script fetches that file from the package index pip is configured for, verifies its SHA-256, applies
the substitutions that today's libraries need (``SUBSTITUTIONS``, each with its expected number of
hits), adds a ``_C.py`` that names any compiled operator that is called, builds a pure-Python wheel
named ``detectron2`` and installs it into the environment that runs the script.

    python tools/install_detectron2.py                   # install unless Detectron2 >= 0.6 imports
    python tools/install_detectron2.py --download DIR    # only fetch and verify the file
    python tools/install_detectron2.py --sdist FILE      # from a file that is already here
    python tools/install_detectron2.py --wheel-dir DIR   # only build the wheel, for other machines
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import re
import ssl
import subprocess
import sys
import tarfile
import tempfile
import urllib.request
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urljoin

SDIST_NAME = "pb1-detectron2-0.6.tar.gz"
SDIST_SHA256 = "5d2e9e51e523ec72f6a31cca04b0a515492e9514b773a3d134cedc0677170b29"


class Substitution(NamedTuple):
    """One regular-expression replacement in one file, with the number of hits it must have."""

    path: str
    pattern: str
    replacement: str
    hits: int


def _alias(path: str, name: str, hits: int) -> Substitution:
    """NumPy 1.24 removed ``np.bool``, ``np.int``, ... : use the Python builtin they stood for."""
    return Substitution(path, rf"\bnp\.{name}\b(?!_)", name, hits)


SILENT_IMPORT = """
import warnings

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", "`torch.jit.script`", FutureWarning)
    import fvcore.nn
"""

SUBSTITUTIONS = (
    # Pillow 10 removed Image.LINEAR.
    Substitution("data/transforms/transform.py", r"Image\.LINEAR\b", "Image.BILINEAR", 1),
    _alias("evaluation/pascal_voc_evaluation.py", "bool", 2),
    _alias("evaluation/sem_seg_evaluation.py", "int", 2),
    _alias("evaluation/sem_seg_evaluation.py", "float", 5),
    _alias("structures/masks.py", "bool", 3),
    _alias("data/datasets/pascal_voc.py", "str", 1),
    _alias("data/build.py", "int", 2),
    _alias("utils/visualizer.py", "bool", 3),
    _alias("utils/video_visualizer.py", "bool", 1),
    # setuptools 82 removed pkg_resources.
    Substitution(
        "model_zoo/model_zoo.py", r"import pkg_resources\n", "import importlib.resources\n", 1
    ),
    Substitution(
        "model_zoo/model_zoo.py",
        r'pkg_resources\.resource_filename\(\s*"detectron2\.model_zoo", '
        r'os\.path\.join\("configs", config_path\)\s*\)',
        'str(importlib.resources.files("detectron2.model_zoo").joinpath("configs", config_path))',
        1,
    ),
    # Torch warns, and will raise, without the keyword.
    Substitution(
        "modeling/anchor_generator.py",
        r"torch\.meshgrid\(shifts_y, shifts_x\)",
        'torch.meshgrid(shifts_y, shifts_x, indexing="ij")',
        1,
    ),
    # torch.amp replaces torch.cuda.amp, which warns.
    Substitution(
        "engine/train_loop.py",
        r"from torch\.cuda\.amp import GradScaler\n",
        "from torch.amp import GradScaler\n",
        1,
    ),
    Substitution("engine/train_loop.py", r" {8}from torch\.cuda\.amp import autocast\n", "", 1),
    Substitution("engine/train_loop.py", r"with autocast\(\):", 'with torch.autocast("cuda"):', 1),
    # torch.jit.script warns, and returns a class as it is: it only registers it for TorchScript.
    Substitution("modeling/box_regression.py", r"@torch\.jit\.script\n(?=class )", "", 2),
    # fvcore.nn calls torch.jit.script when it is imported: it is imported here first, in silence.
    Substitution("__init__.py", r"\A(# Copyright.*\n)", r"\1" + SILENT_IMPORT, 1),
    # The fast COCO evaluation is C++: without it, the official pycocotools is the default.
    Substitution(
        "evaluation/coco_evaluation.py", r"use_fast_impl=True,", "use_fast_impl=False,", 2
    ),
)

C_STUB = '''"""Stands in for the compiled operators, which this installation does not have."""


def get_compiler_version():
    return "none: installed without compiled operators"


def get_cuda_version():
    return "none"


def has_cuda():
    return False


def __getattr__(name):
    raise AttributeError(
        f"detectron2._C.{name} is a compiled operator, and this Detectron2 was installed without "
        "a compiler. Build Detectron2 from its repository to use it."
    )
'''

# Names its changes, so that an installation with older ones is replaced.
_CHANGES = hashlib.sha256(repr((SUBSTITUTIONS, C_STUB)).encode()).hexdigest()[:8]
WHEEL_VERSION = f"0.6+nocompile.{_CHANGES}"

PYPROJECT = f"""
[build-system]
requires = ["setuptools>=64"]
build-backend = "setuptools.build_meta"

[project]
name = "detectron2"
version = "{WHEEL_VERSION}"
description = "Detectron2 v0.6 without its compiled operators"
requires-python = ">=3.8"
dependencies = [
    "Pillow>=7.1", "matplotlib", "pycocotools>=2.0.2", "termcolor>=1.1", "yacs>=0.1.8", "tabulate",
    "cloudpickle", "tqdm>4.29.0", "tensorboard", "fvcore>=0.1.5.post20221221,<0.1.6",
    "iopath>=0.1.7", "omegaconf>=2.3", "hydra-core>=1.3",
]

[tool.setuptools.packages.find]
include = ["detectron2*"]
"""


class InstallError(RuntimeError):
    """The installation cannot go on; the message says what to do."""


def installed_version() -> str | None:
    """Version of the Detectron2 that this interpreter imports, or None without one.

    That of its distribution, which tells this script's wheels apart, or else of the package itself.
    """
    code = (
        "import detectron2, detectron2.modeling, importlib.metadata as metadata\n"
        "try: print(metadata.version('detectron2'))\n"
        "except metadata.PackageNotFoundError: print(detectron2.__version__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    return done.stdout.strip().splitlines()[-1] if done.returncode == 0 else None


def is_usable(version: str) -> bool:
    """True for Detectron2 0.6 and later, unless it is this script's own with other changes."""
    if "+nocompile" in version:
        return version == WHEEL_VERSION
    return tuple(int(n) for n in re.findall(r"\d+", version)[:2]) >= (0, 6)


def _pip_setting(name: str) -> str | None:
    """A setting of pip as its environment, then its files give it, or None."""
    listing = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True
    ).stdout
    found = dict(
        (key, value.strip("'\""))
        for key, _, value in (line.partition("=") for line in listing.splitlines())
    )
    for section in (":env:", "install", "global"):
        if f"{section}.{name}" in found:
            return found[f"{section}.{name}"]
    return None


def download_sdist() -> bytes:
    """Fetch the source distribution from the index that pip uses here (PEP 691 JSON API).

    ``pip download`` cannot do it: it refuses the file's metadata before it saves the file.
    """
    from pip._internal.models.index import PyPI  # pip's own default, unless it is configured

    index = (_pip_setting("index-url") or PyPI.simple_url).rstrip("/")
    context = ssl.create_default_context(cafile=_pip_setting("cert"))
    request = urllib.request.Request(
        f"{index}/pb1-detectron2/", headers={"Accept": "application/vnd.pypi.simple.v1+json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=60, context=context) as reply:
            files = json.load(reply)["files"]
        url = next(f["url"] for f in files if f["filename"] == SDIST_NAME)
        with urllib.request.urlopen(
            urljoin(request.full_url, url), timeout=300, context=context
        ) as reply:
            return reply.read()
    except (OSError, ValueError, KeyError, StopIteration) as error:
        raise InstallError(
            f"{SDIST_NAME} could not be fetched from the package index ({error!r}). "
            "Download it elsewhere and pass --sdist FILE."
        ) from error


def verify(data: bytes, name: str) -> None:
    """Raise InstallError unless ``data`` is the file this script knows."""
    digest = hashlib.sha256(data).hexdigest()
    if digest != SDIST_SHA256:
        raise InstallError(f"{name}: SHA-256 is {digest}, expected {SDIST_SHA256}. Fetch it again.")


def unpack(data: bytes, folder: Path) -> Path:
    """Write the ``detectron2/`` package of the source distribution below ``folder``."""
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for member in archive.getmembers():
            parts = Path(member.name).parts[1:]
            if member.isfile() and parts[:1] == ("detectron2",) and ".." not in parts:
                target = folder.joinpath(*parts)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(archive.extractfile(member).read())
    return folder / "detectron2"


def apply_substitutions(package: Path) -> None:
    """Patch the unpacked package in place; any unexpected number of hits is an error."""
    for path, pattern, replacement, expected in SUBSTITUTIONS:
        file = package / path
        text, hits = re.subn(pattern, replacement, file.read_text(encoding="utf-8"))
        if hits != expected:
            raise InstallError(f"{path}: /{pattern}/ matched {hits} times, expected {expected}.")
        file.write_text(text, encoding="utf-8")
    (package / "_C.py").write_text(C_STUB, encoding="utf-8")


def build_wheel(data: bytes, wheel_dir: Path) -> Path:
    """Build the patched wheel from the source distribution's bytes and return its path."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        apply_substitutions(unpack(data, root))
        (root / "pyproject.toml").write_text(PYPROJECT, encoding="utf-8")
        command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
        done = subprocess.run([*command, "--wheel-dir", str(wheel_dir), str(root)])
    if done.returncode != 0:
        raise InstallError("pip could not build the wheel; its messages are above.")
    return max(wheel_dir.glob("detectron2-*.whl"), key=lambda f: f.stat().st_mtime)


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sdist", type=Path, help=f"use this {SDIST_NAME} instead of downloading")
    parser.add_argument("--wheel-dir", type=Path, help="build the wheel here and install nothing")
    parser.add_argument("--download", type=Path, help=f"save {SDIST_NAME} here and install nothing")
    args = parser.parse_args(argv)

    only_files = args.wheel_dir or args.download
    version = None if only_files else installed_version()
    if version and is_usable(version):
        print(f"Detectron2 {version} is already installed: left as it is.")
        return 0
    try:
        data = args.sdist.read_bytes() if args.sdist else download_sdist()
        verify(data, str(args.sdist or SDIST_NAME))
        if args.download:
            args.download.mkdir(parents=True, exist_ok=True)
            (args.download / SDIST_NAME).write_bytes(data)
            print(f"Saved {args.download / SDIST_NAME}")
            return 0
        if args.wheel_dir:
            args.wheel_dir.mkdir(parents=True, exist_ok=True)
            print(f"Built {build_wheel(data, args.wheel_dir)}")
            return 0
        with tempfile.TemporaryDirectory() as folder:
            wheel = build_wheel(data, Path(folder))
            command = [sys.executable, "-m", "pip", "install", "--quiet", str(wheel)]
            if subprocess.run(command).returncode != 0:
                raise InstallError("pip could not install the wheel; its messages are above.")
    except (InstallError, OSError) as error:
        print(f"install_detectron2: {error}", file=sys.stderr)
        return 1
    version = installed_version()
    if version is None:
        print(
            "install_detectron2: the wheel is installed and does not import; run\n"
            f"  {sys.executable} -c 'import detectron2.modeling'\nto see why.",
            file=sys.stderr,
        )
        return 1
    print(f"Detectron2 {version} installed without compiled operators.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
