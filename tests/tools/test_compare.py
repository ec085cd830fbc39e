import json
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
compare = runpy.run_path(str(ROOT / "tools" / "compare.py"))


def evaluation(folder, ap=50.0):
    folder.mkdir(parents=True)
    bbox = {"AP": ap, "AP50": 75.0, "AP75": None}
    count = {"MAE-RBC": 1.5, "MAE-WBC": 0.25, "MAE-Platelets": 0.125}
    (folder / "evaluation.json").write_text(
        json.dumps(
            {
                "images": 3,
                "dataset": "bccd_paper_test",
                "bbox": bbox,
                "count": count,
                "intervals": {"bbox": {"AP": [40.0, 60.0]}},
            }
        )
    )
    (folder / "timing.json").write_text(json.dumps({"model_median": 0.0426}))
    return folder


def test_a_row_has_the_measured_numbers_as_fractions(tmp_path):
    row = compare["measured_row"](evaluation(tmp_path / "ssd_lite"))
    assert row == [
        "ssd lite",
        "3, bccd_paper_test",
        "0.500 [0.400, 0.600]",
        "0.750",
        "n/a",
        "0.043",
        "1.50, 0.25, 0.12",
    ]


def test_the_readme_changes_between_the_markers_only(tmp_path):
    folder, readme = evaluation(tmp_path / "a"), tmp_path / "README.md"
    readme.write_text(f"before\n{compare['BEGIN']}\nold\n{compare['END']}\nafter\n")
    assert compare["main"]([str(folder), "--readme", str(readme)]) == 0
    text = readme.read_text()
    assert text.startswith("before\n") and text.endswith("\nafter\n") and "old" not in text
    assert "0.500 [0.400, 0.600]" in text and "Sparse R-CNN, the paper" in text


def test_a_readme_without_markers_is_an_error(tmp_path, capsys):
    readme = tmp_path / "README.md"
    readme.write_text("no markers")
    assert compare["main"]([str(evaluation(tmp_path / "a")), "--readme", str(readme)]) == 1
    assert "markers" in capsys.readouterr().err and readme.read_text() == "no markers"


@pytest.mark.parametrize(
    ("page", "pattern", "paper"),
    [("README.md", "*", True), ("docs/results.md", "second_annotation/*", False)],
)
def test_the_pages_show_what_the_result_files_say(page, pattern, paper):
    folders = sorted(f.parent for f in ROOT.glob(f"results/{pattern}/evaluation.json"))
    assert len(folders) == 2
    text = (ROOT / page).read_text()
    table = compare["results_table"](folders, paper=paper)
    assert compare["replace_table"](text, table) == text
