from pathlib import Path

import pytest

from bccd.engine.setup import check_config, merge

CONFIGS = Path(__file__).parents[1] / "configs"
NOT_DETECTORS = ("ablations", "experiments", "recipes", "searches")
FILES = sorted(f for f in CONFIGS.glob("*/*.yaml") if f.parent.name not in NOT_DETECTORS)

KEPT = sorted((CONFIGS.parent / "results").glob("**/config.yaml"))


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
