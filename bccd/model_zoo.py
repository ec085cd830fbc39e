"""The trained detectors that come with the project, as files.

``models/`` holds for each of them the weights as ``<name>.safetensors``, the exported detector as
``<name>.onnx``, and a model card as ``<name>.json`` and, for people, ``<name>.md``;
``tools/publish_model.py`` writes all four. Nothing here needs PyTorch:
:mod:`bccd.engine.shipped_models` has what Detectron2 needs to use them.
"""

import hashlib
import json
from pathlib import Path

from bccd.suggestions import did_you_mean

PREFIX = "bccd://"
DEFAULT_MODEL = "ssd_lite_generalist"
MAX_FILE_BYTES = 25 * 10**6
MAX_TOTAL_BYTES = 60 * 10**6

_PACKAGE = Path(__file__).resolve().parent
# An installed wheel has models/ inside the package (setup.py maps it), a checkout beside it.
_INSTALLED = _PACKAGE / "models"
MODELS = _INSTALLED if _INSTALLED.is_dir() else _PACKAGE.parent / "models"


def list_models() -> list[str]:
    """Sorted names of the shipped models."""
    return sorted(card.stem for card in MODELS.glob("*.json"))


def load_card(name: str) -> dict:
    """The model card ``models/<name>.json``.

    Raises:
        FileNotFoundError: no model of that name; lists those that there are.
    """
    if name not in list_models():
        known = ", ".join(list_models()) or "none (tools/publish_model.py writes them)"
        hint = did_you_mean(name, list_models())
        raise FileNotFoundError(f"no shipped model is called {name}; there are: {known}.{hint}")
    return json.loads((MODELS / f"{name}.json").read_text(encoding="utf-8"))


def sha256(path: str | Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def find_weights(name: str) -> Path:
    """The weights of the model ``name``, once their SHA-256 is that of the card.

    Raises:
        FileNotFoundError: no model of that name, or its weights are missing.
        ValueError: the file is not the one that the card describes.
    """
    return _verified(load_card(name))


def find_export(name: str) -> Path:
    """The exported detector of the model ``name``; returns and raises as :func:`find_weights`.

    Raises:
        ValueError: also where it was made of other weights than those that ship.
    """
    card = load_card(name)
    export = card.get("export")
    if export is None:
        raise FileNotFoundError(
            f"the shipped model {name} has no exported file. Use one that has: "
            f"{', '.join(n for n in list_models() if load_card(n).get('export')) or 'none'}"
        )
    if export["weights_sha256"] != card["sha256"]:
        raise ValueError(
            f"{export['file']} was made of other weights than those that ship as {card['file']}. "
            f"Renew it with: python tools/export_shipped.py {name}"
        )
    _verified(card)  # the exported file takes its weights from it
    return _verified(export)


def check_sizes(path: Path, size: int) -> None:
    """Whether a file of ``size`` bytes may ship as ``models/<name of path>``.

    Raises:
        ValueError: it, or all files with it, would be too large.
    """
    others = [f for f in MODELS.glob("*") if f.is_file() and f.name != path.name]
    total = size + sum(file.stat().st_size for file in others)
    if size > MAX_FILE_BYTES or total > MAX_TOTAL_BYTES:
        raise ValueError(
            f"{path.name} has {size / 1e6:.1f} MB, all models {total / 1e6:.1f}: at most "
            f"{MAX_FILE_BYTES / 1e6:.0f} and {MAX_TOTAL_BYTES / 1e6:.0f} ship"
        )


def _verified(entry):
    """The file that ``entry`` of a card describes, by its name ("file") and its "sha256"."""
    path = MODELS / entry["file"]
    remedy = f"Restore it, for example with: git checkout -- models/{path.name}"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing. {remedy}")
    if (found := sha256(path)) != entry["sha256"]:
        raise ValueError(
            f"{path} is damaged or was changed: its SHA-256 is {found}, its card says "
            f"{entry['sha256']}. {remedy}"
        )
    return path
