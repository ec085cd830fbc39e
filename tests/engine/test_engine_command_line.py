"""What a user sees of an error: a sentence for a mistake, a traceback for a bug."""

import re
import subprocess
from argparse import Namespace
from pathlib import Path

import pytest
import torch
from detectron2.engine import default_argument_parser
from torch.utils.data import DataLoader

import train_net
from bccd.console import REFUSED
from bccd.data.images.reading import ImageReader
from bccd.engine.command_line import launch_command
from bccd.mistakes import mistake

ROOT = Path(__file__).parents[2]
ONE = Namespace(num_gpus=1, num_machines=1, machine_rank=0, dist_url="auto")


def message(capsys, tmp_path, *arguments):
    words = [*arguments, "OUTPUT_DIR", str(tmp_path), "MODEL.DEVICE", "cpu"]
    args = default_argument_parser().parse_args(words)
    assert launch_command(train_net.main, args) == REFUSED
    captured = capsys.readouterr().err
    assert "Traceback" not in captured
    return captured.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["DATASETS.TRAIN", "bccd_voc_train"], "DATASETS.TRAIN in .* needs its comma"),
        (["SOLVER.EMA.DECAY", "x"], "SOLVER.EMA.DECAY .* type float, such as 0.999, .* type str"),
        (["SOLVER.BASE_LRR", "1"], "unknown config key SOLVER.BASE_LRR"),
        (["--config-file", "none.yaml"], "none.yaml: there is no such file"),
        (["DATASETS.TRAIN", "()"], "DATASETS.TRAIN is empty"),
        (["--num-gpus", "0"], "--num-gpus is 0; expected at least 1"),
        (["--machine-rank", "1"], "--machine-rank is 1; expected 0 to 0"),
    ],
)
def test_a_wrong_configuration_is_one_sentence(arguments, sentence, capsys, tmp_path):
    assert re.search(sentence, message(capsys, tmp_path, *arguments))


def test_a_page_is_no_checkpoint(capsys, tmp_path):
    data = ["DATASETS.TEST", "('smears_test',)", "MODEL.WEIGHTS", str(ROOT / "README.md")]
    config = ["--config-file", str(ROOT / "configs/SSD/ssd_lite_bccd.yaml"), "--eval-only"]
    found = message(capsys, tmp_path, *config, *data)
    assert "README.md cannot be read as a checkpoint; it is damaged or not one" in found
    assert "weights_only" not in found


class Files(torch.utils.data.Dataset):
    """Images that a worker reads."""

    def __init__(self, *files):
        self.files = files

    def __len__(self):
        return len(self.files)

    def __getitem__(self, index):
        return ImageReader("BGR")(self.files[index])


def test_an_error_about_a_file_is_a_sentence_without_a_number(tmp_path):
    with pytest.raises(FileNotFoundError) as raised:
        (tmp_path / "evaluation.json").read_text()
    assert mistake(raised.value) == f"{tmp_path / 'evaluation.json'}: No such file or directory"


@pytest.mark.parametrize("workers", [0, 1])
def test_an_image_that_is_missing_is_named_from_a_worker_too(tmp_path, workers):
    loader = DataLoader(Files(str(tmp_path / "gone.jpg")), num_workers=workers)
    with pytest.raises(OSError, match=r"gone\.jpg") as raised:
        next(iter(loader))
    sentence = mistake(raised.value)
    assert "gone.jpg" in sentence and "Traceback" not in sentence and "\n" not in sentence


def fail_outside_the_project(args):
    raise ValueError("a bug") from None


def fail_in_a_library(args):
    torch.linspace(0, 1, "three")


@pytest.mark.parametrize("bug", [fail_outside_the_project, fail_in_a_library])
def test_a_bug_keeps_its_traceback(bug):
    with pytest.raises((ValueError, TypeError)):
        launch_command(bug, ONE)


def test_processes_say_it_once(warm_python, tmp_path):
    # A rendezvous of its own: the default is one port for all runs of a user.
    flags = ["--num-gpus", "2", "--dist-url", f"file://{tmp_path}/rendezvous"]
    options = ["DATASETS.TRAIN", "bccd_voc_train", "OUTPUT_DIR", str(tmp_path)]
    done = subprocess.run(
        [warm_python.executable, "train_net.py", *flags, *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == REFUSED and "Traceback" not in done.stderr
    assert done.stderr.count("DATASETS.TRAIN") == 1
    assert done.stderr.splitlines()[-1].startswith("train_net: DATASETS.TRAIN in the command line")
