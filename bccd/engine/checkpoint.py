"""Checkpoint files: written atomically, and read without running code from them.

A file ``<name>.pth`` holds ``model``, the weights to deploy (averaged where SOLVER.EMA is on),
beside what a resumed training needs: ``raw_model`` (the optimizer's weights where they are others),
``ema``, ``optimizer``, ``scheduler``, ``grad_scaler``, ``validation``, ``rng`` and ``iteration``;
and, once chosen on validation, ``operating_points``; and, by any model whose classes are known,
``class_names`` and, where they are not the usual ones, ``class_colors``. A published
``<name>.safetensors`` holds ``model``, ``operating_points`` and the classes. Loading a file of any
kind runs no code from it.
"""

import os
import pickle
import zipfile
from operator import attrgetter
from pathlib import Path

import torch
from detectron2.checkpoint import DetectionCheckpointer
from detectron2.config import CfgNode
from detectron2.utils.file_io import PathManager
from torch import nn

import bccd.engine.shipped_models  # noqa: F401 (registers bccd://)
from bccd.atomic_files import write_atomically
from bccd.engine import weights_file
from bccd.engine.checkpoint_classes import (
    CheckpointClasses,
    check_about_classes,
    class_names_in,
    describe_mismatches,
)
from bccd.engine.classes import count_model_classes, num_classes_key, set_classes
from bccd.engine.ema import ModelEMA
from bccd.engine.restricted_pickle import read_pickle


def weights_to_evaluate(cfg: CfgNode, *, resume: bool = False) -> str:
    """Name of the checkpoint: MODEL.WEIGHTS, or with ``resume`` the last of OUTPUT_DIR if any."""
    last = Path(cfg.OUTPUT_DIR, "last_checkpoint")
    if resume and last.is_file():
        return str(last.with_name(last.read_text().strip()))
    return cfg.MODEL.WEIGHTS


def with_checkpoint_classes(cfg: CfgNode, *, resume: bool = False) -> CfgNode:
    """A copy of ``cfg``, not frozen, whose model has the classes of the checkpoint to evaluate.

    MODEL.CLASS_NAMES wins where it is set; loading the checkpoint compares the two. Where neither
    names any class, the config stays as it is.

    Args:
        cfg (CfgNode): MODEL.WEIGHTS names the checkpoint.
        resume (bool): take the last checkpoint of OUTPUT_DIR, if there is one, instead.

    Raises:
        FileNotFoundError, ValueError: see :meth:`BCCDCheckpointer.load`.
    """
    cfg = cfg.clone()
    cfg.defrost()
    names, colors = cfg.MODEL.CLASS_NAMES, cfg.MODEL.CLASS_COLORS
    path = weights_to_evaluate(cfg, resume=resume)
    if not names and path:
        check_exists(path, cfg.OUTPUT_DIR)
        checkpoint = read_checkpoint(path, mmap=True)
        key = num_classes_key(cfg)
        names = class_names_in(checkpoint, attrgetter(key)(cfg) if key else None)
        colors = colors or checkpoint.get("class_colors")
    if names:
        set_classes(cfg, names, colors)
    return cfg


def read_checkpoint(path: str | Path, *, mmap: bool = False) -> dict:
    """Read a checkpoint onto the CPU without running code that it may hold.

    Args:
        path (str or Path): ``.safetensors``, a ``.pkl`` of the model zoos of Detectron2 and Caffe2,
            or else a file of ``torch.save``; also a URL that Detectron2 knows, or ``bccd://<name>``.
        mmap (bool): leave the tensors in the file until they are used, where it can.

    Returns:
        dict: ``model`` (str -> tensor or array) beside whatever else the file holds.

    Raises:
        ValueError: the file is damaged, or holds more than tensors, arrays and plain values.
    """
    path = PathManager.get_local_path(str(path))
    content = _read_any(path, mmap)
    check_about_classes(content, path)
    return content


