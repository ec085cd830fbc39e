"""Counting in an archive without its cluster: what is listed, counted, kept and counted again."""

import errno
import shutil
import sys
import zipfile

import cv2
import needs_ray  # noqa: F401
import numpy as np
import pyarrow.parquet as pq
import pytest
import tifffile
from fake_predictor import FakePredictor
from fsspec.implementations.zip import ZipFileSystem

from bccd import cli
from bccd.console import REFUSED
from bccd.counting.archive import fetch
from bccd.counting.archive.listing import ListedFile, Listing
from bccd.counting.archive.part import count_part, fail_part
from bccd.counting.archive.results import ArchiveResults
from bccd.counting.archive.run import name_parts, unfinished
from bccd.counting.count_table import read_table
from bccd.counting.counter import CellCounter
from bccd.counting.folder import count_into_folder
from bccd.counting.inputs import find_images, plan_pictures
from bccd.counting.progress import Progress
from bccd.counting.regions.per_image import Regions


@pytest.fixture
def archive(tmp_path):
    """Images of two folders, one of them broken, one of two pages, and other files."""
    rng = np.random.default_rng(0)
    for name in ("in/a/1.png", "in/a/2.png", "in/b/=3.png", "in/b/._4.png", "in/b/.5/6.png"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), rng.integers(0, 255, (40, 50 + len(name), 3), np.uint8))
    (tmp_path / "in/a/broken.png").write_text("nothing")
    pages = [rng.integers(0, 255, (40, 60, 3), np.uint8) for _ in range(2)]
    assert cv2.imwritemulti(str(tmp_path / "in/b/two.tif"), pages)
    (tmp_path / "in/a/slide.czi").touch()
    return tmp_path / "in"


@pytest.fixture
def counter():
    return CellCounter.of(FakePredictor(), 0.25)


def count(inputs, output, counter):
    """As the machines of a cluster would; returns the names of the files that were counted."""
    listing, results = Listing(list(map(str, inputs))), ArchiveResults(str(output))
    results.start(counter.settings)
    names = []
    for name, files in name_parts(unfinished(listing, results.finished(), results)):
        names += [file.name for file in files]
        results.write(name, *count_part(files, listing.stores, counter, Regions()))
    return names


def assert_same(row, expected):
    """A row of Parquet has what the row of counts.csv, which is text, says."""
    assert list(row) == [*expected, "source", "version"]
    for key, text in expected.items():
        assert row[key] == (type(row[key])(text) if text else None), key


def test_the_rows_are_those_of_the_plain_command(archive, tmp_path, counter):
    (tmp_path / "plain").mkdir()
    tasks = plan_pictures(find_images([f"{archive}/a", f"{archive}/b"]).images, None)
    progress = Progress(tmp_path / "plain", tasks)
    progress.start(counter.settings)
    with progress.part(0) as part:
        count_into_folder(tasks, counter, tmp_path / "plain", part, Regions())
    progress.merge()
    count([archive / "a", archive / "b"], tmp_path / "out", counter)
    results = ArchiveResults(str(tmp_path / "out"))
    rows = list(results.rows())
    *expected, totals = read_table(tmp_path / "plain/counts.csv")
    for row, one in zip(rows, expected, strict=True):
        assert_same(row, one)
    assert [row["file"] for row in rows] == [
        *("a/1.png", "a/2.png", "a/broken.png", "b/=3.png", "b/two.tif#1", "b/two.tif#2"),
    ]
    assert rows[0]["source"] == f"file://{archive}/a/1.png"
    done = results.total(counter.class_names)
    assert {k: str(v) for k, v in done.counts.items()} == {k: totals[k] for k in done.counts}
    assert (done.tally.fields, done.failed) == (5, 1)
    assert done.examples == {"a/broken.png": expected[2]["status"]}


def test_the_detections_are_beside_them(archive, tmp_path, counter):
    count([archive / "b"], tmp_path, counter)
    (path,) = tmp_path.glob("detections/*.parquet")
    cells = pq.read_table(path).to_pylist()
    result = counter(archive / "b/=3.png")
    ours = [cell for cell in cells if cell["file"] == "=3.png"]
    assert [cell["class"] for cell in ours] == ["RBC", "WBC", "RBC"]
    assert ours[1]["score"] == pytest.approx(0.6)
    (box,) = result.boxes[result.classes == 1]
    x, y, width, height = (ours[1][key] for key in ("x", "y", "width", "height"))
    assert [x, y, x + width, y + height] == pytest.approx(box, abs=1e-3)
    assert {cell["source"] for cell in cells} == {
        *(f"file://{archive}/b/{name}" for name in ("=3.png", "two.tif"))
    }


