import numpy as np
import pytest
import tifffile

from bccd.data.images.pixel_size import read_pixel_size

PIXELS = np.full((20, 30, 3), 200, np.uint8)


def write(folder, name="field.tif", **options):
    tifffile.imwrite(folder / name, PIXELS, photometric="rgb", **options)
    return folder / name


@pytest.mark.parametrize(
    ("size", "unit", "expected"),
    [
        (0.1, "µm", 0.1),
        (100, "nm", 0.1),
        (0.0001, "mm", 0.1),
        (0.1, "inch", None),
        (40, "µm", None),
    ],
)
def test_ome_states_it_in_any_unit(size, unit, expected, tmp_path):
    metadata = {"PhysicalSizeX": size, "PhysicalSizeXUnit": unit}
    metadata |= {"PhysicalSizeY": size, "PhysicalSizeYUnit": unit, "axes": "YXS"}
    path = write(tmp_path, "field.ome.tif", metadata=metadata)
    assert read_pixel_size(path) == (expected and pytest.approx(expected))


def test_ome_without_a_unit_means_micrometres(tmp_path):
    path = write(tmp_path, "field.ome.tif", metadata={"PhysicalSizeX": 0.25, "axes": "YXS"})
    assert read_pixel_size(path) == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("dots", "unit", "expected"),
    [
        (72, "INCH", None),
        (300, "INCH", None),
        (4800, "INCH", None),
        (254000, "INCH", 0.1),
        (100000, "CENTIMETER", 0.1),
        (100000, "NONE", None),
        (0, "INCH", None),
        (10_000_000, "INCH", None),
    ],
)
def test_a_resolution_is_believed_where_a_microscope_can_have_it(dots, unit, expected, tmp_path):
    path = write(tmp_path, resolution=(dots, dots), resolutionunit=unit)
    assert read_pixel_size(path) == (expected and pytest.approx(expected))


def test_pixels_that_are_no_squares_state_nothing(tmp_path):
    path = write(tmp_path, resolution=(100000, 50000), resolutionunit="CENTIMETER")
    assert read_pixel_size(path) is None


def test_imagej_states_its_unit_apart(tmp_path):
    options = {"imagej": True, "resolution": (8, 8)}
    path = tmp_path / "field.tif"
    tifffile.imwrite(path, PIXELS, **options, metadata={"unit": "micron"})
    assert read_pixel_size(path) == pytest.approx(0.125)
    tifffile.imwrite(path, PIXELS, **options, metadata={"unit": "pixel"})
    assert read_pixel_size(path) is None


def test_a_slide_of_aperio_states_it_in_its_description(tmp_path):
    text = (
        "Aperio Image Library v11.2.1 \r\n30x20 [0,0 30x20] (16x16) JPEG|AppMag = 40|MPP = 0.2521"
    )
    path = write(tmp_path, "slide.svs", description=text, metadata=None)
    assert read_pixel_size(path) == pytest.approx(0.2521)


def test_other_files_state_nothing(tmp_path):
    (tmp_path / "notes.tif").write_bytes(b"II*\0damaged")
    assert read_pixel_size(tmp_path / "notes.tif") is None
    assert read_pixel_size(tmp_path / "missing.tif") is None
