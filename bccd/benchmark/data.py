"""Time of everything before the model: reading, decoding, composing, augmenting."""

import tempfile
from pathlib import Path

import cv2
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.utils.file_io import PathManager

from bccd.benchmark.timing import timing
from bccd.data.bccd_classes import CLASS_NAMES
from bccd.data.loading.loader import build_train_loader
from bccd.data.loading.mapper import BCCDDatasetMapper
from bccd.data.synthetic import load_smears

IMAGES = 8
NAME = "benchmark_smears"


def time_data(cfg: CfgNode, size: tuple[int, int], batch_size: int, seconds: float) -> dict:
    """Milliseconds in this one process, from a JPEG file as BCCD's to what the model reads.

    Args:
        cfg: how images are read, composed and augmented.
        size: height and width of the files.
        batch_size: images of a training iteration.
        seconds: measuring time of each figure.

    Returns:
        dict: ``test``, of one image; ``train``, of a batch, with decoded images in the cache if the
        config has one. Each as :func:`.timing`. A training's loader does this in other processes.
    """
    cfg = cfg.clone()
    cfg.DATALOADER.NUM_WORKERS = 0
    cfg.DATASETS.TRAIN, cfg.SOLVER.IMS_PER_BATCH = (NAME,), batch_size
    with tempfile.TemporaryDirectory() as folder:
        records = _write_jpegs(size, Path(folder))
        DatasetCatalog.register(NAME, lambda: records)
        MetadataCatalog.get(NAME).thing_classes = list(CLASS_NAMES)
        try:
            batches = iter(build_train_loader(cfg, seed=0))
            mapper = BCCDDatasetMapper(cfg, is_train=False)
            return {
                "test": timing(lambda: mapper(records[0]), seconds),
                "train": timing(lambda: next(batches), seconds),
            }
        finally:
            DatasetCatalog.remove(NAME)
            MetadataCatalog.remove(NAME)


def _write_jpegs(size, folder):
    """Records of smears of ``size`` (height, width), the images in ``folder``."""
    records = load_smears(IMAGES, 0, *size)
    for record in records:
        image = cv2.imread(PathManager.get_local_path(record["file_name"]))
        record["file_name"] = str(folder / f"{record['image_id']}.jpg")
        cv2.imwrite(record["file_name"], image)
    return records
