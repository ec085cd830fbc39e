import cv2
import numpy as np
import pytest

from bccd.visualization.png import write_png


def test_a_png_holds_the_picture_and_its_folder_is_made(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    path = tmp_path / "new" / "tiêu bản.png"
    write_png(path, picture)
    data = np.frombuffer(path.read_bytes(), np.uint8)
    assert (cv2.imdecode(data, cv2.IMREAD_UNCHANGED)[:, :, ::-1] == picture).all()


def test_a_file_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "x.png").mkdir()
    with pytest.raises(OSError, match=r"x\.png"):
        write_png(tmp_path / "x.png", np.zeros((2, 2, 3), np.uint8))
