"""Data sets named by format and path, and modules of the user's that register them."""

import os
import sys

import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from layouts import (
    CLASSES,
    coco_cvat,
    pictures,
    text,
    voc_cvat_subfolder,
    voc_labelimg,
    yolo_roboflow,
)

from bccd.config import get_bccd_cfg
from bccd.data.formats.conversion import convert
from bccd.data.formats.registry import FORMATS
from bccd.data.sources.by_path import ensure_registered, folder_name, parse_name
from bccd.data.sources.catalog import register_datasets
from bccd.data.sources.opening import open_dataset
from bccd.data.sources.user_modules import import_user_modules
from bccd.engine.setup import check_config


def registered(name):
    assert ensure_registered(name) and ensure_registered(name)  # a second time is fine
    return DatasetCatalog.get(name), MetadataCatalog.get(name)


def test_every_format_is_registered_on_first_use(tmp_path):
    coco_cvat(tmp_path / "coco")
    json_file = tmp_path / "coco/annotations/instances_default.json"
    voc_labelimg(tmp_path / "voc")
    yolo_roboflow(tmp_path / "yolo")
    names = {
        f"coco:{json_file}:{tmp_path}/coco/images": CLASSES,
        f"coco:{tmp_path}/coco": CLASSES,
        f"voc:{tmp_path}/voc": sorted(CLASSES),
        f"yolo:{tmp_path}/yolo/data.yaml": CLASSES,
        f"yolo:{tmp_path}/yolo/data.yaml#train": CLASSES,
    }
    for name, classes in names.items():
        records, metadata = registered(name)
        assert metadata.thing_classes == classes and metadata.evaluator_type == "coco"
        assert metadata.thing_dataset_id_to_contiguous_id == {1: 0, 2: 1}
        found = sorted(classes[a["category_id"]] for r in records for a in r["annotations"])
        assert found == ["Blast", "Blast", "Lymphocyte"]


@pytest.mark.parametrize("form", FORMATS)
def test_what_is_converted_trains_as_the_original_does(tmp_path, form):
    coco_cvat(tmp_path / "data")
    with open_dataset(str(tmp_path / "data")) as dataset:
        convert(dataset, form, tmp_path / form)
    wanted, _ = registered(f"coco:{tmp_path}/data")
    found, metadata = registered(f"{form}:{tmp_path / form}")
    classes = metadata.thing_classes
    assert sorted(classes) == sorted(CLASSES)
    for ours, theirs in zip(wanted, found, strict=True):
        assert theirs["file_name"].endswith(os.path.basename(ours["file_name"]))
        for a, b in zip(ours["annotations"], theirs["annotations"], strict=True):
            assert b["bbox"] == pytest.approx(a["bbox"], abs=1e-5)
            assert classes[b["category_id"]] == CLASSES[a["category_id"]]


def test_relative_paths_start_from_the_working_directory(tmp_path, monkeypatch):
    voc_cvat_subfolder(tmp_path / "smears #2")
    monkeypatch.chdir(tmp_path)
    records, _ = registered("voc:smears #2")
    assert len(records) == 3
    assert registered("voc:smears #2#train")[0] == records


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("voc:nowhere", "nowhere: there is no such file or folder"),
        ("coco:data/annotations/instances_default.json:pictures", "there is no folder pictures"),
        ("coco:data#val", "no part 'val'; its parts: default"),
        ("voc:data", "neither an image nor an annotation|have no annotation"),
        ("yolo:data", r"no data\.yaml or classes\.txt"),
        ("cocos:data", r"no dataset cocos:data is registered.*coco:PATH.*DATASETS\.IMPORT"),
    ],
)
def test_what_cannot_be_used_names_the_key_and_the_remedy(tmp_path, monkeypatch, name, message):
    coco_cvat(tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    cfg = get_bccd_cfg()
    register_datasets()
    cfg.DATASETS.TRAIN = (name,)
    with pytest.raises(ValueError, match=rf"^DATASETS\.TRAIN: .*({message})"):
        check_config(cfg)


def test_images_without_annotation_are_not_left_out_without_a_word(tmp_path):
    coco_cvat(tmp_path)
    pictures(tmp_path / "images", "late_{}.jpg")
    with pytest.raises(ValueError, match=r"3 images have no annotation, the first is .*late_"):
        ensure_registered(f"coco:{tmp_path}")
    assert len(registered(f"coco:{tmp_path}#default")[0]) == 3


def test_a_name_is_no_path_in_the_output_folder():
    assert parse_name("bccd_paper_train") is None
    assert folder_name("bccd_paper_val") == "bccd_paper_val"
    assert folder_name("coco:/data/a b.json:/images#val") == "coco_data_a_b.json_images#val"
    long = [folder_name(f"coco:/{'data/' * 100}{i}.json") for i in range(2)]
    assert len(set(long)) == 2 and all(len(name) < 100 for name in long)


MODULE = """
from detectron2.data import DatasetCatalog, MetadataCatalog
DatasetCatalog.register("{name}", lambda: [])
MetadataCatalog.get("{name}").set(thing_classes=["Blast"])
"""


def test_a_module_of_the_user_registers_data_sets(tmp_path, monkeypatch):
    text(tmp_path / "my_data.py", MODULE.format(name="mine_by_key"))
    cfg = get_bccd_cfg()
    cfg.DATASETS.IMPORT = (str(tmp_path / "my_data.py"),)
    cfg.DATASETS.TRAIN, cfg.DATASETS.TEST = ("mine_by_key",), ()
    for _ in range(2):  # once in a process: a second import would register the name again
        check_config(cfg)

    text(tmp_path / "by_variable.py", MODULE.format(name="mine_by_variable"))
    text(tmp_path / "by_name.py", MODULE.format(name="mine_by_name"))
    monkeypatch.setenv("BCCD_IMPORT", f"{tmp_path}/by_variable.py{os.pathsep}by_name")
    monkeypatch.syspath_prepend(tmp_path)
    register_datasets()
    assert {"mine_by_variable", "mine_by_name"} <= set(DatasetCatalog.list())


def test_what_is_wrong_with_a_module_is_one_message(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.py, a module to import, is not there"):
        import_user_modules([str(tmp_path / "none.py")])
    with pytest.raises(ValueError, match=r"no module no_such_module to import.*no_such_module\.py"):
        import_user_modules(["no_such_module"])
    path = tmp_path / "broken_data.py"
    text(path, "import os\n\nos.nothing()\n")
    with pytest.raises(ValueError, match=r"broken_data\.py:3: AttributeError: module 'os' has no"):
        import_user_modules([str(path)])
    assert "broken_data" not in sys.modules
    text(path, "x = (\n")
    with pytest.raises(ValueError, match=r"broken_data\.py.*SyntaxError"):
        import_user_modules([str(path)])
