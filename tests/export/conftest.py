from functools import cache

import pytest
from tiny_detectors import THRESHOLDS, small_smears, tiny_model

from bccd.export.save import export_detector


@pytest.fixture(scope="session")
def onnx_of(tmp_path_factory):
    """Function of a name of CONFIGS to (.onnx file, model, its config), made once: change none."""

    @cache
    def export(name):
        model, cfg = tiny_model(name)
        cfg.DATALOADER.NUM_WORKERS = 0
        path = tmp_path_factory.mktemp("exported") / f"{name}.onnx"
        export_detector(model, cfg, THRESHOLDS, path, small_smears())
        return path, model, cfg

    return export
