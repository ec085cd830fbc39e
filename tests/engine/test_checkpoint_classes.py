"""Classes in checkpoints: older files, other spellings, and the layers that depend on them."""

import logging

import pytest
import torch
from detectron2.modeling import build_model
from tiny_training import tiny_cfg

from bccd.engine.checkpoint import BCCDCheckpointer, read_checkpoint, with_checkpoint_classes
from bccd.engine.checkpoint_classes import CheckpointClasses
from bccd.engine.classes import num_classes_key, set_classes
from bccd.engine.weights_file import encode_weights

CELLS = ("ring", "schizont", "gametocyte")
POINTS = {"RBC": {"threshold": 0.5}, "WBC": {"threshold": 0.5}, "Platelets": {"threshold": 0.5}}
HEAD = {"cls_score.weight", "cls_score.bias"}


@pytest.fixture
def fine_tune(tmp_path, caplog):
    """Function of class names and a checkpoint to (tensors that were not loaded, log)."""

    def fine_tune(names, path):
        cfg = tiny_cfg(tmp_path)
        set_classes(cfg, names)
        model = build_model(cfg)
        log = logging.getLogger("fvcore.common.checkpoint")
        log.addHandler(caplog.handler)
        classes = CheckpointClasses(cfg, model)
        BCCDCheckpointer(model, classes=classes).load(str(path), checkpointables=[])
        log.removeHandler(caplog.handler)
        saved = read_checkpoint(path)["model"]
        state = model.state_dict()
        same = {k for k in saved if k in state and torch.equal(saved[k], state[k])}
        return state.keys() - same, caplog.text

    return fine_tune


def write(path, num_classes, **content):
    cfg = tiny_cfg(path.parent)
    cfg.MODEL.RETINANET.NUM_CLASSES = num_classes
    torch.save({"model": build_model(cfg).state_dict(), **content}, path)
    return path


@pytest.mark.parametrize(
    ("content", "names", "is_loaded"),
    [
        ({"class_names": list(CELLS)}, CELLS, True),
        ({"class_names": list(CELLS)}, ("Ring", "SCHIZONT", " gametocyte"), True),
        ({"class_names": list(CELLS)}, CELLS[::-1], False),
        ({"class_names": list(CELLS)}, ("RBC", "WBC", "Platelets"), False),
        ({"operating_points": POINTS}, ("rbc", "White blood cells", "platelet"), True),
        ({"operating_points": POINTS}, CELLS, False),
        ({}, ("RBC", "WBC", "Platelets"), True),  # written before files named their classes
        ({}, CELLS, False),
    ],
)
def test_a_class_layer_is_loaded_where_its_rows_mean_the_same(
    tmp_path, fine_tune, content, names, is_loaded
):
    anew, log = fine_tune(names, write(tmp_path / "a.pth", 3, **content))
    assert anew == (set() if is_loaded else HEAD)
    assert ("initialised anew" in log) != is_loaded


def test_the_message_names_both_classes_or_the_number_of_those_without_names(tmp_path, fine_tune):
    _, log = fine_tune(("cell",), write(tmp_path / "a.pth", 3, class_names=list(CELLS)))
    assert "trained for ring, schizont, gametocyte; this model is for cell." in log
    anew, log = fine_tune(("cell",), write(tmp_path / "coco.pth", 80))
    assert anew == HEAD
    assert "trained for 80 classes without names; this model is for cell." in log


def test_a_layer_that_does_not_depend_on_the_classes_must_fit(tmp_path, fine_tune):
    path = write(tmp_path / "a.pth", 80)
    content = torch.load(path)
    content["model"]["bbox_pred.bias"] = torch.zeros(7)
    torch.save(content, path)
    with pytest.raises(ValueError, match=r"bbox_pred\.bias") as error:
        fine_tune(("cell",), path)
    assert "cls_score" not in str(error.value)


def test_building_another_model_leaves_the_random_numbers(tmp_path):
    cfg = tiny_cfg(tmp_path)
    set_classes(cfg, CELLS)
    model = build_model(cfg)
    state = torch.get_rng_state()
    assert CheckpointClasses(cfg, model).find_tensors({}) == HEAD
    assert torch.equal(torch.get_rng_state(), state)


def test_a_published_file_says_its_classes(tmp_path):
    classes = {"class_names": CELLS, "class_colors": [[1, 2, 3], [4, 5, 6], [7, 8, 9]]}
    path = tmp_path / "a.safetensors"
    path.write_bytes(encode_weights({"a": torch.ones(2)}, None, classes))
    cfg = tiny_cfg(tmp_path, "MODEL.WEIGHTS", str(path), "MODEL.RETINANET.NUM_CLASSES", 80)
    cfg = with_checkpoint_classes(cfg)
    assert cfg.MODEL.CLASS_NAMES == CELLS and cfg.MODEL.RETINANET.NUM_CLASSES == 3
    assert cfg.MODEL.CLASS_COLORS == ((1, 2, 3), (4, 5, 6), (7, 8, 9))


@pytest.mark.parametrize(
    ("architecture", "key"),
    [
        ("RetinaNet", "MODEL.RETINANET.NUM_CLASSES"),
        ("PanopticFPN", "MODEL.ROI_HEADS.NUM_CLASSES"),
        ("ProposalNetwork", None),
    ],
)
def test_detectron2s_own_detectors_are_known(cfg, architecture, key):
    cfg.MODEL.META_ARCHITECTURE = architecture
    assert num_classes_key(cfg) == key
    set_classes(cfg, CELLS)
    assert cfg.MODEL.CLASS_NAMES == CELLS


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("class_names", torch.zeros(3)),
        ("class_names", [1, 2]),
        ("class_names", "RBC"),
        ("operating_points", [0.5]),
        ("operating_points", {"RBC": {"threshold": "x"}}),
        ("operating_points", {1: {"threshold": 0.5}}),
        ("model", [1]),
        ("model", {1: torch.zeros(1)}),
    ],
)
def test_what_a_damaged_checkpoint_says_of_its_classes_is_refused(tmp_path, key, value):
    path = tmp_path / "model.pth"
    torch.save({"model": {"a": torch.zeros(1)}, key: value}, path)
    with pytest.raises(ValueError, match=rf"model.pth cannot be read .* its {key} is damaged"):
        read_checkpoint(path)
