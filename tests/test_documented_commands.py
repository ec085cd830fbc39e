"""Runs the commands of the documentation, in order, on tiny images and for one iteration."""

import json
import os
import re
import shlex
import shutil
import subprocess
import zipfile
from pathlib import Path

import cv2
import pytest

from bccd.data.formats.coco import to_coco
from bccd.data.formats.conversion import to_voc_xml
from bccd.data.formats.voc import load_voc
from bccd.data.sources.bccd_classes import CLASS_NAMES
from bccd.data.sources.splits import read_split
from bccd.data.synthetic import draw_smear, load_smears

ROOT = Path(__file__).parents[1]
PAGES = (
    "README.md",
    "docs/benchmark.md",
    "docs/counting.md",
    "docs/deployment.md",
    "docs/many_images.md",
    "docs/offline.md",
    "docs/performance.md",
    "docs/results.md",
    "docs/training.md",
    "projects/SparseRCNN_BCCD/README.md",
    "projects/SSD_BCCD/README.md",
    "datasets/README.md",
)
SIZE = (48, 64)
# Run by other tests (`make demo` and `make test` by .ci/run), or they would install or download.
ELSEWHERE = ("make ", "source ", "pip ", "python tools/install_detectron2.py", "torchvision")
NEEDS_IMAGENET = "vgg16_ssd.pth"  # tests/modeling/test_vgg.py converts ImageNet's VGG-16
TINY = [
    *("SOLVER.MAX_ITER", "1", "SOLVER.IMS_PER_BATCH", "2", "DATALOADER.NUM_WORKERS", "0"),
    *("INPUT.MIN_SIZE_TRAIN", "(64,)", "INPUT.MIN_SIZE_TEST", "64", "TEST.BOOTSTRAP_SAMPLES", "10"),
]
NARROW_R50 = [
    *("MODEL.RESNETS.DEPTH", "18", "MODEL.RESNETS.RES2_OUT_CHANNELS", "64"),
    *("MODEL.SparseRCNN.NUM_PROPOSALS", "20", "MODEL.SparseRCNN.NUM_HEADS", "1"),
]
LIKE_MAKE_DEMO = (
    "python train_net.py --config-file configs/quick_schedules/ssd_lite_bccd_quick.yaml "
    "OUTPUT_DIR output/quickstart"
)
# Too large to validate on a CPU, and to start from weights that would be downloaded.
LARGE = ("r50", "vgg16")


def documented_commands():
    """(page, command) of every line of every block of commands, continuation lines joined."""
    for page in PAGES:
        text = (ROOT / page).read_text()
        blocks = re.findall(r"^ *```(\w*)\n(.*?)^ *```", text, flags=re.DOTALL | re.MULTILINE)
        for block in (content for language, content in blocks if language in ("", "bash")):
            for line in block.replace("\\\n", " ").splitlines():
                command = line.split(" #")[0].strip()
                if re.match(r"(python|torchrun|bccd|make|pip|source) ", command):
                    yield page, " ".join(command.split())


COMMANDS = [
    c
    for c in dict.fromkeys(command for _, command in documented_commands())
    if not c.startswith(ELSEWHERE) and NEEDS_IMAGENET not in c
]


