"""Writing COUNTING.INTERVALS where a model keeps its config: they travel with it from then on."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from bccd import model_zoo
from bccd.atomic_files import write_atomically
from bccd.export.metadata import KEY
from bccd.model_card import write_card


def store_intervals(model: str, values: Mapping[str, Sequence], config_file: str | None) -> Path:
    """Write the intervals of a model's counts.

    Args:
        model: name of a shipped model, whose card and exported file take them; path of an exported
            ``.onnx`` file; or of a checkpoint, whose ``config_file`` takes them.
        values: as ``CountIntervals.to_dict`` gives them.
        config_file: None: ``config.yaml`` beside the checkpoint.

    Returns:
        the file that was written; of a shipped model, its card.

    Raises:
        FileNotFoundError, ValueError: there is no such file, or it does not keep a config.
    """
    model = model.removeprefix(model_zoo.PREFIX)
    if model in model_zoo.list_models():
        return _store_in_card(model, values)
    if Path(model).suffix == ".onnx":
        return _store_in_onnx(Path(model), values)
    if Path(model).suffix == ".pt2":
        raise ValueError(f"{model} cannot be changed: store them with its checkpoint, then export")
    path = Path(config_file) if config_file else Path(model).with_name("config.yaml")
    return _store_in_yaml(path, values)


def _in_capitals(values):
    return {key.upper(): list(value) for key, value in values.items()}


def _store_in_card(name, values):
    card = model_zoo.load_card(name)
    card["config"]["COUNTING"]["INTERVALS"] = _in_capitals(values)
    if export := card.get("export"):
        path = _store_in_onnx(model_zoo.find_export(name), values)
        export |= {"bytes": path.stat().st_size, "sha256": model_zoo.sha256(path)}
    write_card(card, model_zoo.MODELS)
    return model_zoo.MODELS / f"{name}.json"


def _store_in_onnx(path, values):
    import onnx  # of the extra "export"

    model = onnx.load(path, load_external_data=False)  # which may lie in another file
    strings = [entry for entry in model.metadata_props if entry.key == KEY]
    if not strings:
        raise ValueError(f"{path} has no metadata of this project; export it with bccd export")
    metadata = json.loads(strings[0].value) | {"count_intervals": dict(values)}
    strings[0].value = json.dumps(metadata)
    write_atomically(path, lambda file: file.write(model.SerializeToString()))
    return path


def _store_in_yaml(path, values):
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    config.setdefault("COUNTING", {})["INTERVALS"] = _in_capitals(values)
    write_atomically(path, lambda file: file.write(yaml.safe_dump(config).encode()))
    return path
