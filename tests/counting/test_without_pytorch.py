"""Counting with an exported model where neither PyTorch nor Detectron2 is installed."""

import csv
import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import cv2
import pytest
from packaging.requirements import Requirement

from bccd.counting.count_table import read_table
from bccd.counting.load import PYTORCH, ModelChoice, with_runtime
from bccd.data.synthetic import draw_smear
from bccd.model_zoo import DEFAULT_MODEL

ROOT = Path(__file__).parents[2]
# An import of a module that is None in sys.modules fails as that of a missing one.
WITHOUT = """
import sys
for name in "torch torchvision detectron2 fvcore iopath matplotlib pycocotools scipy".split():
    sys.modules[name] = None
from bccd.cli import main
sys.exit(main(sys.argv[1:]))
"""
NOTHING_HEAVY = """
import importlib.util, sys
import bccd
print([name for name in ("torch", "detectron2", "numpy") if name in sys.modules])
"""


@pytest.fixture
def smear(tmp_path):
    cv2.imwrite(str(tmp_path / "smear.png"), draw_smear(1)[0])
    return tmp_path / "smear.png"


def run(command, **options):
    return subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, **options
    )


def assert_counted(done, output, name):
    assert done.returncode == 0, done.stderr
    assert sorted(file.name for file in output.iterdir()) == [
        "counts.csv",
        "detections.json",
        f"{name}.png",
    ]
    with open(output / "counts.csv", encoding="utf-8-sig", newline="") as file:
        row = next(csv.DictReader(file))
    assert row["status"] == "ok" and int(row["RBC"]) > 5 and int(row["WBC"]) == 1


def test_the_shipped_model_counts_without_them(smear, tmp_path):
    flags = ["count", smear, "--output", tmp_path / "out"]
    done = run([sys.executable, "-c", WITHOUT, *flags], cwd=ROOT)
    assert_counted(done, tmp_path / "out", "smear")
    assert f"not installed: {DEFAULT_MODEL} runs in ONNX Runtime" in done.stdout
    again = ["recount", tmp_path / "out/detections.json", "--output", tmp_path / "again"]
    done = run([sys.executable, "-c", WITHOUT, *again], cwd=ROOT)
    assert done.returncode == 0, done.stderr
    again, out = (read_table(tmp_path / name / "counts.csv") for name in ("again", "out"))
    assert int(out[0]["RBC_low"]) <= int(out[0]["RBC"]) <= int(out[0]["RBC_high"])
    for row in (*again, *out):  # a person has looked: the detector's intervals do not apply
        for name in [key for key in row if key.endswith(("_low", "_high"))]:
            del row[name]
    assert again == out


