import json
import runpy
from pathlib import Path

import pytest

from bccd.experiments.comparison import (
    classes_of_rows,
    per_class_table,
    read_row,
    results_table,
    summary_cells,
)
from bccd.markdown import replace_table

ROOT = Path(__file__).parents[2]
compare = runpy.run_path(str(ROOT / "tools" / "compare.py"))


def evaluation(folder, *, dataset="bccd_paper_test", row=None, device="abacus"):
    folder.mkdir(parents=True)
    aps = {"AP": 50.0, "AP50": 75.0, "AP75": None, "AP-RBC": 40.0, "AP75-RBC": 30.0}
    aps |= {f"{metric}-{name}": 1.0 for metric in ("AP", "AP75") for name in ("WBC", "Platelets")}
    content = {
        "images": 3,
        "dataset": dataset,
        "bbox": aps,
        "count": {"MAE-RBC": 1.5, "MAE-WBC": 0.25, "MAE-Platelets": 0.125},
        "intervals": {"bbox": {"AP": [40.0, 60.0], "AP-RBC": [35.0, 45.0]}},
    }
    machine = {"device": device, "threads": 2, "torch": "2.4"}
    timing = {"model_median": 0.0426, "machine": machine}
    for name, data in (("evaluation", content), ("timing", timing), ("row", row)):
        if data is not None:
            (folder / f"{name}.json").write_text(json.dumps(data))
    return folder


def cells(table):
    lines = [line for line in table.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[2:]]


def test_a_row_has_the_measured_numbers_as_fractions(tmp_path):
    row = read_row(evaluation(tmp_path / "ssd_lite"))
    assert summary_cells(row, classes_of_rows([row])) == [
        "ssd lite",
        "3, bccd_paper_test",
        "0.500 [0.400, 0.600]",
        "0.750",
        "n/a",
        "0.043",
        "1.50, 0.25, 0.12",
    ]


def test_the_table_per_class_has_intervals(tmp_path):
    folder = evaluation(tmp_path / "ssd_lite", row={"name": "SSD"})
    (row,) = cells(per_class_table([folder]))
    assert row[:4] == ["SSD", "3, bccd_paper_test", "0.400 [0.350, 0.450]", "0.300"]


def test_a_row_is_named_by_its_own_file(tmp_path):
    row = {"name": "SSD lite", "note": "uses other data"}
    assert read_row(evaluation(tmp_path / "a", row=row))["name"] == ("SSD lite (uses other data)")
    with pytest.raises(ValueError, match=r"row\.json: unknown {'title'}"):
        read_row(evaluation(tmp_path / "b", row={"title": "SSD lite"}))


def test_quoted_rows_stand_beside_their_own_test_set(tmp_path):
    sets = {"a": "smears_test", "b": "bccd_voc_test", "c": "bccd_paper_test"}
    folders = [evaluation(tmp_path / name, dataset=dataset) for name, dataset in sets.items()]
    table = results_table(folders)
    names = [row[0] for row in cells(table)]
    paper = [name for name in names if name.endswith(", the paper")]
    assert names == ["c", *paper, "b", "YOLOv8n, not ours", "a"] and len(paper) == 6
    assert "Quoted: the paper, Table 1; YOLOv8n: Ultralytics" in table
    assert cells(results_table(folders[:1]))[0][0] == "a"
    assert "Quoted" not in results_table(folders[:1])


def test_every_machine_is_named_with_its_rows(tmp_path):
    folders = [evaluation(tmp_path / name, device=name) for name in ("abacus", "quipu")]
    assert "Times: abacus, PyTorch 2.4 on 2 threads." in results_table(folders[:1])
    table = results_table(folders)
    assert "(abacus on bccd_paper_test); quipu, PyTorch 2.4 on 2 threads (quipu on" in table


@pytest.mark.parametrize(
    ("flags", "name"),
    [([], "results"), (["--per-class"], "results per class"), (["--marker", "other"], "other")],
)
def test_the_readme_changes_between_the_markers_only(tmp_path, flags, name):
    folder, readme = evaluation(tmp_path / "a"), tmp_path / "README.md"
    readme.write_text(f"before\n<!-- {name}: begin -->\nold\n<!-- {name}: end -->\nafter\n")
    assert compare["main"]([str(folder), "--page", str(readme), *flags]) == 0
    text = readme.read_text()
    assert text.startswith("before\n") and text.endswith("\nafter\n") and "old" not in text
    assert "3, bccd_paper_test" in text


def test_a_readme_without_markers_is_an_error(tmp_path, capsys):
    readme = tmp_path / "README.md"
    readme.write_text("no markers")
    assert compare["main"]([str(evaluation(tmp_path / "a")), "--page", str(readme)]) == 2
    assert "markers" in capsys.readouterr().err and readme.read_text() == "no markers"


@pytest.mark.parametrize(
    ("marker", "pattern"),
    [("results", "*"), ("results on the second annotation", "second_annotation/*")],
)
def test_the_page_shows_what_the_result_files_say(marker, pattern):
    folders = sorted(f.parent for f in ROOT.glob(f"results/{pattern}/evaluation.json"))
    assert folders
    text = (ROOT / "docs/results.md").read_text()
    assert replace_table(text, results_table(folders), marker) == text
