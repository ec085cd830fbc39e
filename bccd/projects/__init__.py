"""The detectors, one package each: ``projects/<Name>_BCCD/<package>`` in a checkout.

A project package registers its meta-architecture when it is imported, and exports
``add_config(cfg)``, which adds its config node. Adding a detector means adding such a folder;
nothing here names one. Folders outside of the checkout are named in the environment variable
``BCCD_PROJECTS``, separated as in ``PATH``: each holds folders ``<Name>_BCCD``.
"""

import importlib
import os
import pkgutil
from pathlib import Path
from types import ModuleType

# An installed wheel holds the packages in this folder (setup.py maps them); a checkout holds them
# in projects/*_BCCD.
_in_checkout = Path(__file__).resolve().parents[2] / "projects"
_own_path = [*__path__, *(str(folder) for folder in sorted(_in_checkout.glob("*_BCCD")))]
__path__ = list(_own_path)


def import_projects() -> list[ModuleType]:
    """Import every project package, which registers its detector.

    Returns:
        the packages, sorted by name.

    Raises:
        ValueError: a folder of BCCD_PROJECTS holds no project.
    """
    __path__[:] = [*_own_path, *_further_folders()]
    importlib.invalidate_caches()
    names = sorted(module.name for module in pkgutil.iter_modules(__path__) if module.ispkg)
    return [importlib.import_module(f"{__name__}.{name}") for name in names]


def _further_folders():
    folders = []
    for root in filter(None, os.environ.get("BCCD_PROJECTS", "").split(os.pathsep)):
        found = sorted(Path(root).resolve().glob("*_BCCD"))
        if not found:
            raise ValueError(
                f"BCCD_PROJECTS names {root}, which holds no folder <Name>_BCCD with a detector's "
                "package; see docs/adding_a_detector.md"
            )
        folders += map(str, found)
    return folders
