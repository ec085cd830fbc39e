import json
import runpy
from pathlib import Path

import numpy as np
import pytest

from bccd.counting.slides.slide import Slide

ROOT = Path(__file__).parents[2]
write_slide = runpy.run_path(str(ROOT / "tools/write_slide.py"))["main"]


@pytest.mark.parametrize("name", ["slide.tif", "slide.ome.tif"])
def test_a_slide_of_smears_and_its_marks(name, tmp_path, capsys):
    flags = ["--rows", "3", "--columns", "10", "--field", "128", "--distinct", "2"]
    assert write_slide([str(tmp_path / name), *flags]) == 0
    printed = capsys.readouterr().out
    with Slide(tmp_path / name) as slide:
        assert slide.size == (3 * 128, 10 * 128)
        assert slide.micrometres_per_pixel == pytest.approx(7.5 / (0.184 * 128))
        thick, cells, glass = (slide[:, x : x + 256].mean() for x in (0, 512, 1024))
    assert thick < cells - 20 and cells < glass - 2
    marks = json.loads((tmp_path / "slide.marks.geojson").read_text())["features"]
    names = [mark["properties"]["classification"]["name"] for mark in marks]
    assert f"RBC {names.count('RBC')}, WBC {names.count('WBC')}" in printed and len(names) > 50
    x = np.array([mark["geometry"]["coordinates"][0] for mark in marks])[..., 0]
    assert x.min() >= 2 * 128 and x.max() <= 8 * 128  # neither in the thick part nor on glass


def test_slides_that_cannot_be_written_are_refused(tmp_path, capsys):
    for flags, message in (
        ([str(tmp_path / "a.tif"), "--rows", "0"], "are 1 or more"),
        ([str(tmp_path / "missing" / "a.tif")], "missing does not exist"),
    ):
        with pytest.raises(SystemExit) as refused:
            write_slide(flags)
        assert refused.value.code == 2 and message in capsys.readouterr().err
