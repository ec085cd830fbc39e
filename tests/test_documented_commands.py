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

from bccd.data.bccd_classes import CLASS_NAMES
from bccd.data.formats.annotated_image import from_record
from bccd.data.formats.coco import to_coco
from bccd.data.formats.voc import to_voc_xml
from bccd.data.formats.voc_folder import load_voc
from bccd.data.sources.splits import read_split
from bccd.data.synthetic import draw_smear, load_smears

ROOT = Path(__file__).parents[1]
# The page of result files is left out: its commands change results/ themselves.
FOLDERS = (".", "docs", "docs/start", "docs/detectors", "datasets", "models", "projects/*")
FIRST = "docs/results.md"  # commands of other pages start from the rows that its commands train
PAGES = sorted(
    {
        path.relative_to(ROOT).as_posix()
        for folder in FOLDERS
        for path in ROOT.glob(f"{folder}/*.md")
    },
    key=lambda page: (page != FIRST, page),
)
SIZE = (48, 64)
# Run by other tests (`make demo` and `make test` by .ci/run), or they would install or download.
ELSEWHERE = ("make ", "source ", "pip ", "python tools/install_detectron2.py", "torchvision")
ELSEWHERE += ("bccd serve ",)  # until Ctrl-C; tests/server does what the page of it says
NEEDS_IMAGENET = "vgg16_ssd.pth"  # tests/modeling/test_vgg.py converts ImageNet's VGG-16
TINY = [
    *("SOLVER.MAX_ITER", "1", "SOLVER.IMS_PER_BATCH", "2", "DATALOADER.NUM_WORKERS", "0"),
    *("INPUT.MIN_SIZE_TRAIN", "(64,)", "INPUT.MIN_SIZE_TEST", "64", "TEST.BOOTSTRAP.SAMPLES", "10"),
]
NARROW_R50 = [
    *("MODEL.RESNETS.DEPTH", "18", "MODEL.RESNETS.RES2_OUT_CHANNELS", "64"),
    *("MODEL.SparseRCNN.NUM_PROPOSALS", "20", "MODEL.SparseRCNN.NUM_HEADS", "1"),
]
# What the text around an example says that there is.
GIVEN = {
    "docs/counting.md": """
import shutil
from bccd import CellCounter
CellCounter("ssd_lite", thresholds=0.0).to_coco("field.jpg", "counted/detections.json")
shutil.copy("counted/detections.json", "annotations.json")
""",
    # The run of a folder, which the example before has written over.
    "docs/exchange.md": """
import shutil
from bccd.cli import main as bccd
shutil.rmtree("counted")
assert bccd(["count", "my_images/", "-o", "counted/"]) == 0
""",
    "docs/training.md": """
import cv2
import torch
from detectron2.structures import Boxes, Instances
from bccd.data.sources.catalog import register_datasets
register_datasets()
image_rgb = cv2.imread("field.jpg")[:, :, ::-1]
instances = Instances(image_rgb.shape[:2])
instances.pred_boxes = Boxes(torch.tensor([[10.0, 10.0, 60.0, 60.0]]))
instances.scores, instances.pred_classes = torch.tensor([0.9]), torch.tensor([1])
""",
}
LIKE_MAKE_DEMO = (
    "python train_net.py --config-file configs/quick_schedules/ssd_lite_bccd_quick.yaml "
    "OUTPUT_DIR output/quickstart"
)
# Too large to validate on a CPU, and to start from weights that would be downloaded.
LARGE = ("r50", "vgg16")


def blocks(page, *languages):
    """The code blocks of a page in these languages."""
    text = (ROOT / page).read_text()
    found = re.findall(r"^ *```(\w*)\n(.*?)^ *```", text, flags=re.DOTALL | re.MULTILINE)
    return [content for language, content in found if language in languages]


def documented_commands():
    """(page, command) of every line of every block of commands, continuation lines joined."""
    for page in PAGES:
        for block in blocks(page, "", "bash"):
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
        (root / "Annotations" / f"{name}.xml").write_text(
            to_voc_xml(from_record(named, CLASS_NAMES))
        )
    for part in ("train", "val", "trainval", "test"):
        lines = "".join(f"{name}\n" for name in read_split(f"voc_{part}"))
        (root / "ImageSets/Main" / f"{part}.txt").write_text(lines)


