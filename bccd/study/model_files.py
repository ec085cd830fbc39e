"""Where the files of a model are that a study counts with."""

from pathlib import Path

from bccd import model_zoo

MODELS = "models"  # in the study's folder: those that were retrained on it


def model_path(study: Path, model: str) -> str:
    """What ``CellCounter`` takes: the name of a shipped model, or a path.

    Args:
        study: its folder.
        model: as ``Settings`` has it; a path of the study's own starts from its folder.
    """
    if model in model_zoo.list_models():
        return model
    return str(study / model)  # an absolute one stays as it is
