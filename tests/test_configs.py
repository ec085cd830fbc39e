from pathlib import Path

import pytest
from detectron2.data import DatasetCatalog
from detectron2.modeling import build_model

from bccd.data.records import model_class_names
from bccd.data.transforms.augmentation import build_augmentations
from bccd.engine.classes import check_class_count
from bccd.engine.optimizer import build_optimizer
from bccd.engine.setup import check_config, merge

CONFIGS = Path(__file__).parents[1] / "configs"
NOT_DETECTORS = ("ablations", "experiments", "recipes")
FILES = sorted(f for f in CONFIGS.glob("*/*.yaml") if f.parent.name not in NOT_DETECTORS)

KEPT = sorted((CONFIGS.parent / "results").glob("**/config.yaml"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_config_builds_all_that_training_needs(cfg, file):
    merge(cfg, str(file), [])
    cfg.MODEL.DEVICE = "cpu"
    check_config(cfg)
    assert build_augmentations(cfg, is_train=True) and build_augmentations(cfg, is_train=False)
    model = build_model(cfg)
    check_class_count(model, model_class_names(cfg))
    assert len(build_optimizer(cfg, model).param_groups) > 0
    for name in (*cfg.DATASETS.TRAIN, *cfg.DATASETS.VAL, *cfg.DATASETS.TEST):
        assert name in DatasetCatalog


@pytest.mark.parametrize("file", KEPT, ids=lambda file: file.parent.name)
def test_the_config_of_a_kept_row_can_be_used_again(cfg, file):
    merge(cfg, str(file), [])
    check_config(cfg)


def test_every_detector_has_the_configs_that_the_project_promises():
    names = {str(file.relative_to(CONFIGS)) for file in FILES}
    assert names >= {
        "SparseRCNN/sparse_rcnn_r50_100pro_bccd.yaml",
        "SparseRCNN/sparse_rcnn_r50_300pro_bccd.yaml",
        "SparseRCNN/sparse_rcnn_lite_bccd.yaml",
        "SSD/ssd300_vgg16_bccd.yaml",
        "SSD/ssd512_vgg16_bccd.yaml",
        "SSD/ssd_lite_bccd.yaml",
    }


@pytest.mark.parametrize(
    ("file", "optimizer", "rate", "decay"),
    [
        ("SparseRCNN/sparse_rcnn_r50_100pro_bccd.yaml", "ADAM", 0.00005, 0.001),
        ("SSD/ssd300_vgg16_bccd.yaml", "SGD", 0.02, 0.0005),
        ("SSD/ssd512_vgg16_bccd.yaml", "SGD", 0.02, 0.0005),
    ],
)
def test_the_papers_configs_have_the_papers_optimizers(cfg, file, optimizer, rate, decay):
    merge(cfg, str(CONFIGS / file), [])
    solver = cfg.SOLVER
    assert (optimizer, rate, decay) == (solver.OPTIMIZER, solver.BASE_LR, solver.WEIGHT_DECAY)
    assert optimizer != "SGD" or solver.MOMENTUM == 0.9
