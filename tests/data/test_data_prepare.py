"""datasets/prepare_bccd.py: download, import, report, exports."""

import functools
import http.server
import importlib.util
import json
import stat
import tarfile
import threading
import zipfile
from pathlib import Path

import pytest
from voc_trees import write_annotation, write_good_tree, write_picture

from bccd.data.bccd_classes import CLASS_NAMES
from bccd.data.checks.findings import find_problems
from bccd.data.formats.coco import load_coco
from bccd.data.formats.registry import read_dataset
from bccd.data.formats.voc_folder import load_voc
from bccd.data.sources import download
from bccd.data.sources.archive import extract

SCRIPT = Path(__file__).parents[2] / "datasets" / "prepare_bccd.py"


@pytest.fixture(scope="module")
def prepare():
    spec = importlib.util.spec_from_file_location("prepare_bccd", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def datasets(tmp_path, monkeypatch):
    """An empty folder as $DETECTRON2_DATASETS."""
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path / "datasets"))
    return tmp_path / "datasets"


@pytest.fixture
def good(tmp_path):
    return write_good_tree(tmp_path / "good" / "BCCD")


def zipped(root, archive):
    with zipfile.ZipFile(archive, "w") as opened:
        for path in sorted(root.rglob("*")):
            opened.write(path, f"BCCD_Dataset-commit/{root.name}/{path.relative_to(root)}")
    return archive


@pytest.fixture
def serve(tmp_path):
    """Serve a folder over HTTP on this machine; yields (folder, address)."""
    folder = tmp_path / "served"
    folder.mkdir()
    handler = functools.partial(QuietHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_GET(self):
        if self.path == "/cut.zip":  # promises more than it sends
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"PK")
        else:
            super().do_GET()


def test_command_reports_on_screen_and_as_json(prepare, good, tmp_path, capsys):
    write_annotation(good, "b_0", [("RBC", (7, 8, 7, 8)), ("Blast", (1, 1, 9, 9))])
    assert prepare.main(["--check", str(good), "--report", str(tmp_path / "report.json")]) == 1
    printed = capsys.readouterr().out
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["labels"] == {"RBC": 3, "WBC": 2, "Blast": 1}
    assert report["splits"]["val"] == {"images": 1, "labels": {"RBC": 1, "WBC": 1}}
    assert not report["usable"]
    kinds = [problem["kind"] for problem in report["problems"]]
    assert kinds == ["box without area", "unknown class"]
    for problem in report["problems"]:
        assert f"{problem['file']}:{problem['line']}: " in printed


def test_download_is_checked_placed_and_repeatable(
    prepare, good, serve, datasets, monkeypatch, capsys
):
    folder, address = serve
    zipped(good, folder / "bccd.zip")
    url = ["--url", f"{address}/bccd.zip"]

    assert prepare.main(url) == 3  # not the published content
    assert "does not hold the published BCCD" in capsys.readouterr().err
    assert list(datasets.iterdir()) == []

    digest = download.content_digest(good)
    monkeypatch.setattr(download, "CONTENT_SHA256", digest)
    assert prepare.main(url) == 0
    assert [path.name for path in datasets.iterdir()] == ["BCCD"]
    assert download.content_digest(datasets / "BCCD") == digest
    (folder / "bccd.zip").unlink()
    assert prepare.main(url) == 0  # there already: nothing is fetched


@pytest.mark.parametrize(
    ("path", "message"),
    [("/none.zip", "404"), ("/cut.zip", "2 of 1000 bytes"), ("/page.zip", "neither a zip nor")],
)
def test_a_failed_download_leaves_nothing(prepare, serve, datasets, capsys, path, message):
    folder, address = serve
    (folder / "page.zip").write_text("<html>please log in</html>")
    assert prepare.main(["--url", address + path]) == 3
    assert message in capsys.readouterr().err
    assert list(datasets.iterdir()) == []


def test_a_download_that_never_ends_is_cut(prepare, serve, datasets, monkeypatch, capsys):
    folder, address = serve
    (folder / "big.zip").write_bytes(bytes(300_000))
    monkeypatch.setattr(download, "MAX_DOWNLOAD_BYTES", 100_000)
    assert prepare.main(["--url", f"{address}/big.zip"]) == 3
    assert "more than 100000 bytes" in capsys.readouterr().err


def make_source(kind, good, tmp_path):
    if kind == "folder":
        return good
    if kind == "folder around":
        return good.parent
    if kind == "zip":
        return zipped(good, tmp_path / "bccd.zip")
    with tarfile.open(tmp_path / "bccd.tar.gz", "w:gz") as opened:
        opened.add(good, "BCCD_Dataset-commit/BCCD")
    return tmp_path / "bccd.tar.gz"


@pytest.mark.parametrize("kind", ["folder", "folder around", "zip", "tar"])
def test_import(prepare, good, datasets, tmp_path, kind, capsys):
    source = make_source(kind, good, tmp_path)
    for folder in (good, good / "JPEGImages"):
        folder.chmod(stat.S_IREAD | stat.S_IEXEC)
    arguments = ["--source", str(source)]
    try:
        assert prepare.main(arguments) == 0
        assert download.content_digest(datasets / "BCCD") == download.content_digest(good)
        assert prepare.main(arguments) == 0  # the same again is fine
    finally:
        for folder in (good, good / "JPEGImages"):
            folder.chmod(0o755)
    (datasets / "BCCD" / "Annotations" / "b_0.xml").write_text("my own work")
    assert prepare.main(arguments) == 2  # something else is never overwritten
    assert "Move it away" in capsys.readouterr().err
    assert (datasets / "BCCD" / "Annotations" / "b_0.xml").read_text() == "my own work"
    assert [path.name for path in datasets.iterdir()] == ["BCCD"]


