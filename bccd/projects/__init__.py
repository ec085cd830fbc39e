"""The detectors, one package each: ``projects/<Name>_BCCD/<package>`` in a checkout.

A project package registers its meta-architecture when it is imported, and exports
``add_config(cfg)``, which adds its config node. Adding a detector means adding such a folder;
nothing here names one.
"""

import importlib
import pkgutil
from pathlib import Path

# An installed wheel holds the packages in this folder (setup.py maps them); a checkout holds them
# in projects/*_BCCD.
_in_checkout = Path(__file__).resolve().parents[2] / "projects"
__path__ += [str(folder) for folder in sorted(_in_checkout.glob("*_BCCD"))]


def import_projects():
    """Import every project package, which registers its detector.

    Returns:
        list of modules, sorted by name.
    """
    names = sorted(module.name for module in pkgutil.iter_modules(__path__) if module.ispkg)
    return [importlib.import_module(f"{__name__}.{name}") for name in names]
