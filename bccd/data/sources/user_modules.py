"""Modules of the user's, which register data sets: DATASETS.IMPORT, and $BCCD_IMPORT for all tools.

Such a module is Python code and is run. No other key of a config and no file of a model can name
one: counting never imports any.
"""

import importlib
import importlib.util
import logging
import os
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

VARIABLE = "BCCD_IMPORT"  # several are separated as in PATH

logger = logging.getLogger(__name__)


def import_user_modules(names: Iterable[str] | None = None) -> None:
    """Import modules once in a process.

    Args:
        names: each a path of a Python file, or the name of a module that can be imported; None:
            those of the environment variable ``BCCD_IMPORT``.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: importing it raises; the message names the line.
    """
    if names is None:
        names = filter(None, os.environ.get(VARIABLE, "").split(os.pathsep))
    for name in names:
        is_path = name.endswith(".py") or "/" in name or os.sep in name
        try:
            _import_file(Path(name)) if is_path else importlib.import_module(name)
        except FileNotFoundError:
            raise
        except Exception as error:
            raise ValueError(_explain(name, error, is_path)) from error


def _import_file(path: Path) -> ModuleType | None:
    path = path.resolve()
    if not path.is_file():
        raise FileNotFoundError(f"{path}, a module to import, is not there. Correct the path.")
    known = (getattr(module, "__file__", None) for module in list(sys.modules.values()))
    if str(path) in known:
        return None
    # Under its own name, which pickling looks up in worker processes, unless that is taken.
    name = path.stem if importlib.util.find_spec(path.stem) is None else f"bccd_user_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    logger.info(f"Imported {path}")
    return module


def _explain(name, error, is_path):
    if not is_path and isinstance(error, ModuleNotFoundError) and error.name == name:
        return f"there is no module {name} to import. For a file, give its path: {name}.py"
    place = name
    for frame in traceback.extract_tb(error.__traceback__):
        if is_path and Path(frame.filename) == Path(name).resolve():
            place = f"{name}:{frame.lineno}"
    return f"{place}: {type(error).__name__}: {error} (while this module was imported)"