def test_annotations_are_checked_and_converted_without_them(tmp_path):
    boxes = '<box label="RBC" xtl="1" ytl="2" xbr="30.5" ybr="40"/>'
    image = f'<image name="smear.png" width="64" height="48">{boxes}</image>'
    (tmp_path / "data").mkdir()
    (tmp_path / "data/annotations.xml").write_text(f"<annotations>{image}</annotations>")
    cv2.imwrite(str(tmp_path / "data/smear.png"), draw_smear(1, 48, 64)[0])
    for command in (["check", tmp_path / "data"], ["convert", tmp_path / "data", "coco:coco"]):
        done = run([sys.executable, "-c", WITHOUT, *command], cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    content = json.loads((tmp_path / "coco/annotations/all.json").read_text())
    assert content["annotations"][0]["bbox"] == [1.0, 2.0, 29.5, 38.0]


def test_the_shipped_model_is_calibrated_without_them(smear, tmp_path):
    cv2.imwrite(str(tmp_path / "other.png"), draw_smear(2)[0])
    count = [sys.executable, "-c", WITHOUT, "count"]
    done = run([*count, tmp_path, "-o", tmp_path / "out", "--no-pictures"], cwd=ROOT)
    assert done.returncode == 0, done.stderr
    flags = ["calibrate", tmp_path / "out", "-o", tmp_path / "lab", "--all-fields"]
    done = run([sys.executable, "-c", WITHOUT, *flags], cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "only thresholds and diameter are chosen" in done.stdout
    done = run([*count, smear, "-o", tmp_path / "again", "--model", tmp_path / "lab"], cwd=ROOT)
    assert_counted(done, tmp_path / "again", "smear")


def test_the_python_api_needs_neither(smear):
    code = WITHOUT.split("from bccd.cli")[0] + (
        "from bccd import CellCounter\n"
        "result = CellCounter()(sys.argv[1])\n"
        "result.draw()\n"
        "print(result.counts)\n"
    )
    done = run([sys.executable, "-c", code, smear], cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "'WBC': 1" in done.stdout


@pytest.mark.parametrize("more", [["--config-file", "a.yaml"], ["--num-gpus", "2"]])
def test_what_needs_them_says_so(smear, tmp_path, more):
    flags = ["count", smear, "--output", tmp_path / "out"]
    done = run([sys.executable, "-c", WITHOUT, *flags, *more], cwd=ROOT)
    assert done.returncode == 2 and "need torch and detectron2" in done.stderr
    assert "Traceback" not in done.stderr and not (tmp_path / "out").exists()


def test_importing_the_package_costs_nothing():
    assert run([sys.executable, "-c", NOTHING_HEAVY], cwd=ROOT).stdout.strip() == "[]"


def test_where_pytorch_is_installed_it_runs_the_models():
    assert with_runtime(ModelChoice()).runtime == PYTORCH


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of this checkout, built outside of it."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "setup.py", "-q", "build", "--build-base", folder / "build"]
    build += ["egg_info", "--egg-base", folder, "bdist_wheel", "--dist-dir", folder]
    done = run(build, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("*.whl")
    return path


def requirements(wheel, extra):
    """Names of the installed distributions that ``wheel[extra]`` needs, and what they need."""
    (dist,) = metadata.distributions(path=[str(wheel)])
    found, waiting = {}, [(text, extra) for text in dist.requires]
    while waiting:
        text, its_extra = waiting.pop()
        requirement = Requirement(text)
        marker = requirement.marker
        if requirement.name in found or (marker and not marker.evaluate({"extra": its_extra})):
            continue
        found[requirement.name] = metadata.distribution(requirement.name)
        waiting += [(each, "") for each in found[requirement.name].requires or []]
    return found


def new_environment(folder):
    """(python, site-packages) of a fresh virtual environment."""
    done = run([sys.executable, "-m", "venv", "--without-pip", folder])
    assert done.returncode == 0, done.stderr
    (site,) = folder.glob("lib/python*/site-packages")
    return folder / "bin/python", site


def test_the_wheel_and_what_it_asks_for_are_enough(wheel, smear, tmp_path):
    """Fails where counting needs a package that the extra ``count`` does not name."""
    python, site = new_environment(tmp_path / "venv")
    needed = requirements(wheel, "count")
    assert "onnxruntime" in needed and not {"torch", "torchvision", "detectron2"} & set(needed)
    for dist in needed.values():
        for name in {file.parts[0] for file in dist.files} - {"..", "__pycache__"}:
            if not (site / name).exists():
                (site / name).symlink_to(dist.locate_file(name))
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--no-index", "--no-deps"]
    done = run([*pip, f"{wheel}[count]"])
    assert done.returncode == 0, done.stderr
    count_with_the_command(python, smear, tmp_path)


@pytest.mark.slow
def test_pip_installs_it_into_a_fresh_environment(wheel, smear, tmp_path):
    python, site = new_environment(tmp_path / "venv")
    done = run([sys.executable, "-m", "pip", "--python", python, "install", f"{wheel}[count]"])
    if "No matching distribution" in done.stderr or "No index" in done.stderr:
        pytest.skip("no package index can be reached")
    assert done.returncode == 0, done.stderr
    size = sum(file.stat().st_size for file in site.rglob("*") if file.is_file())
    assert size < 700e6  # 5,500 with PyTorch and CUDA
    count_with_the_command(python, smear, tmp_path)


def count_with_the_command(python, smear, folder):
    for name in ("torch", "detectron2"):
        missing = run([python, "-c", f"import {name}"], cwd=folder)
        assert "No module named" in missing.stderr
    command = python.parent / "bccd"
    for model, output in (("ssd_lite", "one"), ("sparse_rcnn_lite", "two")):
        flags = [smear, "--output", folder / output, "--model", model]
        done = run([command, "count", *flags], cwd=folder)
        assert_counted(done, folder / output, "smear")
        info = json.loads((folder / output / "detections.json").read_text())["info"]
        assert info["model"].startswith("onnx ")