def test_a_second_start_counts_what_is_new_changed_or_failed(archive, tmp_path, counter):
    out = tmp_path / "out"
    assert len(count([archive / "a"], out, counter)) == 3
    (first,) = (out / "counts").iterdir()
    before = first.stat().st_mtime_ns
    (out / "detections/part-torn.parquet").touch()  # a kill came before its counts
    (archive / "a/broken.png").unlink()
    assert count([archive / "a"], out, counter) == []
    assert first.stat().st_mtime_ns == before
    assert not (out / "detections/part-torn.parquet").exists()
    assert ArchiveResults(str(out)).total(counter.class_names).failed == 1  # as it was seen

    cv2.imwrite(str(archive / "a/2.png"), np.zeros((80, 90, 3), np.uint8))
    cv2.imwrite(str(archive / "a/broken.png"), np.zeros((40, 50, 3), np.uint8))
    cv2.imwrite(str(archive / "a/new.png"), np.zeros((40, 50, 3), np.uint8))
    assert count([archive / "a"], out, counter) == ["2.png", "broken.png", "new.png"]
    results = ArchiveResults(str(out))
    assert sorted(row["file"] for row in results.rows()) == [
        "1.png",
        "2.png",
        "broken.png",
        "new.png",
    ]
    assert results.total(counter.class_names).tally.fields == 4
    cells = [row for path in out.glob("detections/*") for row in pq.read_table(path).to_pylist()]
    assert len(cells) == 3 * 4
    assert max(cell["y"] for cell in cells if cell["file"] == "2.png") == 40  # of the new height
    assert count([archive / "a"], out, counter) == []


def test_a_file_in_two_parts_is_counted_once_more(archive, tmp_path, counter):
    out = tmp_path / "out"
    count([archive / "a/1.png", archive / "a/2.png"], out, counter)
    for folder in ("counts", "detections"):
        (path,) = (out / folder).iterdir()
        shutil.copy(path, path.with_name("part-0-late.parquet"))
    results = ArchiveResults(str(out))
    assert results.finished().doubled == 2
    assert count([archive / "a/1.png"], out, counter) == ["1.png"]
    assert sorted(row["file"] for row in results.rows()) == ["1.png", "2.png", "2.png"]
    assert results.finished().doubled == 1


def test_results_of_other_settings_are_refused(archive, tmp_path, counter):
    count([archive / "a"], tmp_path / "out", counter)
    other = CellCounter.of(FakePredictor(), 0.5)
    with pytest.raises(ValueError, match="results of another threshold; name another folder"):
        count([archive / "a"], tmp_path / "out", other)


def test_files_of_another_store_are_fetched(archive, tmp_path, counter):
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as packed:
        for path in sorted(archive.rglob("*.*")):
            packed.write(path, path.relative_to(archive))
    count([archive / "a", archive / "b"], tmp_path / "plain", counter)
    count([f"zip://**/*.*::{tmp_path}/in.zip"], tmp_path / "out", counter)
    of_files, of_zip = (
        {row.pop("file"): (row.pop("source"), row.pop("version"), row) for row in results.rows()}
        for results in map(ArchiveResults, (str(tmp_path / "plain"), str(tmp_path / "out")))
    )
    unreadable = of_zip.pop("a/slide.czi")[2]
    assert unreadable["status"].startswith("unreadable")
    assert {k: v[2] for k, v in of_zip.items()} == {k: v[2] for k, v in of_files.items()}
    assert of_zip["a/1.png"][0] == f"zip://a/1.png::{tmp_path}/in.zip"


def test_a_file_that_a_store_does_not_give_is_a_row(archive, tmp_path, counter, monkeypatch):
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as packed:
        packed.write(archive / "a/1.png", "1.png")
        packed.write(archive / "a/2.png", "2.png")
    url = f"zip://*.png::{tmp_path}/in.zip"
    whole = ZipFileSystem.cat_file

    def cat_file(self, path, *span, **options):
        if path == "1.png":
            raise PermissionError(errno.EACCES, "Permission denied")
        return whole(self, path, *span, **options)

    monkeypatch.setattr(ZipFileSystem, "cat_file", cat_file)
    count([url], tmp_path / "out", counter)
    rows = {row["file"]: row["status"] for row in ArchiveResults(str(tmp_path / "out")).rows()}
    assert rows == {"1.png": "unreadable: Permission denied", "2.png": "ok"}

    def gone(self, path, **options):
        raise ConnectionError("the store is gone")

    monkeypatch.setattr(ZipFileSystem, "info", gone)
    listing = Listing([url])
    files = [ListedFile(0, "1.png", "zip://1.png", "1.png", 9, "")]
    with pytest.raises(PermissionError):
        count_part(files, listing.stores, counter, Regions())


