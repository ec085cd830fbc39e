"""Broken and hostile files of models: checkpoints, weights, exported files, configs."""

import itertools
import json
import os
import pickle
import shutil
import zipfile
from pathlib import Path
from random import Random

import numpy as np
import onnx
import torch
from safetensors.torch import save
from torch import nn

from bccd.config import get_bccd_cfg
from bccd.counting.counter import CellCounter
from bccd.engine.checkpoint import BCCDCheckpointer, with_checkpoint_classes
from bccd.engine.setup import merge
from bccd.export.metadata import KEY
from bccd.export.runtime import ExportedPredictor
from bccd.model_zoo import MODELS, load_card
from bccd.reliability.mutations import JUNK, mutate_bytes, mutate_json, mutate_lines
from bccd.reliability.run import CaseError, check_sentence

_MODEL = "ssd_lite"
_RAN = "the file ran code"
_EXPORTED = 0.1  # share of the cases: loading takes as long as all the rest
_CLASSES = ["RBC", "WBC", "Platelets"]
_POINTS = {name: {"threshold": 0.5, "precision": 0.9, "recall": 0.8} for name in _CLASSES}


class _Code:
    """Pickled, it is a call of a function that makes a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __reduce__(self) -> tuple:
        """What a pickle of it calls."""
        return os.mkdir, (str(self._folder),)


class CheckpointFiles:
    """A file of a model of any kind, changed, or with code in it, and loaded as commands do.

    A case fails where loading raises what is no sentence about the file, or where code of the file
    ran. Not among them are .pt2 packages: they are compiled code, for those who trust it.
    """

    def __init__(self) -> None:
        """Start nothing yet."""
        self._numbers = itertools.count()

    def prepare(self, folder: Path) -> None:
        """Read what the files are made of."""
        self._weights = _tiny_model().state_dict()
        self._onnx = (MODELS / f"{_MODEL}.onnx").read_bytes()
        self._config = json.dumps(load_card(_MODEL)["config"])  # which is yaml, too

    def run_case(self, random: Random, folder: Path) -> str:
        """Write one file and load it; returns what became of it."""
        case = folder / f"case {next(self._numbers)}"
        case.mkdir()
        try:
            kinds = (self._torch, self._torch, self._safetensors, self._pickle, self._yaml)
            write = self._exported if random.random() < _EXPORTED else random.choice(kinds)
            path, load = write(case, random)
            outcome = "read"
            try:
                load(path)
            except (OSError, ValueError, ImportError) as error:  # as bccd.console.refusing
                check_sentence(str(error), (path.name, "COUNTING.INTERVALS"))
                outcome = "refused"
            if (case / _RAN).exists():
                raise CaseError(_RAN)
            return f"{write.__name__.strip('_')}: {outcome}"
        finally:
            shutil.rmtree(case, ignore_errors=True)

    def close(self) -> None:
        """Nothing was started."""

    def _content(self, folder, random):
        """What a checkpoint holds, with something wrong in it."""
        content = {
            "model": dict(self._weights),
            "operating_points": json.loads(json.dumps(_POINTS)),
            "class_names": list(_CLASSES),
            "iteration": 5,
        }
        values = (
            *JUNK,
            _Code(folder / _RAN),
            torch.zeros(3),
            [_Code(folder / _RAN)],
            torch.nn.ReLU,
        )
        where = random.choice((content, content["model"], content["operating_points"]))
        key = random.choice(sorted(where))
        kind = random.randrange(4)
        if kind == 0:
            del where[key]
        elif kind == 1:
            where[random.choice((key, 1, None, "x"))] = random.choice(values)
        elif kind == 2:
            where[key] = torch.zeros(random.choice(((), (0,), (2, 2), (4, 3, 3, 3))))
        return content

    def _torch(self, folder, random):
        path = folder / "model.pth"
        content = self._content(folder, random)
        is_zip = random.random() < 0.8
        torch.save(content, path, _use_new_zipfile_serialization=is_zip)
        if is_zip and random.random() < 0.2:
            _replace_pickle(path, pickle.dumps(_Code(folder / _RAN), random.randrange(5)))
        return _perhaps_changed(path, random), self._load

    def _safetensors(self, folder, random):
        path = folder / "model.safetensors"
        weights = {f"{k}": v for k, v in self._weights.items()}
        metadata = {"operating_points": json.dumps(_POINTS), "class_names": json.dumps(_CLASSES)}
        key = random.choice(sorted(metadata))
        metadata[key] = mutate_json(metadata[key], random)
        if random.random() < 0.2:
            metadata[key] = metadata[key][:-1]
        path.write_bytes(save(weights, metadata))
        return _perhaps_changed(path, random), self._load

    def _pickle(self, folder, random):
        path = folder / "model.pkl"
        content = {name: np.asarray(value) for name, value in self._weights.items()}
        if random.random() < 0.5:
            content[random.choice(sorted(content))] = _Code(folder / _RAN)
        wrapped = random.choice((content, {"model": content}, {"blobs": content}, [content]))
        path.write_bytes(pickle.dumps(wrapped, random.randrange(6)))
        return _perhaps_changed(path, random), self._load

    def _yaml(self, folder, random):
        path = folder / "config.yaml"
        text = mutate_json(self._config, random)
        if random.random() < 0.3:
            text = mutate_lines(text, random)
        if random.random() < 0.2:
            call = f"!!python/object/apply:os.mkdir ['{folder / _RAN}']"
            text = text.replace('"cpu"', call).replace("0.5", call, 1)
        path.write_text(text, encoding="utf-8", errors="replace")
        return _perhaps_changed(path, random), lambda path: merge(get_bccd_cfg(), str(path), [])

    def _exported(self, folder, random):
        path = folder / f"{_MODEL}.onnx"
        os.link(MODELS / f"{_MODEL}.safetensors", folder / f"{_MODEL}.safetensors")
        if random.random() < 0.5:
            model = onnx.load_from_string(self._onnx)
            for entry in model.metadata_props:
                if entry.key == KEY:
                    entry.value = mutate_json(entry.value, random)
            path.write_bytes(model.SerializeToString())
        else:
            path.write_bytes(mutate_bytes(self._onnx, random))
        return path, lambda path: CellCounter.of(ExportedPredictor("onnx", path)).check()

    def _load(self, path):
        cfg = get_bccd_cfg()
        cfg.MODEL.META_ARCHITECTURE, cfg.MODEL.WEIGHTS = "SSD", str(path)
        with_checkpoint_classes(cfg)
        BCCDCheckpointer(_tiny_model(), require_all=True).load(str(path))


def _tiny_model() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 3, 1))


def _replace_pickle(path: Path, content: bytes) -> None:
    """Put another pickle in the place of the one in a file of ``torch.save``."""
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, old in entries.items():
            archive.writestr(name, content if name.endswith("data.pkl") else old)


def _perhaps_changed(path: Path, random: Random) -> Path:
    """Change bytes of a file in half of the cases."""
    if random.random() < 0.5:
        path.write_bytes(mutate_bytes(path.read_bytes(), random))
    return path
