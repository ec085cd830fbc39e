"""Shipped models in Detectron2: their configs, and ``bccd://<name>`` wherever a file is named."""

from detectron2.config import CfgNode
from detectron2.utils.file_io import PathHandler, PathManager

from bccd.config import get_bccd_cfg
from bccd.model_zoo import PREFIX, find_weights, list_models, load_card


def load_config(name: str) -> CfgNode:
    """The config that the model ``name`` was evaluated with; MODEL.WEIGHTS is ``bccd://<name>``.

    Returns:
        CfgNode, not frozen.

    Raises:
        FileNotFoundError: no model of that name.
    """
    cfg = get_bccd_cfg()
    cfg.merge_from_other_cfg(CfgNode(load_card(name)["config"]))
    return cfg


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
