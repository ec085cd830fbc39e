"""The page that compares the detectors says what they are."""

import re
from pathlib import Path

import pytest
import torch
from detectron2.modeling import build_model

from bccd.benchmark.operations import count_flops
from bccd.benchmark.workload import read_config, smear_batch
from bccd.projects import import_projects

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs" / "detectors"
TEXT = (PAGES / "README.md").read_text()
ROW = r"\| `(\S+)` \| ([\d,]+) \| ([\d.]+) G \| `(\S+)` \| ([\d,]+) \|"
ROWS = re.findall(ROW, TEXT)


def number(text):
    return int(text.replace(",", ""))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_sizes_are_those_of_the_models(row):
    lite, parameters, operations, published, of_published = row
    cfg = read_config(ROOT / "configs" / lite, ["MODEL.DEVICE", "cpu"])
    model = build_model(cfg).eval()
    assert sum(p.numel() for p in model.parameters()) == number(parameters)
    with torch.no_grad():
        flops = count_flops(model, smear_batch(cfg, (480, 640), 1))["total"]
    assert f"{flops / 2:.2f}" == operations
    cfg = read_config(ROOT / "configs" / published, ["MODEL.DEVICE", "meta"])
    with torch.device("meta"):
        model = build_model(cfg)
    assert sum(p.numel() for p in model.parameters()) == number(of_published)


def test_every_detector_has_a_page_with_its_figure_and_a_row():
    folders = {Path(project.__file__).parent.name for project in import_projects()}
    pages = {page.stem for page in PAGES.glob("*.md")} - {"README"}
    assert pages == folders and len(ROWS) == len(folders)
    for name in folders:
        figure = f"../images/assignment_{name}.png"
        assert f"]({figure})" in (PAGES / f"{name}.md").read_text()
        assert (PAGES / figure).stat().st_size < 150_000
        assert f"]({name}.md)" in TEXT
