import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import BoxMode

from bccd.engine.fields import with_training_fields

NAME = "test_fields"


@pytest.fixture
def train(cfg):
    """Registers ten images of a size, with cells of a size and a class, for training."""

    def register(size, cell, name="red blood cells"):
        height, width = size
        box = {
            "bbox": [9, 9, 9 + cell, 9 + cell],
            "bbox_mode": BoxMode.XYXY_ABS,
            "category_id": 0,
        }
        records = [
            {"file_name": f"{i}", "image_id": i, "height": height, "width": width}
            for i in range(10)
        ]
        DatasetCatalog.register(NAME, lambda: [{**r, "annotations": [box]} for r in records])
        MetadataCatalog.get(NAME).thing_classes = [name]
        cfg.DATASETS.TRAIN, cfg.MODEL.CLASS_NAMES = (NAME,), (name,)
        return cfg

    yield register
    DatasetCatalog.remove(NAME)
    MetadataCatalog.remove(NAME)


@pytest.mark.parametrize(("size", "cell"), [((480, 640), 100), ((960, 1280), 210)])
def test_what_the_config_states_stays_where_it_fits_the_data(train, size, cell):
    cfg = train(size, cell)
    cfg.COUNTING.RED_CELL_DIAMETER = 103.0
    assert with_training_fields(cfg)[0] is cfg


def test_it_follows_other_data(train):
    cfg = train((1200, 1600), 70)
    cfg.COUNTING.RED_CELL_DIAMETER = 103.0
    found, (sentence,) = with_training_fields(cfg)
    assert found.INPUT.FIELD_SIZE == (1200, 1600) and found.COUNTING.RED_CELL_DIAMETER == 70
    assert cfg.COUNTING.RED_CELL_DIAMETER == 103 and "red cells of 70 pixels" in sentence


def test_data_without_red_cells_have_no_such_diameter(train):
    cfg = train((480, 640), 100, "parasite")
    cfg.COUNTING.RED_CELL_DIAMETER = 103.0
    assert with_training_fields(cfg)[0].COUNTING.RED_CELL_DIAMETER == 0


def test_a_config_without_a_diameter_is_left_alone(cfg):
    cfg.DATASETS.TRAIN = ("not_registered",)
    assert with_training_fields(cfg)[0] is cfg


@pytest.mark.parametrize("diameter", [103.0, 0.0])
def test_thresholds_of_another_training_are_not_taken_over(train, diameter):
    cfg = train((480, 640), 100, "parasite")
    cfg.COUNTING.RED_CELL_DIAMETER, cfg.COUNTING.THRESHOLDS = diameter, (0.3, 0.4, 0.5)
    cfg.COUNTING.INTERVALS.WIDTH = (1.0, 1.0, 1.0)
    found, sentences = with_training_fields(cfg)
    assert found.COUNTING.THRESHOLDS == () and found.COUNTING.INTERVALS.WIDTH == ()
    assert "(0.3, 0.4, 0.5) and COUNTING.INTERVALS are not taken over" in sentences[0]


def test_a_training_without_data_is_one_clear_error(cfg):
    cfg.DATASETS.TRAIN = ()
    with pytest.raises(ValueError, match=r"DATASETS\.TRAIN is empty; name a registered dataset"):
        with_training_fields(cfg)