def write_own_data(folder):
    """Annotated images of classes that no registered data set has, as labelImg leaves them."""
    folder.mkdir()
    names = ("erythrocyte", "lymphocyte", "thrombocyte")
    for seed in range(8):
        record = {**load_smears(1, seed, *SIZE)[0], "file_name": f"{seed}.png"}
        cv2.imwrite(str(folder / f"{seed}.png"), draw_smear(seed, *SIZE)[0])
        (folder / f"{seed}.xml").write_text(to_voc_xml(from_record(record, names)))


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """A folder in which the commands find what a reader would have."""
    folder = tmp_path_factory.mktemp("documented")
    for name in ("train_net.py", "demo.py", "configs", "tools", "datasets", "bccd", "projects"):
        (folder / name).symlink_to(ROOT / name)
    (folder / "docs").mkdir()
    for page in ("README.md", "docs/results.md"):
        shutil.copy(ROOT / page, folder / page)
    (folder / "count_cells.py").write_text(blocks("docs/deployment.md", "python")[0])
    write_tiny_bccd(folder / "data" / "BCCD")
    second = to_coco(load_voc(folder / "data" / "BCCD", CLASS_NAMES), CLASS_NAMES)
    (folder / "data" / "TXL-PBC").mkdir()
    (folder / "data" / "TXL-PBC" / "bccd_relabelled.json").write_text(json.dumps(second))
    for name in ("my_images", "images", "slides"):
        (folder / name).mkdir()
        cv2.imwrite(str(folder / name / "field.png"), draw_smear(1, *SIZE)[0])
    (folder / "my_fields").mkdir()
    for seed in range(3):
        cv2.imwrite(str(folder / f"my_fields/{seed}.png"), draw_smear(seed, *SIZE)[0])
    cv2.imwrite(str(folder / "field.jpg"), draw_smear(2, 480, 640)[0])
    shutil.copytree(folder / "data" / "BCCD", folder / "my_annotated_images")
    write_own_data(folder / "my_annotations")
    (folder / "my_data.py").write_text(blocks("docs/own_data.md", "python")[0])
    with zipfile.ZipFile(folder / "my_bccd.zip", "w") as archive:
        for file in (folder / "data").rglob("*"):
            archive.write(file, file.relative_to(folder / "data"))
    return folder


def adapt(command, python):
    """The command as it is, with what makes it short added at its end."""
    words = shlex.split(command)
    modules = {"torchrun": ["-m", "torch.distributed.run"], "bccd": ["-m", "bccd"]}
    launcher = modules.get(words[0], [])
    words = [python, *launcher, *words[1:]]
    if "--minutes" in words:
        words.remove("ssd512")  # takes minutes to validate on a CPU
    if "train-on" in command:
        words += ["--opts", *TINY]
    if "calibrate counted_fields/" in command:  # nobody corrects them here
        words += ["--all-fields", "--no-fine-tuning"]
    if "train_net.py" in command:
        words += TINY
        if any(name in command for name in LARGE):
            words += ["DATASETS.VAL", "()", "MODEL.WEIGHTS", ""]
    if "demo.py" in command and "--runtime" not in words:
        words += TINY if "--opts" in words else ["--opts", *TINY]
    if "time_startup.py" in command:
        words += ["--runs", "1"]
    if "compare_systems.py" in command:
        words += ["--samples", "10"]
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
    for name, example in python_examples():
        (workspace / name).write_text(example)
        done = subprocess.run(
            [warm_python.executable, name],
            cwd=workspace,
            env=environment,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            failed[name] = (done.stdout + done.stderr)[-1500:]
    assert not failed, "\n\n".join(f"$ {c}\n{output}" for c, output in failed.items())


def python_examples():
    """(file name, code) of the Python blocks of all pages but those that a command runs."""
    for page in PAGES:
        for number, block in enumerate(blocks(page, "python")):
            if "sys.argv" not in block:  # docs/deployment.md's count_cells.py
                name = page.removesuffix(".md").replace("/", "_")
                yield f"{name}_{number}.py", GIVEN.get(page, "") + block


def test_the_python_examples_of_the_readme_run(workspace, monkeypatch):
    monkeypatch.chdir(workspace)
    examples = blocks("README.md", "python")
    for example in examples:
        exec(compile(example, "README.md", "exec"), {"__name__": "__main__"})
    assert examples


def test_commands_are_found_in_the_pages():
    pages = {page for page, _ in documented_commands()}
    assert {"README.md", "docs/counting.md", "projects/SSD_BCCD/README.md"} < pages
    assert len(COMMANDS) > 10
