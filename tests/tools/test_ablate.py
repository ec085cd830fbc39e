import fcntl
import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from bccd.experiments.ablation import check_rows, read_ablation

ROOT = Path(__file__).parents[2]
ablate = runpy.run_path(str(ROOT / "tools" / "ablate.py"))
CONTENT = {
    "config": str(ROOT / "configs/SSD/ssd_lite_bccd.yaml"),
    "budget": {
        "SOLVER.MAX_ITER": 2,
        "SOLVER.IMS_PER_BATCH": 2,
        "DATALOADER.NUM_WORKERS": 0,
        "DATASETS.TRAIN": ["smears_val"],
        "DATASETS.VAL": ["smears_val"],
        "INPUT.MIN_SIZE_TRAIN": [64],
        "INPUT.MIN_SIZE_TEST": 64,
    },
    "seeds": [1],
    "rows": [
        {"name": "baseline", "options": {}},
        {"name": "no EMA", "options": {"SOLVER.EMA.ENABLED": False}},
    ],
}


class Workspace:
    """An ablation file and the folders that belong to it."""

    def __init__(self, folder):
        self.file, self.output, self.results = (
            folder / name for name in ("tiny.yaml", "output", "results")
        )
        self.write(CONTENT)

    def write(self, content):
        self.file.write_text(yaml.safe_dump(content))

    def ablate(self, *flags):
        places = ("--output", str(self.output), "--results", str(self.results))
        return ablate["main"]([str(self.file), *places, *flags])

    def folder(self, row):
        return self.output / "tiny" / row / "1"

    def collected(self):
        rows = json.loads((self.results / "tiny.json").read_text())["rows"]
        return {row["name"]: row["runs"] for row in rows}


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path)


@pytest.fixture
def trainings(monkeypatch):
    """Commands that would train; each leaves metrics.json, or fails while ``fails`` is set."""

    def fake_run(command, **arguments):
        if "--config-file" not in command:
            return real_run(command, **arguments)
        trainings.append(command)
        folder = Path(command[command.index("OUTPUT_DIR") + 1])
        records = {"iteration": 1, "total_loss": 1.0}, {"iteration": 2, "bbox/AP": 50.0}
        (folder / "metrics.json").write_text("".join(json.dumps(r) + "\n" for r in records))
        return subprocess.CompletedProcess(command, int(trainings.fails))

    class Trainings(list):
        fails = False

    trainings, real_run = Trainings(), subprocess.run
    monkeypatch.setattr(subprocess, "run", fake_run)
    return trainings


def test_a_row_is_trained_and_measured(workspace, warm_python, monkeypatch):
    monkeypatch.setattr(sys, "executable", warm_python.executable)
    assert workspace.ablate("--rows", "no EMA") == 0
    assert "EMA:\n    DECAY" in (workspace.folder("no_EMA") / "config.yaml").read_text()
    (run,) = workspace.collected()["no EMA"]
    assert run["iterations"] == 2 and run["last"]["AP"] >= 0 and run["machine"]["torch"]
    assert "| baseline | not trained" in (workspace.results / "tiny.md").read_text()


def test_finished_rows_are_left_and_failed_ones_go_on(workspace, trainings, capsys):
    trainings.fails = True
    assert workspace.ablate("--rows", "baseline") == 1
    printed = capsys.readouterr()
    assert "failed, see" in printed.err and not workspace.collected()["baseline"]
    assert "ended after iteration 2, best AP 50.0" in printed.out
    trainings.fails = False
    assert workspace.ablate() == 0 and workspace.ablate() == 0
    assert len(trainings) == 3 and all("--resume" in command for command in trainings)
    assert [run["seed"] for run in workspace.collected()["no EMA"]] == [1]


def test_collecting_trains_nothing(workspace, trainings):
    assert workspace.ablate("--collect") == 0
    assert not trainings and workspace.collected() == {"baseline": [], "no EMA": []}


def test_a_row_that_another_process_trains_is_skipped(workspace, trainings, capsys):
    workspace.folder("baseline").mkdir(parents=True)
    with (workspace.folder("baseline") / "lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        assert workspace.ablate() == 0
    assert len(trainings) == 1 and "another process trains it" in capsys.readouterr().out


@pytest.mark.parametrize("flag", [(), ("--collect",)])
def test_results_of_other_options_are_not_passed_off(workspace, trainings, capsys, flag):
    workspace.ablate()
    workspace.write({**CONTENT, "budget": {**CONTENT["budget"], "SOLVER.MAX_ITER": 3}})
    assert workspace.ablate(*flag) == 2
    assert "remove the folder" in capsys.readouterr().err and len(trainings) == 2


def test_an_unknown_key_stops_before_any_training(workspace, trainings, capsys):
    rows = [*CONTENT["rows"], {"name": "typo", "options": {"SOLVER.BASE_LRR": 1.0}}]
    workspace.write({**CONTENT, "rows": rows})
    assert workspace.ablate() == 2 and not trainings
    assert "SOLVER.BASE_LRR" in capsys.readouterr().err


@pytest.mark.parametrize(
    "file",
    [f for kind in ("ablations", "searches") for f in sorted(ROOT.glob(f"configs/{kind}/*.yaml"))],
    ids=lambda f: f.stem,
)
def test_the_ablations_of_the_project_can_be_trained(file, monkeypatch):
    monkeypatch.chdir(ROOT)
    check_rows(read_ablation(file))


def test_the_folder_of_the_file_names_those_of_its_trainings_and_results(
    tmp_path, trainings, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "searches").mkdir()
    (tmp_path / "searches/tiny.yaml").write_text(yaml.safe_dump(CONTENT))
    assert ablate["main"](["searches/tiny.yaml", "--rows", "baseline"]) == 0
    (command,) = trainings
    assert command[command.index("OUTPUT_DIR") + 1] == "output/searches/tiny/baseline/1"
    assert (tmp_path / "results/searches/tiny.md").is_file()