def _read_any(path, mmap):
    if path.endswith(weights_file.SUFFIX):
        return weights_file.read_weights(path)
    loaded = read_pickle(path) if path.endswith(".pkl") else _read_torch(path, mmap)
    if not isinstance(loaded, dict):
        raise ValueError(f"{path} holds no weights by name, but a {type(loaded).__name__}")
    if "model" in loaded:
        return loaded
    if path.endswith(".pkl"):  # Caffe2's: ImageNet models as they are, detectors under "blobs"
        weights = loaded.get("blobs", loaded)
        weights = {k: v for k, v in weights.items() if not k.endswith("_momentum")}
        return {"model": weights, "__author__": "Caffe2", "matching_heuristics": True}
    if "model_state" in loaded:  # pycls
        return {"model": loaded["model_state"], "matching_heuristics": True}
    return {"model": loaded}


def _read_torch(path, mmap):
    mmap = mmap and zipfile.is_zipfile(path)  # PyTorch's older files cannot be mapped
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except Exception as error:  # damaged files raise many types
        if isinstance(error, pickle.UnpicklingError) and "GLOBAL" in str(error):
            raise ValueError(
                f"{path} holds Python objects beside tensors, which can run code when loaded. If "
                "you trust it, convert it once: torch.save({'model': torch.load(path, "
                "weights_only=False)['model']}, new_path)"
            ) from error
        # PyTorch explains to programmers how to load any pickle, which is the wrong advice here.
        is_advice = isinstance(error, pickle.UnpicklingError)
        first_line = str(error).partition("\n")[0]
        reason = "" if is_advice else f" ({type(error).__name__}: {first_line})"
        raise ValueError(
            f"{path} cannot be read as a checkpoint; it is damaged or not one. Download or save it "
            f"again, or use another.{reason}"
        ) from error


def check_exists(path: str, folder: str = "") -> None:
    """Raise FileNotFoundError where there is no checkpoint ``path``.

    Args:
        path (str): see :func:`read_checkpoint`.
        folder (str): OUTPUT_DIR, for the message.
    """
    try:
        found = os.path.isfile(PathManager.get_local_path(path.split("?")[0]))
        reason = "there is no such file"
    except ValueError:  # there, but not what it should be
        raise
    except Exception as error:  # of the network, or of a scheme nobody handles
        found, reason = False, str(error)
    if not found:
        raise FileNotFoundError(
            f"checkpoint {path}: {reason}. Check MODEL.WEIGHTS (with --resume: the file named in "
            f"{os.path.join(folder, 'last_checkpoint')})"
        )


