import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import BoxMode

from bccd.data.bccd_classes import CLASS_NAMES
from bccd.data.sources.second_annotation import load_second_annotation


def record(image_id, name, *boxes):
    box = {"bbox_mode": BoxMode.XYXY_ABS, "category_id": 0, "iscrowd": 0}
    annotations = [{**box, "bbox": list(b)} for b in boxes]
    size = {"height": 480, "width": 640}
    return {"file_name": name, "image_id": image_id, **size, "annotations": annotations}


RECORDS = [record(7, "a/one.jpg"), record(8, "a/two.jpg")]


@pytest.fixture
def register():
    names = []

    def register(name, load):
        names.append(name)
        DatasetCatalog.register(name, load)
        MetadataCatalog.get(name).thing_classes = ["RBC", "WBC", "Platelets"]

    yield register
    for name in names:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


def test_the_shared_images_get_the_ids_of_the_first_annotation(register):
    second = [record(1, "b/two.png", (0, 0, 10, 20)), record(2, "b/three.png", (0, 0, 5, 5))]
    register("bccd_relabelled_here", lambda: second)
    assert load_second_annotation("bccd_here", RECORDS, CLASS_NAMES) == [
        {**second[0], "image_id": 8}
    ]


def test_none_where_there_is_none(register):
    def missing():
        raise FileNotFoundError("TXL-PBC")

    register("bccd_relabelled_gone", missing)
    for dataset in ("bccd_gone", "bccd_never_registered", "smears_test"):
        assert load_second_annotation(dataset, RECORDS, CLASS_NAMES) is None


def test_the_real_one(bccd_root):
    records = DatasetCatalog.get("bccd_paper_test")
    second = load_second_annotation("bccd_paper_test", records, CLASS_NAMES)
    if second is None:
        pytest.skip("the second annotation is not here")
    files = {record["image_id"]: record["file_name"] for record in records}
    assert len(second) == 17
    assert all(files[record["image_id"]] == record["file_name"] for record in second)