def test_import_of_a_roboflow_export(prepare, datasets, tmp_path):
    from detectron2.data import DatasetCatalog

    for seed, part in enumerate(("train", "valid", "test")):
        write_picture(tmp_path / "export" / part / f"{part}_jpg.rf.jpg", seed)
        content = {
            "images": [{"id": 0, "file_name": f"{part}_jpg.rf.jpg", "width": 64, "height": 48}],
            "categories": [
                {"id": 0, "name": "cells", "supercategory": "none"},
                {"id": 1, "name": "Platelets", "supercategory": "cells"},
                {"id": 2, "name": "RBC", "supercategory": "cells"},
            ],
            "annotations": [{"id": 0, "image_id": 0, "category_id": 1, "bbox": [4, 5, 6, 7]}],
        }
        (tmp_path / "export" / part / "_annotations.coco.json").write_text(json.dumps(content))
    assert prepare.main(["--source", str(tmp_path / "export")]) == 0
    (record,) = DatasetCatalog.get("bccd_roboflow_valid")
    assert record["annotations"][0]["category_id"] == 2
    assert record["annotations"][0]["bbox"] == [4, 5, 10, 12]
    write_picture(datasets / "BCCD-Roboflow" / "valid" / "stray.jpg", 7)
    (problem,) = find_problems(read_dataset(datasets / "BCCD-Roboflow"))
    assert problem.kind == "image without an annotation"


def test_a_source_without_data_is_refused(prepare, datasets, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert prepare.main(["--source", str(tmp_path / "empty")]) == 2
    assert "holds no copy of BCCD" in capsys.readouterr().err
    assert prepare.main(["--source", str(tmp_path / "nothing.zip")]) == 2


def test_archives_cannot_write_outside_their_folder(tmp_path):
    for name in ("../evil", "/evil", "a/../../evil", "C:evil", "a\\..\\evil"):
        with zipfile.ZipFile(tmp_path / "evil.zip", "w") as opened:
            opened.writestr(name, "x")
        with pytest.raises(ValueError, match="leads out"):
            extract(tmp_path / "evil.zip", tmp_path / "inside")
        with tarfile.open(tmp_path / "evil.tar", "w") as opened:
            opened.addfile(tarfile.TarInfo(name))
        with pytest.raises(ValueError, match="leads out"):
            extract(tmp_path / "evil.tar", tmp_path / "inside")
    link = tarfile.TarInfo("link")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    with tarfile.open(tmp_path / "link.tar", "w") as opened:
        opened.addfile(link)
    with pytest.raises(ValueError, match="is no file"):
        extract(tmp_path / "link.tar", tmp_path / "inside")
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "link.zip", "w") as opened:
        opened.writestr(link, "/etc/passwd")
    with pytest.raises(ValueError, match="is a link"):
        extract(tmp_path / "link.zip", tmp_path / "inside")
    assert not (tmp_path / "evil").exists()


def test_broken_archives_are_named(tmp_path, good):
    whole = zipped(good, tmp_path / "bccd.zip").read_bytes()
    middle = whole.index(b"\xff\xd8")  # inside the first image
    (tmp_path / "broken.zip").write_bytes(whole[:middle] + b"????" + whole[middle + 4 :])
    with pytest.raises(ValueError, match=r"broken\.zip: cannot be unpacked"):
        extract(tmp_path / "broken.zip", tmp_path / "inside")
    (tmp_path / "half.zip").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"half\.zip: neither"):
        extract(tmp_path / "half.zip", tmp_path / "inside")


def test_exports_read_back_the_same(prepare, good, tmp_path):
    write_annotation(good, "b_0", [("RBC", (3, 3, 3, 9)), ("platelet", (50, 40, 70.5, 44))])
    out = tmp_path / "out"
    arguments = []
    for form in prepare.FORMATS:
        arguments += ["--export", form, f"{out}/{form}"]
    assert prepare.main(["--check", str(good), *arguments]) == 0
    wanted = [without_path(record) for record in load_voc(good, CLASS_NAMES)]

    assert [without_path(record) for record in load_voc(out / "voc", CLASS_NAMES)] == wanted
    found = []
    for split in ("train", "val", "test"):
        found += load_coco(
            out / "coco" / "annotations" / f"{split}.json", out / "coco" / "images", CLASS_NAMES
        )
    assert [without_path(record) for record in found] == wanted
    assert [read_yolo(out / "yolo", record) for record in wanted] == [
        [(a["category_id"], pytest.approx(a["bbox"], abs=1e-5)) for a in record["annotations"]]
        for record in wanted
    ]
    assert (out / "yolo" / "data.yaml").read_text().startswith("test: test.txt\ntrain: train.txt")
    assert (out / "yolo" / "val.txt").read_text() == "./images/b_1.jpg\n"
    assert prepare.main(["--check", str(good), *arguments[:3]]) == 2  # the folder is there


def without_path(record):
    return {**record, "file_name": Path(record["file_name"]).name}


def read_yolo(folder, record):
    boxes = []
    text = (folder / "labels" / record["file_name"]).with_suffix(".txt").read_text()
    for line in text.splitlines():
        category, cx, cy, w, h = map(float, line.split())
        x0, y0 = (cx - w / 2) * record["width"], (cy - h / 2) * record["height"]
        boxes.append((category, [x0, y0, x0 + w * record["width"], y0 + h * record["height"]]))
    return boxes


def test_wrong_arguments(prepare, capsys):
    for arguments in (["--export", "tfrecord", "x"], ["--source", "a", "--check", "b"]):
        with pytest.raises(SystemExit) as stop:
            prepare.main(arguments)
        assert stop.value.code == 2