class BCCDCheckpointer(DetectionCheckpointer):
    """Detectron2's checkpointer with atomic writes, strict loading and averaged weights."""

    def __init__(
        self,
        model: nn.Module,
        save_dir: str = "",
        *,
        ema: ModelEMA | None = None,
        reinit_mismatched: bool = False,
        require_all: bool = False,
        classes: CheckpointClasses | None = None,
        save_to_disk: bool | None = None,
        **checkpointables: object,
    ) -> None:
        """Args:
        model (nn.Module): possibly wrapped for distributed training.
        save_dir (str): folder of the checkpoints.
        ema (ModelEMA or None): its weights are saved as ``model``.
        reinit_mismatched (bool): leave a tensor of another shape as it was initialised.
        require_all (bool): a weight that the file lacks is an error, not a warning, and so are
            other classes.
        classes (CheckpointClasses or None): of the model, to save and to compare with the file's.
            A training that starts from a file of other classes initialises the layers of the
            classes anew; to resume or to evaluate one is an error. None: unknown.
        save_to_disk (bool or None): None: in the main process only.
        checkpointables: objects with ``state_dict`` and ``load_state_dict``, by key.
        """
        if ema is not None:
            checkpointables["ema"] = ema
        super().__init__(model, save_dir, save_to_disk=save_to_disk, **checkpointables)
        self.ema = ema
        self.reinit_mismatched = reinit_mismatched
        self.require_all = require_all
        self.classes = classes
        self._classes_must_fit = require_all

    def save(self, name: str, *, tag: bool = True, **extra: object) -> None:
        """Write ``<name>.pth``; every process must call this.

        Args:
            name (str): without suffix.
            tag (bool): make it the one that ``--resume`` continues from.
            extra: further plain values and tensors, by key.
        """
        # In every process: some states are gathered from all of them.
        states = {key: item.state_dict() for key, item in self.checkpointables.items()}
        if not self.save_dir or not self.save_to_disk:
            return
        weights = {"model": self.model.state_dict()}
        if self.ema is not None:
            weights = {"model": self.ema.module.state_dict(), "raw_model": weights["model"]}
        classes = self.classes.state() if self.classes else {}
        data = {**weights, **states, **classes, **extra}
        file = Path(self.save_dir) / f"{name}.pth"
        self.logger.info("Saving checkpoint to %s", file)
        write_atomically(file, lambda stream: torch.save(data, stream))
        if tag:
            self.tag_last_checkpoint(file.name)

    def tag_last_checkpoint(self, last_filename_basename: str) -> None:
        """Name, in ``last_checkpoint``, the file to resume from; see :meth:`save`."""
        write_atomically(
            Path(self.save_dir) / "last_checkpoint",
            lambda stream: stream.write(last_filename_basename.encode()),
        )

    def load(self, path: str, checkpointables: list[str] | None = None) -> dict:
        """Load weights and, unless ``checkpointables`` names others, all states.

        Args:
            path (str): see :func:`read_checkpoint`; empty loads nothing.
            checkpointables (list[str] or None): keys of the states to load; None: all.

        Returns:
            dict: what the file holds beyond that.

        Raises:
            FileNotFoundError: no such file, or it cannot be downloaded.
            ValueError: the file cannot be read or does not fit the model.
        """
        if path:
            check_exists(path, self.save_dir)
        resumes = checkpointables is None and "optimizer" in self.checkpointables
        self._classes_must_fit = self.require_all or resumes
        try:
            rest = super().load(path, checkpointables)
        except ValueError as error:
            raise ValueError(f"loading {path}: {error}") from error
        raw_weights = rest.pop("raw_model", None)
        if self.ema is not None:
            self.ema.module.load_state_dict(self.model.state_dict())
        if raw_weights is not None and resumes:
            self.model.load_state_dict(raw_weights)
        return rest

    def _load_file(self, filename):
        return read_checkpoint(filename)

    def _load_model(self, checkpoint):
        classes = self.classes
        if classes and self._classes_must_fit:
            classes.require_same(checkpoint)
        # Of the same shape, rows that mean other classes would be loaded.
        by_class = (
            classes.find_tensors(checkpoint) if classes and classes.differ(checkpoint) else set()
        )
        state = self.model.state_dict()
        fresh = {name: state[name].clone() for name in by_class}
        incompatible = super()._load_model(checkpoint)
        wrong = {key for key, *_ in incompatible.incorrect_shapes}
        if wrong and classes and not self._classes_must_fit:
            by_class = by_class or classes.find_tensors(checkpoint)
        self._check_shapes([e for e in incompatible.incorrect_shapes if e[0] not in by_class])
        self.model.load_state_dict(fresh, strict=False)
        loaded = state.keys() - set(incompatible.missing_keys)
        if anew := by_class & (wrong | loaded):
            shapes = incompatible.incorrect_shapes
            self.logger.warning(classes.describe_change(checkpoint, shapes, anew))
        if incompatible.missing_keys and self.require_all:
            raise ValueError(
                "the checkpoint lacks weights of the model: "
                f"{', '.join(sorted(incompatible.missing_keys))}. Use the config that it was "
                "trained with"
            )
        return incompatible

    def _check_shapes(self, incorrect_shapes):
        if incorrect_shapes and not self.reinit_mismatched:
            lines = describe_mismatches(incorrect_shapes, count_model_classes(self.model))
            raise ValueError(
                f"the checkpoint does not fit the model:\n{lines}\nUse the config that it was "
                "trained with, or set MODEL.REINIT_MISMATCHED True to initialise these anew"
            )
