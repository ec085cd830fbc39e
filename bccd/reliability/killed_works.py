"""What is killed: a training, a counting of a folder, and the worker of a study."""

import hashlib
import json
from pathlib import Path

import bccd.openmp  # noqa: F401  (before PyTorch is loaded)

import cv2
import torch
from detectron2.engine import default_argument_parser
from sqlalchemy import select

from bccd import model_zoo
from bccd.cli import main as bccd_command
from bccd.data.bccd_classes import CLASS_NAMES
from bccd.data.formats.annotated_image import AnnotatedBox, AnnotatedImage
from bccd.data.formats.conversion import convert
from bccd.data.formats.dataset import AnnotatedDataset
from bccd.data.synthetic import draw_smear
from bccd.engine.setup import setup
from bccd.engine.trainer import BCCDTrainer
from bccd.study import Study, tables
from bccd.study.worker import work

_ROOT = Path(__file__).resolve().parents[2]
_MODEL = "ssd_lite"
_WHO = "Lan"
_SIZE = (96, 128)  # height, width
_FIELDS = 8


def _write_fields(folder: Path) -> list[Path]:
    folder.mkdir(parents=True)
    paths = [folder / f"{number}.png" for number in range(_FIELDS)]
    for number, path in enumerate(paths):
        cv2.imwrite(str(path), draw_smear(number, *_SIZE)[0])
    return paths


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class Training:
    """``train_net.py --resume`` of a small detector; its weights and states, bit by bit."""

    def prepare(self, folder: Path) -> None:
        """Write the images and their boxes."""
        made = AnnotatedDataset(folder / "made", "coco", list(CLASS_NAMES))
        for number, path in enumerate(_write_fields(folder / "made")):
            _, boxes, classes = draw_smear(number, *_SIZE)
            pairs = zip(classes.tolist(), boxes.tolist(), strict=True)
            found = [
                AnnotatedBox(CLASS_NAMES[c], tuple(box), None, path.stem, 0, None)
                for c, box in pairs
            ]
            height, width = _SIZE
            image = AnnotatedImage(path, path.parent, number + 1, width, height, tuple(found))
            made.images[path.stem] = image
        convert(made, "coco", folder / "data")

    def run(self, folder: Path) -> None:
        """As train_net.py does."""
        torch.set_num_threads(1)
        data = (f"coco:{folder / 'data'}",)
        options = [
            *("DATASETS.TRAIN", data, "DATASETS.VAL", data, "DATASETS.TEST", data, "SEED", 7),
            *("MODEL.DEVICE", "cpu", "OUTPUT_DIR", str(folder / "out"), "SOLVER.MAX_ITER", 12),
            *("SOLVER.CHECKPOINT_PERIOD", 3, "SOLVER.IMS_PER_BATCH", 2, "SOLVER.WARMUP_ITERS", 2),
            *("TEST.EVAL_PERIOD", 6, "TEST.BOOTSTRAP.ENABLED", False, "TEST.EXPECTED_RESULTS", []),
            *("INPUT.MIN_SIZE_TRAIN", (96,), "INPUT.MIN_SIZE_TEST", 96),
            *("DATALOADER.NUM_WORKERS", 0, "INPUT.FIELD_SIZE", _SIZE),
        ]
        config = _ROOT / "configs/quick_schedules/ssd_lite_smears_quick.yaml"
        flags = ["--resume", "--config-file", str(config), *map(str, options)]
        trainer = BCCDTrainer(setup(default_argument_parser().parse_args(flags)))
        trainer.resume_or_load(resume=True)
        trainer.train()

    def result(self, folder: Path) -> dict[str, object]:
        """Every tensor and state of the last checkpoint."""
        content = torch.load(folder / "out/model_final.pth", weights_only=True)
        return {
            f"{key}/{name}": _plain(value)
            for key, part in content.items()
            if isinstance(part, dict) and key != "validation"  # which has times
            for name, value in part.items()
        }


class Counting:
    """``bccd count`` of a folder; its tables and pictures, byte by byte."""

    def prepare(self, folder: Path) -> None:
        """Write the images."""
        _write_fields(folder / "images")

    def run(self, folder: Path) -> None:
        """As a person starts it again."""
        flags = ["--runtime", "onnx", "--model", _MODEL]
        status = bccd_command(
            ["count", str(folder / "images"), "-o", str(folder / "counted"), *flags]
        )
        if status != 0:
            raise RuntimeError(f"bccd count ended with {status}")

    def result(self, folder: Path) -> dict[str, object]:
        """Every file that it wrote."""
        counted = folder / "counted"
        files = [path for path in counted.rglob("*") if path.is_file()]
        return {str(p.relative_to(counted)): _digest(p.read_bytes()) for p in files}


class Serving:
    """The worker of a study, beside which a person corrects; fields, cells and corrections."""

    def prepare(self, folder: Path) -> None:
        """Make a study that waits to be counted, with a correction in each field."""
        with Study.open(folder / "study", create=True) as study:
            study.change_settings(_WHO, model=study.add_model(model_zoo.find_export(_MODEL)))
            paths = _write_fields(folder / "study" / "images")
            for field in study.add(paths, _WHO).ids:
                box = {"do": "add", "name": "WBC", "box": [1, 1, 30, 30]}
                study.edit(field, _WHO, [box], study.field(field).row.version)
            study.count(_WHO)

    def run(self, folder: Path) -> None:
        """As ``bccd.study.worker`` does."""
        with Study.open(folder / "study") as study:
            work(study, until_idle=True)

    def result(self, folder: Path) -> dict[str, object]:
        """What is stored, but for versions and times."""
        with Study.open(folder / "study") as study, study.database.read() as connection:
            packed = connection.execute(select(tables.detections)).all()
            log = connection.execute(select(tables.operations.c.body)).scalars().all()
            rows = study.fields().rows
            states = [(job.status, job.total) for job in study.jobs()]
        found = {f"cells {row.field}": _digest(row.packed) for row in packed}
        fields = {
            f"field {row.id}": (row.status, row.error, row.counts, row.model_counts, row.intervals)
            for row in rows
        }
        return {**found, **fields, "log": json.dumps(log), "jobs": states}


WORKS = {"training": Training, "counting": Counting, "serving": Serving}


def _plain(value):
    """A value that compares as a whole."""
    if isinstance(value, torch.Tensor):
        return value.dtype, tuple(value.shape), _digest(value.contiguous().numpy().tobytes())
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value
