"""Data of other classes than BCCD's: trained, evaluated, counted, exported and published."""

import json
import logging
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.datasets import register_coco_instances
from detectron2.engine import default_argument_parser

import train_net
from bccd import CellCounter
from bccd.config import get_bccd_cfg
from bccd.counting.count_table import read_table
from bccd.data.classes import class_colors
from bccd.engine.checkpoint import read_checkpoint
from bccd.engine.setup import merge, setup
from bccd.engine.trained_detector import load_for_inference
from bccd.engine.trainer import BCCDTrainer
from bccd.export.save import export_detector
from bccd.model_card import build_card, to_markdown

ROOT = Path(__file__).parents[1]
CLASSES = {
    "one": ("WBC",),
    "five": ("RBC", "Platelets", "Neutrophil", "Lymphocyte", "Monocyte"),
    "turned": ("Platelets", "RBC", "WBC"),
}
COLORS = {"five": ((200, 0, 0), (0, 160, 0), (0, 0, 200), (160, 160, 0), (0, 160, 160))}
CONFIGS = {
    "ssd_lite": "SSD/ssd_lite_bccd.yaml",
    "sparse_rcnn_lite": "SparseRCNN/sparse_rcnn_lite_bccd.yaml",
}
SLOW_CONFIGS = {
    "yolof_lite": "YOLOF/yolof_lite_bccd.yaml",
    "yolov3_lite": "YOLOv3/yolov3_lite_bccd.yaml",
    "yolov7_lite": "YOLOv7/yolov7_lite_bccd.yaml",
    "yolov8_lite": "YOLOv8/yolov8_lite_bccd.yaml",
}
SMALL = [
    *("MODEL.DEVICE", "cpu", "SEED", "1", "DATALOADER.NUM_WORKERS", "0"),
    *("INPUT.MIN_SIZE_TRAIN", "(96,)", "INPUT.MAX_SIZE_TRAIN", "128"),
    *("INPUT.MIN_SIZE_TEST", "96", "INPUT.MAX_SIZE_TEST", "128"),
    *("SOLVER.IMS_PER_BATCH", "2", "SOLVER.MAX_ITER", "1", "TEST.EVAL_PERIOD", "1"),
    *("TEST.BOOTSTRAP.ENABLED", "False", "INPUT.COPY_PASTE.ENABLED", "True"),
]
NARROW = [
    *("MODEL.RESNETS.STEM_OUT_CHANNELS", "16", "MODEL.RESNETS.RES2_OUT_CHANNELS", "16"),
    *("MODEL.FPN.OUT_CHANNELS", "16", "MODEL.SparseRCNN.HIDDEN_DIM", "16"),
    *("MODEL.SparseRCNN.DIM_FEEDFORWARD", "16", "MODEL.SparseRCNN.DIM_DYNAMIC", "4"),
    *("MODEL.SparseRCNN.NUM_HEADS", "2", "MODEL.SparseRCNN.NUM_PROPOSALS", "12"),
]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Registers ``<classes>_train`` and ``<classes>_val``; the second image of both is empty."""
    folder = tmp_path_factory.mktemp("own")
    for seed, (name, classes) in enumerate(CLASSES.items()):
        for part in ("train", "val"):
            file = _write_coco(folder / name / part, classes, seed)
            register_coco_instances(f"{name}_{part}", {}, str(file), str(file.parent))
            if name in COLORS:
                MetadataCatalog.get(f"{name}_{part}").thing_colors = list(COLORS[name])
    yield folder
    for name in CLASSES:
        for part in ("train", "val"):
            DatasetCatalog.remove(f"{name}_{part}")
            MetadataCatalog.remove(f"{name}_{part}")


def _write_coco(folder, classes, seed):
    folder.mkdir(parents=True)
    rng, images, annotations = np.random.default_rng(seed), [], []
    for i in range(3):
        picture = rng.integers(180, 255, (96, 128, 3), dtype=np.uint8)
        images.append({"id": i, "file_name": f"{i}.png", "width": 128, "height": 96})
        for k in range(len(classes)) if i != 1 else ():
            x, y, side = (rng.integers(*limits).item() for limits in ((2, 90), (2, 60), (16, 34)))
            picture[y : y + side, x : x + side] = (40 * k, 200 - 40 * k, 90)
            box = {"bbox": [x, y, side, side], "area": side**2, "iscrowd": 0}
            ids = {"id": len(annotations), "image_id": i, "category_id": 10 + k}
            annotations.append({**ids, **box})
        cv2.imwrite(str(folder / f"{i}.png"), picture)
    categories = [{"id": 10 + k, "name": name} for k, name in enumerate(classes)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "coco.json").write_text(json.dumps(content))
    return folder / "coco.json"


def arguments(detector, classes, output, *flags, opts=()):
    """The parsed command line of train_net.py: the config of BCCD, and nothing but other data."""
    datasets = {"TRAIN": "train", "VAL": "val", "TEST": "val"}
    datasets = [w for k, v in datasets.items() for w in (f"DATASETS.{k}", f"('{classes}_{v}',)")]
    config = ["--config-file", str(ROOT / "configs" / {**CONFIGS, **SLOW_CONFIGS}[detector])]
    options = [*SMALL, *datasets, "OUTPUT_DIR", str(output), *map(str, opts)]
    return default_argument_parser().parse_args([*config, *flags, *options])


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    """Function of a detector and classes to the OUTPUT_DIR of a training, made once."""

    @cache
    def train(detector, classes):
        output = tmp_path_factory.mktemp(f"{detector}_{classes}")
        train_net.main(arguments(detector, classes, output, opts=NARROW))
        return output

    return train


@pytest.fixture(scope="module")
def exported(trained):
    """Function of a detector and classes to the .onnx file of that training, made once."""

    @cache
    def export(detector, classes):
        output = trained(detector, classes)
        cfg = config_of(output)
        model, points = load_for_inference(cfg)
        images = [np.random.default_rng(0).integers(0, 255, (96, 128, 3), dtype=np.uint8)]
        export_detector(model, cfg, points, output / "model.onnx", images)
        return output / "model.onnx"

    return export


def config_of(output):
    cfg = get_bccd_cfg()
    merge(cfg, str(output / "config.yaml"), ["MODEL.WEIGHTS", str(output / "model_best.pth")])
    return cfg


def colors_of(classes):
    return COLORS.get(classes) or class_colors(CLASSES[classes])


cases = pytest.mark.parametrize("classes", ["one", "five"])
detectors = pytest.mark.parametrize(
    "detector", [*CONFIGS, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW_CONFIGS)]
)


@cases
@detectors
def test_the_classes_of_the_data_are_those_of_the_model_and_its_checkpoint(
    trained, detector, classes
):
    output = trained(detector, classes)
    cfg = config_of(output)
    assert tuple(cfg.MODEL.CLASS_NAMES) == CLASSES[classes]
    assert tuple(map(tuple, cfg.MODEL.CLASS_COLORS)) == COLORS.get(classes, ())
    checkpoint = read_checkpoint(output / "model_best.pth")
    assert tuple(checkpoint["class_names"]) == CLASSES[classes]
    assert tuple(checkpoint["operating_points"]) == CLASSES[classes]
    assert "class_colors" in checkpoint if classes in COLORS else "class_colors" not in checkpoint


@cases
@detectors
def test_an_evaluation_takes_the_classes_from_the_checkpoint(trained, detector, classes, tmp_path):
    opts = [*NARROW, "MODEL.WEIGHTS", trained(detector, classes) / "model_best.pth"]
    results = train_net.main(arguments(detector, classes, tmp_path, "--eval-only", opts=opts))
    names = [key.removeprefix("AP-") for key in results["bbox"] if key.startswith("AP-")]
    assert tuple(names) == CLASSES[classes]
    matrix = json.loads((tmp_path / "inference/confusion_matrix.json").read_text())
    assert matrix["labels"] == [*CLASSES[classes], "background"]
    points = json.loads((tmp_path / "inference/operating_points.json").read_text())
    assert points["source"] == "given" and tuple(points["classes"]) == CLASSES[classes]


@pytest.mark.parametrize(
    ("form", "detector", "classes"),
    [
        ("checkpoint", "ssd_lite", "one"),
        ("checkpoint", "sparse_rcnn_lite", "five"),
        ("exported", "ssd_lite", "five"),  # an export takes as long as everything else
        ("exported", "sparse_rcnn_lite", "one"),
    ],
)
def test_counts_pictures_and_files_have_names_and_colors(
    trained, exported, data, tmp_path, form, detector, classes
):
    model = trained(detector, classes) / "model_best.pth"
    if form == "exported":
        model = exported(detector, classes)
    counter = CellCounter(model, thresholds=0.001)
    assert counter.class_names == CLASSES[classes]
    assert CellCounter(model).thresholds == {
        name: point["threshold"]
        for name, point in read_checkpoint(model.with_name("model_best.pth"))[
            "operating_points"
        ].items()
    }
    result = counter(data / classes / "val" / "0.png")
    assert sum(result.counts.values()) > 0 and tuple(result.counts) == CLASSES[classes]
    strip = np.asarray(result.draw())[-40:].reshape(-1, 3).tolist()
    assert all(list(color) in strip for color in colors_of(classes))
    counter.to_csv([result], tmp_path / "counts.csv")
    row = read_table(tmp_path / "counts.csv")[0]
    assert list(row)[:3] + list(row)[-1:] == ["file", "status", CLASSES[classes][0], "notes"]
    assert {name: int(row[name]) for name in CLASSES[classes]} == result.counts
    counter.to_coco([result], tmp_path / "detections.json")
    categories = json.loads((tmp_path / "detections.json").read_text())["categories"]
    pairs = zip(CLASSES[classes], colors_of(classes), strict=True)
    assert categories == [
        {"id": i, "name": name, "color": list(color)} for i, (name, color) in enumerate(pairs, 1)
    ]


@cases
def test_a_model_card_names_the_classes(trained, classes):
    output = trained("ssd_lite", classes)
    evaluation = json.loads((output / "validation/evaluation.json").read_text())
    cfg, weights = config_of(output), output / "model_best.pth"
    card = build_card(
        *("own", weights, cfg, read_checkpoint(weights), {"val": evaluation}),
        command="train_net.py",
        commit="0",
    )
    assert tuple(card["class_names"]) == CLASSES[classes]
    page = to_markdown(card)
    assert all(f"| {name} " in page for name in CLASSES[classes])
    assert "BCCD" not in page and "white cells" not in page


@pytest.mark.parametrize(
    ("detector", "classes"),
    [("ssd_lite", "five"), ("ssd_lite", "turned"), ("sparse_rcnn_lite", "one")],
)
def test_a_shipped_model_is_fine_tuned_but_for_its_class_layer(
    data, tmp_path, caplog, detector, classes
):
    opts = ["MODEL.WEIGHTS", f"bccd://{detector}", "SOLVER.EMA.ENABLED", "False"]
    trainer = BCCDTrainer(setup(arguments(detector, classes, tmp_path, opts=opts)))
    fresh = {k: v.clone() for k, v in trainer.unwrapped_model.state_dict().items()}
    log = logging.getLogger("fvcore.common.checkpoint")
    log.addHandler(caplog.handler)
    trainer.resume_or_load(resume=False)
    log.removeHandler(caplog.handler)
    assert "trained for RBC, WBC, Platelets" in caplog.text
    assert f"this model is for {', '.join(CLASSES[classes])}." in caplog.text
    shipped = read_checkpoint(f"bccd://{detector}")["model"]
    anew = set()
    for name, tensor in trainer.unwrapped_model.state_dict().items():
        if name in shipped and tensor.shape == shipped[name].shape:
            loaded = bool((tensor == shipped[name].to(tensor.dtype)).all())
        else:
            loaded = False
        if not loaded:
            anew.add(name)
            assert (tensor == fresh[name]).all()
    assert anew and all(name in caplog.text for name in anew)
    assert len(anew) < 10 and all("cls" in n or "class" in n for n in anew), anew
    trainer.train()


def test_other_classes_are_refused_when_resuming_and_evaluating(trained, data, tmp_path):
    five = trained("ssd_lite", "five")
    found, expected = (", ".join(CLASSES[name]) for name in ("five", "one"))
    match = f"checkpoint is of the classes {found}; expected {expected}"
    opts = [*NARROW, "SOLVER.MAX_ITER", "2"]
    trainer = BCCDTrainer(setup(arguments("ssd_lite", "one", tmp_path, opts=opts)))
    trainer.checkpointer.save_dir = str(five)
    with pytest.raises(ValueError, match=match):
        trainer.resume_or_load(resume=True)
    opts = [*NARROW, "MODEL.WEIGHTS", five / "model_best.pth", "MODEL.CLASS_NAMES", "('WBC',)"]
    with pytest.raises(ValueError, match=match):
        train_net.main(arguments("ssd_lite", "one", tmp_path, "--eval-only", opts=opts))
    opts = [*NARROW, "MODEL.WEIGHTS", five / "model_best.pth"]
    with pytest.raises(ValueError, match="one_val has the classes WBC; expected RBC, Platelets"):
        train_net.main(arguments("ssd_lite", "one", tmp_path, "--eval-only", opts=opts))


def test_thresholds_are_as_many_as_the_classes(data, tmp_path):
    five = SimpleNamespace(opts=["TEST.OPERATING_POINTS", "(0.1, 0.2, 0.3)"])
    with pytest.raises(ValueError, match="each of RBC, Platelets, Neutrophil, Lymphocyte, Mono"):
        setup(arguments("ssd_lite", "five", tmp_path, opts=five.opts))
