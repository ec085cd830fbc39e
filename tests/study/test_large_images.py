import cv2
import numpy as np
import pytest
import tifffile
from disc_detector import draw_field
from studies import count

from bccd.study import Study, adding
from bccd.study.decoder import Decoder, Source


@pytest.fixture(scope="module")
def slide(tmp_path_factory):
    """A pyramid of 4,224 x 4,224 pixels, with discs, and its pixels (BGR)."""
    pytest.importorskip("tiffslide", reason="slides need the package tiffslide")
    path = tmp_path_factory.mktemp("slides") / "slide.tif"
    pixels = np.tile(draw_field(6, 6, 126), (5, 5, 1))[:4224, :4224]
    rgb = np.ascontiguousarray(pixels[..., ::-1])
    options = {"tile": (256, 256), "photometric": "rgb", "compression": "zlib"}
    with tifffile.TiffWriter(path) as file:
        file.write(rgb, subifds=1, **options)
        file.write(np.ascontiguousarray(rgb[::4, ::4]), subfiletype=1, **options)
    return path, pixels


def test_a_slide_is_cut_into_fields(tmp_path, slide, detector, monkeypatch):
    path, pixels = slide
    monkeypatch.setattr(adding, "WHOLE", 10**6)
    with Study.open(tmp_path / "study", create=True) as study:
        study.allow_folder(path.parent)
        ids = study.add([path], "Lan").ids
        rows = study.fields().rows
        assert len(ids) == 4 and rows[0].name == "slide.tif"
        assert rows[3].name == "slide.tif at 2048, 2048"
        assert sum(row.width * row.height for row in rows) == 4224**2
        count(study, ids[3:])
        assert study.field(ids[3]).row.counts["RBC"] > 100
        image, _ = Decoder().pixels(study.source(ids[3]))
        assert (image == pixels[2048:, 2048:]).all()
        assert study.add([path], "Lan").ids == []


def test_a_small_slide_is_one_field(tmp_path, slide):
    with Study.open(tmp_path / "study", create=True) as study:
        study.allow_folder(slide[0].parent)
        (field,) = study.add([slide[0]], "Lan").ids
        levels = study.levels(field)
        assert [(each.width, each.columns) for each in levels] == [
            (4224, 9),
            (2112, 5),
            (1056, 3),
            (528, 2),
            (264, 1),
        ]


@pytest.mark.slow
def test_100_megapixels_are_cut_into_tiles(tmp_path):
    pytest.importorskip("tiffslide", reason="slides need the package tiffslide")
    path = tmp_path / "large.tif"
    pixels = np.random.default_rng(0).integers(0, 255, (2500, 2500, 3), np.uint8)
    tiled = np.tile(pixels, (4, 4, 1))
    tifffile.imwrite(path, tiled, tile=(512, 512), photometric="rgb", compression="jpeg")
    with Study.open(tmp_path / "study", create=True) as study:
        study.allow_folder(tmp_path)
        (field,) = study.add([path], "Lan").ids
        levels = study.levels(field)
        assert levels[0][1:] == (10_000, 10_000, 20, 20) and levels[-1].columns == 1
        tile = cv2.imdecode(np.frombuffer(study.tile(field, 0, 19, 19), np.uint8), 1)
        assert tile.shape == (272, 272, 3)


def test_memory_of_a_decoder_is_bounded(tmp_path):
    """The process refuses what would take more, and is there for the next image."""
    from bccd.study import StudyError

    path = tmp_path / "field.png"
    cv2.imwrite(str(path), draw_field(3, 4, 30))
    wide = tmp_path / "wide.ppm"
    wide.write_bytes(b"P6 400000 400000 255\n" + bytes(1000))
    decoder = Decoder()
    try:
        with pytest.raises(StudyError, match="megapixels"):
            decoder.pixels(Source(1, wide))
        assert decoder.pixels(Source(2, path))[0].shape[2] == 3
    finally:
        decoder.close()
