"""Names under which the data sets are known to Detectron2."""

import os
from functools import partial
from pathlib import Path

from detectron2.data import DatasetCatalog, MetadataCatalog

from bccd.data.bccd_classes import CLASS_NAMES
from bccd.data.classes import class_colors
from bccd.data.formats.coco import load_coco
from bccd.data.formats.coco_folder import ROBOFLOW_FILE, ROBOFLOW_PARTS
from bccd.data.formats.voc_folder import load_voc
from bccd.data.sources import built_in  # noqa: F401  (before anything is registered here)
from bccd.data.sources.by_path import require_registered
from bccd.data.sources.folds import fold_parts, read_fold_part
from bccd.data.sources.splits import read_split, split_names
from bccd.data.sources.txl_pbc import part_of
from bccd.data.sources.user_modules import import_user_modules

# Before the name of a data set: the same images, with completed labels.
COMPLETED = "completed_"
# name: (images, seed), 640x480 pixels each
_SMEARS = {"smears_train": (200, 1), "smears_val": (50, 2), "smears_test": (50, 3)}


def dataset_root() -> Path:
    """Folder that holds the data sets: ``$DETECTRON2_DATASETS``, or ``datasets`` here."""
    return Path(os.environ.get("DETECTRON2_DATASETS", "datasets"))


def completed_labels_path(name: str) -> Path:
    """COCO JSON of ``completed_<name>``, which ``tools/complete_labels.py`` writes."""
    return dataset_root() / "completed" / f"{name}.json"


def register_datasets(*names: str) -> None:
    """Make all data sets known to ``DatasetCatalog`` and ``MetadataCatalog``.

    May be called again. Nothing is read before ``DatasetCatalog.get``, which asks
    :func:`dataset_root` then. The user's modules in ``$BCCD_IMPORT`` are imported.

    Args:
        names: data sets that must be known then; those by format and path
            (:mod:`.by_path`) are registered, for which their annotations are read.

    Raises:
        FileNotFoundError, ValueError: one of ``names`` is unknown or cannot be used; or see
            :func:`.user_modules.import_user_modules`.
    """
    for name, load in _loaders().items():
        if name not in DatasetCatalog:
            DatasetCatalog.register(name, load)
        MetadataCatalog.get(name).set(
            thing_classes=list(CLASS_NAMES),
            thing_colors=list(class_colors(CLASS_NAMES)),
            # ground truth and results in COCO's form number the classes from 1
            thing_dataset_id_to_contiguous_id={i + 1: i for i in range(len(CLASS_NAMES))},
            evaluator_type="coco",
        )
        if name.startswith("txl_pbc_raabin"):
            # 2 of its 63 validation images have a platelet marked; at least 16 show one.
            MetadataCatalog.get(name).set(incomplete_classes=("Platelets",))
    import_user_modules()
    for name in names:
        require_registered(name)


def _loaders():
    lists = dict.fromkeys(split_names(), read_split) | dict.fromkeys(fold_parts(), read_fold_part)
    loaders = {f"bccd_{name}": partial(_load_bccd, read, name) for name, read in lists.items()}
    for part in ROBOFLOW_PARTS:
        folder = f"BCCD-Roboflow/{part}"
        loaders[f"bccd_roboflow_{part}"] = partial(_load_coco, f"{folder}/{ROBOFLOW_FILE}", folder)
    for laboratory in ("pbc", "raabin"):
        load = partial(_load_coco, f"TXL-PBC/{laboratory}.json", "TXL-PBC/images")
        loaders[f"txl_pbc_{laboratory}"] = load
        for part in ("train", "val", "test"):
            loaders[f"txl_pbc_{laboratory}_{part}"] = partial(_load_part, load, part)
    loaders["txl_pbc_bccd_relabelled"] = partial(
        _load_coco, "TXL-PBC/bccd_relabelled.json", "BCCD/JPEGImages"
    )
    for split in split_names():
        loaders[f"bccd_relabelled_{split}"] = partial(_load_relabelled, split)
    completed = {f"{COMPLETED}{name}": partial(_load_completed, name) for name in loaders}
    loaders |= completed
    for name, (count, seed) in _SMEARS.items():
        loaders[name] = partial(_load_smears, count, seed)
    return loaders


def _load_bccd(read, name):
    folder = dataset_root() / "BCCD"
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{folder} is not there. Get BCCD with `python datasets/prepare_bccd.py`, or set "
            "DETECTRON2_DATASETS to the folder that holds BCCD."
        )
    return load_voc(folder, CLASS_NAMES, read(name))


def _load_coco(json_file, image_root):
    return load_coco(dataset_root() / json_file, dataset_root() / image_root, CLASS_NAMES)


def _load_part(load, part):
    return [record for record in load() if part_of(Path(record["file_name"]).name) == part]


def _load_relabelled(split):
    """Those images of a split that the second annotation has."""
    names = set(read_split(split))
    records = _load_coco("TXL-PBC/bccd_relabelled.json", "BCCD/JPEGImages")
    return [record for record in records if Path(record["file_name"]).stem in names]


def _load_completed(name):
    path = completed_labels_path(name)
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is not there; `python tools/complete_labels.py --dataset {name}` writes it"
        )
    return load_coco(path, dataset_root(), CLASS_NAMES)


def _load_smears(count, seed):
    from bccd.data.synthetic import load_smears  # the generator is needed by these names alone

    return load_smears(count, seed, height=480, width=640)
