"""Checkpoints that survive a crash while they are written, and loading that explains itself.

A file ``<name>.pth`` holds ``model``, the weights to deploy (averaged where SOLVER.EMA is on),
beside what a resumed training needs: ``raw_model`` (the optimizer's weights where they are others),
``ema``, ``optimizer``, ``scheduler``, ``grad_scaler``, ``validation``, ``rng`` and ``iteration``;
and, once chosen on validation, ``operating_points``. A published ``<name>.safetensors`` holds
``model`` and ``operating_points``. Loading a file of any kind runs no code from it.
"""

import os
import pickle
from pathlib import Path

import torch
from detectron2.checkpoint import DetectionCheckpointer
from detectron2.utils.file_io import PathManager

import bccd.engine.shipped_models  # noqa: F401 (registers bccd://)
from bccd.engine import weights_file
from bccd.engine.classes import count_model_classes, describe_mismatches
from bccd.engine.restricted_pickle import read_pickle


def write_atomically(path, write):
    """Write ``path`` so that a crash at any moment leaves the old file or the new one, whole.

    Args:
        path (str or Path): its folder must exist.
        write (callable): writes to the binary file that it is given.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with open(temporary, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the renaming itself
    finally:
        os.close(folder)


def weights_to_evaluate(cfg, *, resume=False):
    """Name of the checkpoint: MODEL.WEIGHTS, or with ``resume`` the last of OUTPUT_DIR if any."""
    last = Path(cfg.OUTPUT_DIR, "last_checkpoint")
    if resume and last.is_file():
        return str(last.with_name(last.read_text().strip()))
    return cfg.MODEL.WEIGHTS


def read_checkpoint(path):
    """Read a checkpoint onto the CPU without running code that it may hold.

    Args:
        path (str or Path): ``.safetensors``, a ``.pkl`` of the model zoos of Detectron2 and Caffe2,
            or else a file of ``torch.save``; also a URL that Detectron2 knows, or ``bccd://<name>``.

    Returns:
        dict: ``model`` (str -> tensor or array) beside whatever else the file holds.

    Raises:
        ValueError: the file is damaged, or holds more than tensors, arrays and plain values.
    """
    path = PathManager.get_local_path(str(path))
    if path.endswith(weights_file.SUFFIX):
        return weights_file.read_weights(path)
    loaded = read_pickle(path) if path.endswith(".pkl") else _read_torch(path)
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


def _read_torch(path):
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
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


class BCCDCheckpointer(DetectionCheckpointer):
    """Detectron2's checkpointer with atomic writes, strict loading and averaged weights."""

    def __init__(
        self,
        model,
        save_dir="",
        *,
        ema=None,
        reinit_mismatched=False,
        require_all=False,
        save_to_disk=None,
        **checkpointables,
    ):
        """Args:
        model (nn.Module): possibly wrapped for distributed training.
        save_dir (str): folder of the checkpoints.
        ema (ModelEMA or None): its weights are saved as ``model``.
        reinit_mismatched (bool): leave a tensor of another shape as it was initialised.
        require_all (bool): a weight that the file lacks is an error, not a warning.
        save_to_disk (bool or None): None: in the main process only.
        checkpointables: objects with ``state_dict`` and ``load_state_dict``, by key.
        """
        if ema is not None:
            checkpointables["ema"] = ema
        super().__init__(model, save_dir, save_to_disk=save_to_disk, **checkpointables)
        self.ema = ema
        self.reinit_mismatched = reinit_mismatched
        self.require_all = require_all

    def save(self, name, *, tag=True, **extra):
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
        data = {**weights, **states, **extra}
        file = Path(self.save_dir) / f"{name}.pth"
        self.logger.info("Saving checkpoint to %s", file)
        write_atomically(file, lambda stream: torch.save(data, stream))
        if tag:
            self.tag_last_checkpoint(file.name)

    def tag_last_checkpoint(self, last_filename_basename):
        """Name, in ``last_checkpoint``, the file to resume from; see :meth:`save`."""
        write_atomically(
            Path(self.save_dir) / "last_checkpoint",
            lambda stream: stream.write(last_filename_basename.encode()),
        )

    def load(self, path, checkpointables=None):
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
            self._check_exists(path)
        try:
            rest = super().load(path, checkpointables)
        except ValueError as error:
            raise ValueError(f"loading {path}: {error}") from error
        raw_weights = rest.pop("raw_model", None)
        if self.ema is not None:
            self.ema.module.load_state_dict(self.model.state_dict())
        resumes = checkpointables is None and "optimizer" in self.checkpointables
        if raw_weights is not None and resumes:
            self.model.load_state_dict(raw_weights)
        return rest

    def _check_exists(self, path):
        try:
            found = os.path.isfile(self.path_manager.get_local_path(path.split("?")[0]))
            reason = "there is no such file"
        except ValueError:  # there, but not what it should be
            raise
        except Exception as error:  # of the network, or of a scheme nobody handles
            found, reason = False, str(error)
        if not found:
            raise FileNotFoundError(
                f"checkpoint {path}: {reason}. Check MODEL.WEIGHTS (with --resume: the file named "
                f"in {os.path.join(self.save_dir, 'last_checkpoint')})"
            )

    def _load_file(self, filename):
        return read_checkpoint(filename)

    def _load_model(self, checkpoint):
        incompatible = super()._load_model(checkpoint)
        if incompatible.incorrect_shapes and not self.reinit_mismatched:
            lines = describe_mismatches(
                incompatible.incorrect_shapes, count_model_classes(self.model)
            )
            raise ValueError(
                f"the checkpoint does not fit the model:\n{lines}\nUse the config that it was "
                "trained with, or set MODEL.REINIT_MISMATCHED True to initialise these anew"
            )
        if incompatible.missing_keys and self.require_all:
            raise ValueError(
                "the checkpoint lacks weights of the model: "
                f"{', '.join(sorted(incompatible.missing_keys))}. Use the config that it was "
                "trained with"
            )
        return incompatible