def write_tiny_bccd(root):
    """A VOC tree with BCCD's names and split lists; every image is a tiny smear."""
    names = sorted({n for part in ("train", "val", "test") for n in read_split(f"paper_{part}")})
    for folder in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (root / folder).mkdir(parents=True)
    record = load_smears(1, 5, *SIZE)[0]
    picture = cv2.imencode(".jpg", draw_smear(5, *SIZE)[0])[1].tobytes()
    for name in names:
        (root / "JPEGImages" / f"{name}.jpg").write_bytes(picture)
        named = {**record, "file_name": f"{name}.jpg"}
        (root / "Annotations" / f"{name}.xml").write_text(to_voc_xml(named))
    for part in ("train", "val", "trainval", "test"):
        lines = "".join(f"{name}\n" for name in read_split(f"voc_{part}"))
        (root / "ImageSets/Main" / f"{part}.txt").write_text(lines)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """A folder in which the commands find what a reader would have."""
    folder = tmp_path_factory.mktemp("documented")
    for name in ("train_net.py", "demo.py", "configs", "tools", "datasets", "bccd", "projects"):
        (folder / name).symlink_to(ROOT / name)
    shutil.copy(ROOT / "README.md", folder)
    example = re.search(r"```python\n(.*?)```", (ROOT / "docs/deployment.md").read_text(), re.S)
    (folder / "count_cells.py").write_text(example[1])
    write_tiny_bccd(folder / "data" / "BCCD")
    second = to_coco(load_voc(folder / "data" / "BCCD"), CLASS_NAMES)
    (folder / "data" / "TXL-PBC").mkdir()
    (folder / "data" / "TXL-PBC" / "bccd_relabelled.json").write_text(json.dumps(second))
    for name in ("my_images", "images"):
        (folder / name).mkdir()
        cv2.imwrite(str(folder / name / "field.png"), draw_smear(1, *SIZE)[0])
    shutil.copytree(folder / "data" / "BCCD", folder / "my_annotated_images")
    with zipfile.ZipFile(folder / "my_bccd.zip", "w") as archive:
        for file in (folder / "data").rglob("*"):
            archive.write(file, file.relative_to(folder / "data"))
    return folder


def adapt(command, python):
    """The command as it is, with what makes it short added at its end."""
    words = shlex.split(command)
    modules = {"torchrun": ["-m", "torch.distributed.run"], "bccd": ["-m", "bccd.cli"]}
    launcher = modules.get(words[0], [])
    words = [python, *launcher, *words[1:]]
    if "--minutes" in words:
        words.remove("ssd512")  # takes minutes to validate on a CPU
    if "train_net.py" in command:
        words += TINY
        if any(name in command for name in LARGE):
            words += ["DATASETS.VAL", "()", "MODEL.WEIGHTS", ""]
    if "demo.py" in command and "--runtime" not in words:
        words += TINY if "--opts" in words else ["--opts", *TINY]
    if "time_startup.py" in command:
        words += ["--runs", "1"]
    if "choose_operating_points.py" in command:
        words += TINY
    if "ablate.py" in command or "reproduce.py" in command:
        words += ["--opts", *TINY, *(NARROW_R50 if "--minutes" in words else ())]
    if "stream_check.py" in command:
        words += ["--images", "6", "--size", *map(str, SIZE)]
        words += ["--demo", "--opts", "INPUT.MIN_SIZE_TEST", "64"]
    if "benchmark_drawing.py" in command:
        words += ["--rounds", "1", "--size", *map(str, SIZE)]
    if "benchmark.py" in command:
        small = ["INPUT.MIN_SIZE_TEST", "64"]
        words += small if "--opts" in words else ["--opts", *small]
        words += ["--seconds", "0.1", "--size", "64", "64"]
    if "--reference" in words:  # of the default's two the small one
        words += ["--config-file", "configs/SparseRCNN/sparse_rcnn_lite_bccd.yaml"]
    return words


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_every_documented_command_runs(workspace, warm_python):
    environment = {
        **os.environ,
        "DETECTRON2_DATASETS": str(workspace / "data"),
        "PATH": os.pathsep.join([warm_python.folder, os.environ["PATH"]]),
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }
    failed = {}
    for command in (LIKE_MAKE_DEMO, *COMMANDS):
        done = subprocess.run(
            adapt(command, warm_python.executable),
            cwd=workspace,
            env=environment,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            failed[command] = (done.stdout + done.stderr)[-1500:]
    assert not failed, "\n\n".join(f"$ {c}\n{output}" for c, output in failed.items())


def test_commands_are_found_in_every_page():
    pages = {page for page, _ in documented_commands()}
    assert pages == set(PAGES)
    assert len(COMMANDS) > 10