def test_what_is_fetched_at_once_is_bounded():
    def sizes(files):
        return [[file.size for _, file in group] for group in fetch._groups(files)]

    small = [ListedFile(0, str(i), "", "", 1, "") for i in range(20)]
    large = [ListedFile(0, str(i), "", "", fetch.BYTES_AT_ONCE - 1, "") for i in range(3)]
    assert list(map(len, sizes(small))) == [16, 4]
    assert list(map(len, sizes(large + small[:2]))) == [1, 1, 2, 1]
    assert list(map(len, sizes([small[0], small[1]._replace(store=1)]))) == [1, 1]


def test_a_machine_that_does_not_see_the_folder_says_so(archive, tmp_path, counter):
    listing = Listing([str(archive / "a")])
    files = list(listing)
    archive.rename(tmp_path / "elsewhere")
    with pytest.raises(FileNotFoundError, match=r"does not see the folder .*/a; every machine"):
        count_part(files, listing.stores, counter, Regions())


@pytest.mark.parametrize(
    ("inputs", "names"),
    [
        (["{}/a"], ["1.png", "2.png", "broken.png"]),
        (["{}/b"], ["=3.png", "two.tif"]),
        (["{}/*/?.png"], ["a/1.png", "a/2.png"]),
        (["{}/**/*.png", "{}/a"], ["a/1.png", "a/2.png", "a/broken.png", "b/=3.png"]),
        (["{}/a/2.png", "{}/a/[1b]*.png"], ["2.png", "1.png", "broken.png"]),
        (["file://{}/a/1.png", "{}/b"], ["a/1.png", "b/=3.png", "b/two.tif"]),
        (["{}/b/.5"], ["6.png"]),
    ],
)
def test_inputs_are_those_of_the_plain_command(archive, inputs, names):
    inputs = [text.format(archive) for text in inputs]
    listed = [file.name for file in Listing(inputs)]
    assert listed == names
    plain = find_images([text.removeprefix("file://") for text in inputs]).images
    paths = [str(image.path) for image in plain if image.page in (None, 1)]
    assert [file.path for file in Listing(inputs)] == paths


def test_what_a_folder_holds_beside_is_counted(archive):
    for name in ("one.svs.mp4", "two.mp4", "three.svs"):
        (archive / name).touch()
    listing = Listing([str(archive)])
    assert list(listing) == list(listing) == []
    (subfolders, films, slides) = listing.left_out.found.items()
    assert subfolders[1] == (2, f"file://{archive}/a") and films[1][0] == 2
    assert slides == ("slides; count them without --ray", (1, f"file://{archive}/three.svs"))


def test_slides_are_rows_that_say_how_to_count_them(archive, tmp_path, counter):
    (archive / "b/named.svs").touch()
    levels = np.zeros((4096, 4096), np.uint8), np.zeros((2048, 2048), np.uint8)
    with tifffile.TiffWriter(archive / "b/pyramid.tif") as file:
        file.write(levels[0], tile=(256, 256), subifds=1, compression="zlib")
        file.write(levels[1], tile=(256, 256), subfiletype=1, compression="zlib")
    count([f"{archive}/b/*.*"], tmp_path / "out", counter)
    rows = {row["file"]: row["status"] for row in ArchiveResults(str(tmp_path / "out")).rows()}
    assert rows["named.svs"] == rows["pyramid.tif"] == fetch.SLIDE
    assert rows["=3.png"] == rows["two.tif#2"] == "ok"


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("{}/none", FileNotFoundError, "No file, folder or glob match: .*/none"),
        ("memory://x", ValueError, "lies in the memory of this process"),
        ("nostore://x", ValueError, "nostore"),
    ],
)
def test_a_wrong_input_is_named(tmp_path, text, error, message):
    with pytest.raises(error, match=message):
        Listing([text.format(tmp_path)])


def test_files_that_kill_their_process_are_rows(archive, counter):
    files = list(Listing([str(archive / "a")]))[:1]
    part = fail_part(files, counter.settings, "it died")
    (row,) = part.counts.to_pylist()
    assert (row["file"], row["status"], row["RBC"]) == ("1.png", "it died", None)
    assert row["version"] == files[0].version and not len(part.detections)


def test_without_the_extra_the_command_says_what_to_install(archive, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)
    status = cli.main(["count", str(archive), "-o", str(tmp_path / "o"), "--ray", "local"])
    assert status == REFUSED
    assert "--ray needs ray, not installed here: pip install '.[ray]'" in capsys.readouterr().err
