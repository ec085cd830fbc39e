import numpy as np
import pytest

from bccd.data.images import reading
from bccd.data.images.reading import ImageReader
from bccd.data.synthetic import load_smears

IMAGE_BYTES = 20 * 30 * 3


@pytest.fixture
def names(tmp_path, monkeypatch):
    monkeypatch.setenv("FVCORE_CACHE", str(tmp_path))
    return [record["file_name"] for record in load_smears(3, seed=1, height=20, width=30)]


@pytest.fixture
def files_read(monkeypatch):
    read, names = reading.read_bgr, []

    def recorded(name):
        names.append(name)
        return read(name)

    monkeypatch.setattr(reading, "read_bgr", recorded)
    return names


def test_the_images_last_used_are_kept_within_the_bound(names, files_read):
    a, b, c = names
    read = ImageReader("BGR", cache_bytes=2 * IMAGE_BYTES)
    for name in (a, b, a, c, a, b):  # c displaces b, which was not used for longest
        read(name)
    assert files_read == [a, b, c, b]


def test_an_image_comes_the_same_from_the_memory(names, files_read):
    kept, plain = ImageReader("BGR", cache_bytes=2**20), ImageReader("BGR")
    for _ in range(2):
        assert np.array_equal(kept(names[0]), plain(names[0]))
    assert files_read == [names[0]] * 3


def test_a_kept_image_cannot_be_changed(names):
    with pytest.raises(ValueError, match="read-only"):
        ImageReader("BGR", cache_bytes=2**20)(names[0])[:] = 0
