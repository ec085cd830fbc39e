"""``bccd train-on``: from annotated images of any classes to a model that counts them."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from bccd import CellCounter, cli, console
from bccd.data.formats.annotated_image import AnnotatedBox, AnnotatedImage
from bccd.engine.trainer import BCCDTrainer
from bccd.experiments.own_data import run as own_run
from bccd.experiments.own_data.config import fine_tuning_config
from bccd.export import publish

CLASSES = ["Blast", "Eosinophil", "Lymphocyte", "Monocyte", "Neutrophil"]
SCORES = (0.1, 0.2, 0.3, 0.4, 0.5)
TINY = [
    *("SOLVER.IMS_PER_BATCH", "2", "DATALOADER.NUM_WORKERS", "0", "SOLVER.CHECKPOINT_PERIOD", "1"),
    *("INPUT.MIN_SIZE_TRAIN", "(64,)", "INPUT.MIN_SIZE_TEST", "64", "TEST.BOOTSTRAP.SAMPLES", "5"),
    *("MODEL.DEVICE", "cpu"),
]


@pytest.fixture
def data(tmp_path):
    """Twelve images with XML files beside them: five classes, one image without a box."""
    folder = tmp_path / "my_annotations"
    folder.mkdir()
    for i in range(12):
        coarse = np.random.default_rng(i).integers(0, 255, (6, 8, 3), dtype=np.uint8)
        picture = Image.fromarray(coarse).resize((64, 48), Image.Resampling.BICUBIC)
        picture.save(folder / f"smear {i}.png")
        boxes = "".join(
            f"<object><name>{name}</name><bndbox><xmin>{4 + 9 * k}</xmin><ymin>{6 + 5 * k}</ymin>"
            f"<xmax>{24 + 9 * k}</xmax><ymax>{26 + 5 * k}</ymax></bndbox></object>"
            for k, name in enumerate((CLASSES[i % 5], CLASSES[(i + 1) % 5]))
        )
        text = f"<annotation>{boxes if i else ''}</annotation>"
        (folder / f"smear {i}.xml").write_text(text)
    return folder


def train(data, out, *options):
    arguments = ["train-on", str(data), "-o", str(out), *options]
    return cli.main([*arguments, "--json", "--opts", *TINY])


@pytest.fixture
def exports(monkeypatch):
    """Configs of the models that are exported, which takes long; tests/export does it."""
    configs = []

    def write_export(cfg, weights, path, *, ships):
        assert weights.is_file() and not ships
        configs.append(cfg)
        path.write_bytes(b"a detector")
        return {"file": path.name, "bytes": 10, "sha256": "0"}

    monkeypatch.setattr(publish, "write_export", write_export)
    return configs


def test_from_images_to_counts_through_two_interruptions(
    data, tmp_path, monkeypatch, capfd, exports
):
    out = tmp_path / "mine"
    step, steps = BCCDTrainer.run_step, []

    def interrupted(trainer):
        steps.append(trainer.iter)
        if len(steps) == 2:
            raise KeyboardInterrupt
        step(trainer)

    monkeypatch.setattr(BCCDTrainer, "run_step", interrupted)
    assert train(data, out, "--iterations", "2") == console.INTERRUPTED
    publish_to_folder = own_run.publish_to_folder
    monkeypatch.setattr(own_run, "publish_to_folder", lambda *a, **k: 1 / 0)
    assert train(data, out, "--iterations", "2") == console.FAILED
    assert steps == [0, 1, 1]  # the first iteration was not done again
    monkeypatch.setattr(own_run, "publish_to_folder", publish_to_folder)
    choose = own_run.choose_counting_thresholds  # gives none: no class is of red cells
    monkeypatch.setattr(own_run, "choose_counting_thresholds", lambda cfg: choose(cfg) or SCORES)
    capfd.readouterr()
    assert train(data, out, "--iterations", "2") == console.DONE
    assert steps == [0, 1, 1]
    printed = json.loads(capfd.readouterr().out)

    card = printed["card"]
    assert list(card["operating_points"]) == CLASSES
    assert len(card["metrics"]) == 2 and card["training"]["iterations"] in (1, 2)
    split = json.loads((out / "data/split.json").read_text())
    names = [name for part in ("train", "val", "test") for name in split[part]]
    assert sorted(names) == sorted(path.stem for path in data.glob("*.png"))
    page = (out / "model/mine.md").read_text()
    assert "Lymphocyte" in page and "BCCD" not in page
    assert f"--model {out}/model/mine.safetensors --input" in page

    assert (out / "model" / card["export"]["file"]).is_file() and "`mine.onnx`, 0.0 MB" in page
    (exported,) = exports
    config = yaml.safe_load((out / "model/config.yaml").read_text())
    for where in (exported, config, card["config"]):
        assert tuple(where["COUNTING"]["THRESHOLDS"]) == SCORES

    counter = CellCounter(printed["model"])
    assert list(counter(str(data / "smear 1.png")).counts) == CLASSES

    model = str(Path(printed["model"]))
    cfg = own_config(model=model, classes=CLASSES)
    assert model == cfg.MODEL.WEIGHTS and cfg.DATASETS.TRAIN == ("train",)

    assert train(data, out, "--iterations", "3") == console.REFUSED
    assert "was started with iterations 2, now 3" in capfd.readouterr().err
    (data / "smear 0.xml").write_text((data / "smear 1.xml").read_text())
    assert train(data, out, "--iterations", "2") == console.REFUSED
    assert "was started with data_sha256" in capfd.readouterr().err


def test_data_with_errors_is_refused_before_anything_is_trained(data, tmp_path, capfd):
    (data / "smear 3.xml").write_text("<annotation>")
    assert train(data, tmp_path / "out") == console.REFUSED
    assert "smear 3.xml" in capfd.readouterr().err
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert not report["usable"] and not (tmp_path / "out/training.yaml").exists()
    for path in data.glob("*.xml"):
        path.write_text("<annotation></annotation>")
    assert train(data, tmp_path / "out") == console.REFUSED
    assert "It has no box to learn from" in capfd.readouterr().err
    archive = shutil.make_archive(str(tmp_path / "data"), "zip", data)
    assert train(archive, tmp_path / "other") == console.REFUSED
    assert "Unpack it" in capfd.readouterr().err
    assert train(data, tmp_path / "other", "--iterations", "0") == console.REFUSED
    assert "--iterations must be at least 1" in capfd.readouterr().err


def own_config(
    count=100, size=(480, 640), cell=100, classes=("A", "B"), model="ssd_lite", **options
):
    """Config for ``count`` images with nine boxes of the first class and one of each other."""
    names = [classes[0]] * 9 + list(classes[1:])
    boxes = tuple(AnnotatedBox(name, (5, 5, 5 + cell, 5 + cell), None, "") for name in names)
    image = AnnotatedImage(Path("a.png"), Path("a.xml"), 0, size[1], size[0], boxes)
    datasets = {part: part for part in ("train", "val", "test")}
    options = {"iterations": None, "seed": 3, **options}
    return fine_tuning_config(model, datasets, classes, [image] * count, "out", **options)


def test_the_schedule_follows_the_number_of_images():
    assert own_config(count=10).SOLVER.MAX_ITER == 300
    assert own_config(count=100).SOLVER.MAX_ITER == 750
    assert own_config(count=10_000).SOLVER.MAX_ITER == 2000
    cfg = own_config(iterations=7, opts=["SOLVER.BASE_LR", "0.25"])
    assert (cfg.SOLVER.MAX_ITER, cfg.SOLVER.BASE_LR, cfg.SEED) == (7, 0.25, 3)
    assert cfg.MODEL.WEIGHTS == "bccd://ssd_lite" and cfg.DATASETS.VAL == ("val",)


def test_the_input_is_enlarged_for_small_cells_and_reduced_for_large_ones():
    assert own_config(cell=100).INPUT.MIN_SIZE_TEST == 320  # as in the training of the model
    small = own_config(size=(1200, 1600), cell=70).INPUT
    assert small.MIN_SIZE_TEST == 1024 and small.FIELD_SIZE == (1200, 1600)
    assert min(small.MIN_SIZE_TRAIN) > 640
    assert own_config(size=(300, 400), cell=250).INPUT.MIN_SIZE_TEST == 96


def test_counting_knows_the_size_of_red_cells_in_the_data():
    cfg = own_config(classes=("Blast", "red blood cell"), size=(1200, 1600), cell=70)
    assert pytest.approx(70) == cfg.COUNTING.RED_CELL_DIAMETER
    assert cfg.COUNTING.THRESHOLDS == ()  # those of the shipped model are for its scores
    assert not any(cfg.COUNTING.INTERVALS.values())
    assert own_config(classes=("Blast",)).COUNTING.RED_CELL_DIAMETER == 0


def test_keys_that_name_classes_of_bccd_follow_the_data():
    cfg = own_config(classes=("Eosinophil", "Blast"))
    assert tuple(cfg.MODEL.CLASS_NAMES) == ("Eosinophil", "Blast")
    assert cfg.INPUT.UNLABELLED_IF_ABSENT == () and cfg.INPUT.COPY_PASTE.CLASSES == ("Blast",)
    assert not own_config(classes=("Blast",)).INPUT.COPY_PASTE.ENABLED
