import pytest
import yaml

from bccd.experiments.ablation import check_rows, read_ablation
from bccd.experiments.options import as_arguments

CONTENT = {
    "config": "configs/SSD/ssd_lite_bccd.yaml",
    "budget": {"SOLVER.MAX_ITER": 2},
    "seeds": [1, 2],
    "rows": [
        {"name": "baseline", "options": {}},
        {"name": "no EMA", "options": {"SOLVER.EMA.ENABLED": False, "SOLVER.BASE_LR": 0.1}},
        {"name": "slow", "base": "no EMA", "options": {"SOLVER.BASE_LR": 0.01}, "note": "slower"},
    ],
}


def read(tmp_path, **changes):
    file = tmp_path / "ssd.yaml"
    file.write_text(yaml.safe_dump({**CONTENT, **changes}))
    return read_ablation(file)


def test_a_row_adds_to_the_options_of_its_base(tmp_path):
    ablation = read(tmp_path)
    slow = ablation.rows[2]
    assert (ablation.name, slow.name, slow.note) == ("ssd", "slow", "slower")
    assert ablation.options(slow, 2) == {
        "SOLVER.MAX_ITER": 2,
        "SOLVER.EMA.ENABLED": False,
        "SOLVER.BASE_LR": 0.01,
        "SEED": 2,
    }


def test_rows_are_selected_by_name(tmp_path):
    ablation = read(tmp_path)
    assert [row.name for row in ablation.select([])] == ["baseline", "no EMA", "slow"]
    assert [row.name for row in ablation.select(["slow", "baseline"])] == ["baseline", "slow"]
    with pytest.raises(ValueError, match=r"no row 'slw'\. Did you mean slow\?.*no EMA, slow"):
        ablation.select(["slw"])


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"name": "a"}, "options is missing"),
        ({"name": "a", "options": {}, "opts": 1}, "unknown opts"),
        ({"name": "a", "options": {"SOLVER.MAX_ITER": 9}}, "'a' sets SOLVER.MAX_ITER"),
        ({"name": "a", "options": {"SEED": 9}}, "'a' sets SEED"),
        ({"name": "a", "options": {}, "base": "b"}, "its base 'b' is no earlier row"),
        ({"name": "base line", "options": {}}, "two rows have a name like 'base line'"),
    ],
)
def test_a_row_that_makes_no_sense_is_an_error(tmp_path, row, message):
    first = {"name": "base_line", "options": {}}
    with pytest.raises(ValueError, match=message):
        read(tmp_path, rows=[first, row])


def test_a_mistake_in_any_row_is_found_before_training(tmp_path):
    check_rows(read(tmp_path))
    rows = [*CONTENT["rows"], {"name": "typo", "options": {"SOLVER.BASE_LRR": 1.0}}]
    with pytest.raises(ValueError, match=r"row 'typo': unknown config key SOLVER\.BASE_LRR"):
        check_rows(read(tmp_path, rows=rows))
    with pytest.raises(ValueError, match=r"row 'baseline': SOLVER\.EMA"):
        check_rows(read(tmp_path), ["SOLVER.EMA.DECAY", "2.0"])


def test_options_become_arguments_that_the_config_reads_back(tmp_path, cfg):
    options = {"DATASETS.VAL": ["smears_val"], "MODEL.WEIGHTS": "", "SOLVER.BASE_LR": "3e-4"}
    cfg.merge_from_list(as_arguments(options))
    assert (cfg.DATASETS.VAL, cfg.MODEL.WEIGHTS, cfg.SOLVER.BASE_LR) == (("smears_val",), "", 3e-4)
