import os
from pathlib import Path

import pytest
from warm_python import WarmPython

from bccd.config import get_bccd_cfg
from bccd.data.sources.catalog import register_datasets


def pytest_collection_modifyitems(items):
    """Start what takes longest first: several processes share the files in this order."""

    def limit(item):
        marker = item.get_closest_marker("timeout")
        return marker.args[0] if marker else 0

    items.sort(key=limit, reverse=True)


@pytest.fixture(scope="session")
def bccd_root():
    """Folder of the real BCCD; the test is skipped where it is not."""
    root = Path(os.environ.get("DETECTRON2_DATASETS", "datasets")) / "BCCD"
    if not (root / "ImageSets").is_dir():
        pytest.skip(f"BCCD is not in {root}; set DETECTRON2_DATASETS to run this test")
    return root


@pytest.fixture(scope="session", autouse=True)
def _registered_datasets():
    register_datasets()


@pytest.fixture(scope="session")
def warm_python():
    """WarmPython, whose processes need not load PyTorch."""
    with WarmPython() as python:
        yield python


@pytest.fixture
def cfg():
    """The project's default config on the CPU."""
    cfg = get_bccd_cfg()
    cfg.MODEL.DEVICE = "cpu"
    cfg.DATALOADER.NUM_WORKERS = 0
    return cfg
