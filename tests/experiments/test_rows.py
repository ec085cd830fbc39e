import pytest
import yaml

from bccd.config import get_bccd_cfg
from bccd.data.sources.catalog import register_datasets
from bccd.engine.setup import check_config, merge
from bccd.experiments.checkout import ROOT
from bccd.experiments.commands import Places, evaluation_command, row_commands, training_command
from bccd.experiments.rows import read_rows, select_rows

ENTRY = {
    "title": "A",
    "config": "configs/SSD/ssd_lite_bccd.yaml",
    "split": "smears",
    "device": "cpu",
    "time": "a minute",
}


def read(tmp_path, **changes):
    file = tmp_path / "rows.yaml"
    file.write_text(yaml.safe_dump({"a": {**ENTRY, **changes}}))
    return read_rows(file)["a"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"titel": "B"}, r"row 'a': unknown key 'titel'. Did you mean title\?"),
        ({"device": "tpu"}, "device is tpu; expected cpu or gpu"),
        ({"options": ["A", 1]}, "options is .*expected KEY: VALUE"),
        ({"folds": True, "tta": True}, "folds go without tta"),
        ({"within_minutes": {"optoins": {}}}, r"within_minutes: .* Did you mean options\?"),
    ],
)
def test_a_mistake_in_a_row_is_named(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        read(tmp_path, **changes)


def test_what_a_row_lacks_is_named(tmp_path):
    file = tmp_path / "rows.yaml"
    file.write_text(yaml.safe_dump({"a": {k: v for k, v in ENTRY.items() if k != "split"}}))
    with pytest.raises(ValueError, match="row 'a': split is missing"):
        read_rows(file)


@pytest.mark.parametrize("name", ["ssd_lite_vok", "sparse_rcnn_lite_voq"])
def test_an_unknown_row_is_refused_with_the_most_similar(name):
    with pytest.raises(ValueError, match=rf"no row '{name}'. Did you mean {name[:-1]}[ck]\?"):
        select_rows(read_rows(), [name])


def test_a_short_training_has_the_changes_of_its_row(tmp_path):
    changes = {"note": "short", "options": {"A": 1, "B": 1}, "schedule": {"C": 1, "D": 1}}
    row = read(tmp_path, options={"A": 2}, schedule={"C": 2}, within_minutes=changes).short()
    # What the row is stays; its schedule gives way.
    assert (row.note, row.options, row.schedule) == ("short", {"A": 2, "B": 1}, {"C": 1, "D": 1})


def lines(commands):
    return [" ".join(command) for command in commands]


def test_the_commands_of_a_lite_row(monkeypatch):
    """As the shell script ran them that the rows of results were made with."""
    monkeypatch.chdir(ROOT)
    config = "--config-file configs/SSD/ssd_lite_bccd.yaml"
    data = " ".join(
        f"DATASETS.{part} ('bccd_paper_{part.lower()}',)" for part in ("TRAIN", "VAL", "TEST")
    )
    second = "DATASETS.TEST ('bccd_relabelled_paper_test',)"
    best = "MODEL.WEIGHTS output/ssd_lite/model_best.pth"
    counting = "output/ssd_lite/model_counting.pth"
    keep = "tools/keep_results.py --from output/ssd_lite"
    name = "--name SSD lite --note"
    row = read_rows()["ssd_lite"]
    assert lines(row_commands(row, Places(opts=["SEED", "2"]))) == [
        f"train_net.py {config} --resume {data} OUTPUT_DIR output/ssd_lite SEED 2",
        f"train_net.py {config} --eval-only {data} OUTPUT_DIR output/ssd_lite {best} SEED 2",
        f"{keep} --row ssd_lite {name}  --results results",
        "tools/analyse_errors.py --results results/ssd_lite --dataset bccd_paper_test "
        "--output results/ssd_lite",
        f"train_net.py {config} --eval-only {data} OUTPUT_DIR output/ssd_lite_tta {best} "
        "TEST.AUG.ENABLED True SEED 2",
        f"{keep}_tta --row ssd_lite_tta {name} 4 views --results results",
        f"tools/choose_operating_points.py {config} --dataset bccd_relabelled_paper_val "
        f"--output {counting} {best} SEED 2",
        f"train_net.py {config} --eval-only {second} OUTPUT_DIR output/ssd_lite_relabelled "
        f"MODEL.WEIGHTS {counting} SEED 2",
        f"{keep}_relabelled --row second_annotation/ssd_lite {name}  --results results",
        f"train_net.py {config} --eval-only {second} OUTPUT_DIR output/ssd_lite_relabelled_bccd "
        f"{best} SEED 2",
        f"{keep}_relabelled_bccd --row second_annotation/ssd_lite_bccd_thresholds {name} "
        "thresholds chosen on BCCD's labels --results results",
    ]


def test_the_schedule_is_of_the_training_and_the_options_are_of_both(monkeypatch, tmp_path):
    monkeypatch.chdir(ROOT)
    row = read(tmp_path, options={"A": 1}, schedule={"B": [2]})
    training, evaluation, *rest = lines(row_commands(row, Places()))
    assert "A 1 B [2] OUTPUT_DIR output/a" in training
    assert "A 1 OUTPUT_DIR" in evaluation and "B [2]" not in evaluation
    assert len(rest) == 2  # no test-time augmentation, no second annotation


def test_folds_are_rows_that_are_kept_together(monkeypatch, tmp_path):
    monkeypatch.chdir(ROOT)
    file = tmp_path / "rows.yaml"
    file.write_text(yaml.safe_dump({"a_fold": {**ENTRY, "split": "bccd_fold", "folds": True}}))
    rows = read_rows(file)
    assert list(rows) == [f"a_fold{k}" for k in range(1, 6)]
    training, evaluation, pooling = lines(row_commands(rows["a_fold2"], Places()))
    assert "DATASETS.TRAIN ('bccd_fold2_train',)" in training
    assert "--eval-only" in evaluation and "DATASETS.TEST ('bccd_fold2_test',)" in evaluation
    assert pooling.startswith("tools/pool_folds.py --from output/a_fold1 output/a_fold2")
    assert "--row a --name A" in pooling


def test_what_is_trained_already_is_evaluated(monkeypatch):
    monkeypatch.chdir(ROOT)
    row = read_rows()["ssd_lite"]
    assert row_commands(row, Places(), trained=True) == row_commands(row, Places())[1:]


def test_from_another_folder_the_scripts_are_still_found(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for command in row_commands(read_rows()["ssd_lite"], Places()):
        assert (tmp_path / command[0]).is_file()


@pytest.mark.parametrize("row", read_rows().values(), ids=lambda row: row.name)
@pytest.mark.parametrize("short", [False, True])
def test_the_rows_of_the_project_can_be_trained(row, short, monkeypatch):
    monkeypatch.chdir(ROOT)
    register_datasets()
    row = row.short() if short else row
    for command in (
        training_command(row, Places()),
        evaluation_command(row, Places(), row.name),
    ):
        cfg = get_bccd_cfg()
        file = command[command.index("--config-file") + 1]
        merge(cfg, file, command[command.index("DATASETS.TRAIN") :])
        cfg.MODEL.DEVICE = "cpu"
        check_config(cfg)
