import cv2
import pytest

from bccd.data.synthetic import draw_smear
from bccd.server.start import open_study
from bccd.study import StudyError


@pytest.fixture
def images(tmp_path, monkeypatch):
    """A folder with two images; the current directory is beside it."""
    folder = tmp_path / "my images"
    folder.mkdir()
    for k in range(2):
        cv2.imwrite(str(folder / f"{k}.png"), cv2.resize(draw_smear(k)[0], (160, 120)))
    monkeypatch.chdir(tmp_path)
    return folder


def test_a_folder_of_images_gets_a_study_beside_and_is_counted(images, tmp_path):
    with open_study(str(images), None, None, None) as study:
        assert study.folder == tmp_path / "my images_study"
        assert [row.status for row in study.fields().rows] == ["pending", "pending"]
        assert [job.kind for job in study.jobs()] == ["count"]
    assert sorted(path.name for path in images.iterdir()) == ["0.png", "1.png"]


def test_files_that_are_left_out_are_named(images, caplog):
    for k in range(12):
        (images / f"cut_{k:02}.png").write_bytes(b"")
    with open_study(str(images), None, None, None) as study:
        assert study.totals().fields == 2
    assert "cut_00.png is left out: " in caplog.text
    assert "cut_10.png" not in caplog.text
    assert "2 other files are left out, too" in caplog.text


def test_the_same_folder_again_goes_on_with_its_study(images):
    open_study(str(images), None, None, None).close()
    with open_study(str(images), None, None, None) as study:
        assert study.totals().fields == 2
        assert len(study.jobs()) == 1


def test_a_study_is_opened_by_its_folder(images, tmp_path):
    open_study(str(images), tmp_path / "kept", None, None).close()
    with open_study(str(tmp_path / "kept"), None, "sparse_rcnn_lite", None) as study:
        assert study.totals().fields == 2
        assert study.settings().model == "sparse_rcnn_lite"
    with pytest.raises(StudyError, match="is a study already: leave out --study"):
        open_study(str(tmp_path / "kept"), tmp_path / "other", None, None)


def test_nothing_named_is_an_empty_study(images, tmp_path):
    with open_study(None, None, None, None) as study:
        assert study.folder == tmp_path / "bccd_study"
        assert study.totals().fields == 0


def test_what_cannot_be_used_is_named(images, tmp_path):
    with pytest.raises(StudyError, match="missing is not there"):
        open_study("missing", None, None, None)
    (tmp_path / "text.txt").write_text("no image")
    with pytest.raises(StudyError, match=r"text\.txt"):
        open_study("text.txt", None, None, None)
    with pytest.raises(StudyError, match="the model unknown does not exist"):
        open_study(str(images), None, "unknown", None)
