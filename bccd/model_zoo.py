"""The trained detectors that come with the project: ``bccd://<name>`` wherever a file is named.

``models/`` holds for each of them the weights as ``<name>.safetensors``, and a model card as
``<name>.json`` and, for people, ``<name>.md``; ``tools/publish_model.py`` writes all three.
"""

import difflib
import hashlib
import json
from pathlib import Path

from detectron2.config import CfgNode
from detectron2.utils.file_io import PathHandler, PathManager

from bccd.config import get_bccd_cfg

PREFIX = "bccd://"
DEFAULT_MODEL = "ssd_lite"
MAX_FILE_BYTES = 25 * 10**6
MAX_TOTAL_BYTES = 60 * 10**6

_PACKAGE = Path(__file__).resolve().parent
# An installed wheel has models/ inside the package (setup.py maps it), a checkout beside it.
_INSTALLED = _PACKAGE / "models"
MODELS = _INSTALLED if _INSTALLED.is_dir() else _PACKAGE.parent / "models"


def list_models():
    """Sorted names of the shipped models."""
    return sorted(card.stem for card in MODELS.glob("*.json"))


def load_card(name):
    """The model card ``models/<name>.json`` as a dict.

    Raises:
        FileNotFoundError: no model of that name; lists those that there are.
    """
    if name not in list_models():
        known = ", ".join(list_models()) or "none (tools/publish_model.py writes them)"
        similar = difflib.get_close_matches(name, list_models(), n=1)
        hint = f" Did you mean {similar[0]}?" if similar else ""
        raise FileNotFoundError(f"no shipped model is called {name}; there are: {known}.{hint}")
    return json.loads((MODELS / f"{name}.json").read_text(encoding="utf-8"))


def load_config(name):
    """The config that the model ``name`` was evaluated with; MODEL.WEIGHTS is ``bccd://<name>``.

    Returns:
        CfgNode, not frozen.

    Raises:
        FileNotFoundError: no model of that name.
    """
    cfg = get_bccd_cfg()
    cfg.merge_from_other_cfg(CfgNode(load_card(name)["config"]))
    return cfg


def sha256(path):
    """SHA-256 of a file, in hexadecimal."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def find_weights(name):
    """The weights of the model ``name``, once their SHA-256 is that of the card.

    Returns:
        Path.

    Raises:
        FileNotFoundError: no model of that name, or its weights are missing.
        ValueError: the file is not the one that the card describes.
    """
    expected, path = load_card(name)["sha256"], MODELS / f"{name}.safetensors"
    remedy = f"Restore it, for example with: git checkout -- models/{path.name}"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing. {remedy}")
    if (found := sha256(path)) != expected:
        raise ValueError(
            f"{path} is damaged or was changed: its SHA-256 is {found}, its card says {expected}. "
            f"{remedy}"
        )
    return path


class ShippedModelHandler(PathHandler):
    """Lets Detectron2's PathManager read ``bccd://<name>``; the SHA-256 is verified each time."""

    def _get_supported_prefixes(self):
        return [PREFIX]

    def _get_local_path(self, path, force=False, **kwargs):
        self._check_kwargs(kwargs)
        return str(find_weights(path.removeprefix(PREFIX)))

    def _open(self, path, mode="r", buffering=-1, **kwargs):
        if set(mode) & set("wax+"):
            raise ValueError(
                f"{path} can only be read; tools/publish_model.py writes shipped models"
            )
        return open(self._get_local_path(path), mode, buffering, **kwargs)

    def _exists(self, path, **kwargs):
        return path.removeprefix(PREFIX) in list_models()

    _isfile = _exists


PathManager.register_handler(ShippedModelHandler())
