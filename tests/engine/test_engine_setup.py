import pytest
import torch
import yaml
from detectron2.engine import default_argument_parser

from bccd.config import get_bccd_cfg
from bccd.engine.launch import launch
from bccd.engine.setup import available_device, check_config, merge, setup


@pytest.mark.parametrize("source", ["yaml", "command line"])
def test_unknown_key_names_the_most_similar(tmp_path, source):
    cfg = get_bccd_cfg()
    file = tmp_path / "config.yaml"
    file.write_text("SOLVER:\n  BASE_LRR: 0.1\n" if source == "yaml" else "SEED: 1\n")
    opts = [] if source == "yaml" else ["SOLVER.BASE_LRR", "0.1"]
    with pytest.raises(
        ValueError, match=r"SOLVER\.BASE_LRR.*config\.yaml.*one is SOLVER\.BASE_LR$"
    ):
        merge(cfg, str(file), opts)


def test_a_missing_yaml_and_a_key_without_value_are_said(tmp_path):
    cfg = get_bccd_cfg()
    with pytest.raises(FileNotFoundError, match=r"none\.yaml: there is no such file"):
        merge(cfg, str(tmp_path / "none.yaml"), [])
    with pytest.raises(ValueError, match="pairs"):
        merge(cfg, "", ["SEED"])


def test_merge_takes_yaml_then_options(tmp_path):
    cfg = get_bccd_cfg()
    (tmp_path / "config.yaml").write_text("SEED: 1\nVERSION: 2\n")
    merge(cfg, str(tmp_path / "config.yaml"), ["SOLVER.EMA.ENABLED", "True"])
    assert (cfg.SEED, cfg.SOLVER.EMA.ENABLED) == (1, True)


@pytest.mark.parametrize(
    "key, value, message",
    [
        (
            "DATASETS.TRAIN",
            ("bccd_paper_trian",),
            r"no dataset bccd_paper_trian .*paper_train",
        ),
        ("SOLVER.ACCUMULATE", 0, r"SOLVER\.ACCUMULATE 0"),
        ("SOLVER.AMP.DTYPE", "float8", "float16 or bfloat16"),
        ("SOLVER.CLIP_GRADIENTS.CLIP_TYPE", "all", "full_model"),
        ("SOLVER.EMA.DECAY", 1.0, r"SOLVER\.EMA"),
        ("VALIDATION.EARLY_STOP.ENABLED", True, r"DATASETS\.VAL"),
        ("TEST.OPERATING_POINTS", (0.5, 0.5), r"TEST\.OPERATING_POINTS is .*RBC, WBC, Platelets"),
        (
            "TEST.OPERATING_POINTS",
            (0.5, 0.5, 1.5),
            r"TEST\.OPERATING_POINTS has 1\.5 for Platelets",
        ),
        ("TEST.OPERATING_POINTS", (0.5, "a", 0.5), r"TEST\.OPERATING_POINTS has 'a' for WBC"),
        ("TEST.OPERATING_POINTS", {"RBC": 0.5}, r"TEST\.OPERATING_POINTS"),
        ("TEST.OPERATING_POINTS", None, r"TEST\.OPERATING_POINTS is None"),
        ("TEST.OPERATING_POINT_IOU", 0.0, "OPERATING_POINT_IOU"),
        ("TEST.BOOTSTRAP.SAMPLES", 0, r"BOOTSTRAP\.SAMPLES"),
        ("TEST.PRECISE_BN.ENABLED", True, "PRECISE_BN"),
    ],
)
def test_contradictions(cfg, key, value, message):
    check_config(cfg)
    with pytest.raises(ValueError, match=message):
        cfg.merge_from_list([key, value])
        check_config(cfg)


def test_expected_results_name_their_data_set(cfg):
    cfg.TEST.EXPECTED_RESULTS = [["bbox", "AP", 30.0, 1.0]]
    check_config(cfg)
    cfg.TEST.EXPECTED_RESULTS_DATASET = "smears_val"
    with pytest.raises(ValueError, match=r"smears_val, which is neither in DATASETS\.VAL"):
        check_config(cfg)
    cfg.DATASETS.VAL = ("smears_val",)
    check_config(cfg)
    cfg.TEST.EXPECTED_RESULTS_DATASET = ""
    cfg.DATASETS.TEST = ("smears_val", "smears_test")
    with pytest.raises(ValueError, match=r"name it in TEST\.EXPECTED_RESULTS_DATASET"):
        check_config(cfg)


def test_evaluation_needs_a_dataset(cfg):
    cfg.DATASETS.TEST = ()
    check_config(cfg)
    with pytest.raises(ValueError, match=r"DATASETS\.TEST"):
        check_config(cfg, eval_only=True)


def test_available_device(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert [available_device(d) for d in ("cuda", "cuda:1", "cpu")] == ["cpu", "cpu", "cpu"]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert available_device("cuda") == "cuda"


def test_an_evaluation_leaves_the_config_of_the_training(tmp_path):
    def saved_config(*flags, **keys):
        words = [str(word) for pair in {"OUTPUT_DIR": tmp_path, **keys}.items() for word in pair]
        setup(default_argument_parser().parse_args([*flags, *words]))
        return yaml.safe_load((tmp_path / "config.yaml").read_text())

    test = {"DATASETS.TEST": "('smears_test',)"}
    assert saved_config("--eval-only", SEED=6, **test)["SEED"] == 6  # no training here
    data = {"DATASETS.TRAIN": "('smears_train',)", "DATASETS.VAL": "()"}
    assert saved_config(SEED=7, **data)["SEED"] == 7
    assert saved_config("--eval-only", SEED=8, **test)["SEED"] == 7


def test_what_follows_the_training_images_is_in_the_log(tmp_path):
    keys = ["DATASETS.TRAIN", "('smears_val',)", "DATASETS.VAL", "()", "OUTPUT_DIR", str(tmp_path)]
    flags = [*keys, "COUNTING.RED_CELL_DIAMETER", "10.0"]
    cfg = setup(default_argument_parser().parse_args(flags))
    assert cfg.COUNTING.RED_CELL_DIAMETER > 20
    log = (tmp_path / "log.txt").read_text()
    assert "INPUT.FIELD_SIZE and COUNTING.RED_CELL_DIAMETER follow them" in log


def test_one_process_runs_here(monkeypatch):
    class Args:
        num_gpus = num_machines = 1
        machine_rank = 0

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    seen = []
    launch(seen.append, Args)
    assert seen == [Args]


def test_more_processes_than_gpus(monkeypatch):
    class Args:
        num_gpus = 3
        num_machines = 1
        machine_rank = 0

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ValueError, match="3 processes on this machine, but it has 2 GPUs"):
        launch(print, Args)


def test_a_config_file_cannot_run_code(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(f"OUTPUT_DIR: !!python/object/apply:os.mkdir ['{tmp_path / 'made'}']\n")
    with pytest.raises(ValueError, match="is not a config file"):
        merge(get_bccd_cfg(), str(path), [])
    assert not (tmp_path / "made").exists()
