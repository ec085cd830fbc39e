"""Config keys that every detector shares, each with its default and its meaning.

A feature with parameters is a node whose ENABLED switches it on, as in Detectron2; a feature
without is one boolean. VALIDATION acts on DATASETS.VAL while training, TEST on every evaluation.
"""

import yaml
from detectron2.config import CfgNode as CN
from detectron2.config import get_cfg
from detectron2.utils.file_io import PathManager

from bccd.projects import import_projects


def get_bccd_cfg() -> CN:
    """Detectron2's default config with this project's keys and those of every detector.

    Returns:
        not frozen. Merging a yaml or ``KEY VALUE`` pairs with an unknown key raises.
    """
    cfg = get_cfg()
    add_bccd_config(cfg)
    for project in import_projects():
        project.add_config(cfg)
    return cfg


def merge_yaml(cfg: CN, path: str) -> None:
    """Merge a yaml file into ``cfg``, as ``cfg.merge_from_file``.

    Args:
        cfg: not frozen.
        path: of the file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: what it holds is no config, or a key has a wrong value.
        KeyError: an unknown key.
    """
    if not PathManager.isfile(path):
        raise FileNotFoundError(f"config file {path}: there is no such file")
    try:
        cfg.merge_from_file(path, allow_unsafe=False)  # its yaml could run code
    except (yaml.YAMLError, UnicodeDecodeError, AttributeError, TypeError) as error:
        reason = " ".join(str(error).split())  # the last two: yacs, of a yaml without keys
        raise ValueError(
            f"{path} is not a config file, which is yaml of keys and values ({reason})"
        ) from error


def add_bccd_config(cfg: CN) -> None:
    """Add the shared keys to ``cfg``, in place."""
    _add_class_config(cfg)
    _add_data_config(cfg)
    _add_augmentation_config(cfg)
    _add_solver_config(cfg)
    _add_validation_config(cfg)
    _add_evaluation_config(cfg)
    _add_counting_config(cfg)
    _add_inference_config(cfg)


def _add_class_config(cfg):
    # Names of the classes that the model detects, in its order; their number becomes NUM_CLASSES of
    # the detector. (): those of the first of DATASETS.TRAIN when training, else of the checkpoint.
    cfg.MODEL.CLASS_NAMES = ()
    # Red, green and blue, 0 to 255, of each class; (): those that the data set states in
    # thing_colors when training, or else a palette that stays apart for the colour-blind.
    cfg.MODEL.CLASS_COLORS = ()


def _add_data_config(cfg):
    # Evaluated every TEST.EVAL_PERIOD iterations while training; chooses the best checkpoint, the
    # early stop and the operating points. DATASETS.TEST is read by --eval-only alone.
    cfg.DATASETS.VAL = ()
    # Python files, or modules, that are imported before the names of data sets are looked for: they
    # can register some. Data is also named by format and path: "coco:FILE.json:IMAGES",
    # "voc:FOLDER", "yolo:data.yaml", with "#val" behind it for a part (docs/own_data.md).
    cfg.DATASETS.IMPORT = ()
    cfg.DATASETS.TRAIN = ("bccd_paper_train",)  # trained on
    cfg.DATASETS.TEST = ("bccd_paper_test",)  # evaluated by --eval-only
    cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS = False  # train on images without a box, too
    cfg.DATALOADER.NUM_WORKERS = 1  # processes that load images, for each model process
    # Decoded training images that are kept, in MiB for each worker; 0: none. BCCD takes 320.
    cfg.DATALOADER.CACHE_MB = 512

    # Resize to exactly (height, width): {MIN,MAX}_SIZE_{TRAIN,TEST} are then not read. ()
    # resizes the shortest edge as Detectron2.
    cfg.INPUT.FIXED_SIZE = ()
    # Height and width of the images that the detector is trained on, before they are resized.
    # demo.py marks the counts of images of a much larger or smaller size. (): unknown, none.
    cfg.INPUT.FIELD_SIZE = (480, 640)


def _add_augmentation_config(cfg):
    # Apply INPUT.CROP to this share of the images; a box is dropped when less than MIN_BOX_AREA of
    # its area is left inside the crop.
    cfg.INPUT.CROP.PROB = 0.5
    cfg.INPUT.CROP.MIN_BOX_AREA = 0.4
    # INPUT.RANDOM_FLIP also takes "both": horizontal and vertical, each with probability 0.5.

    # Rotate by a random multiple of 90 degrees: a smear has no up.
    cfg.INPUT.ROTATE90 = False
    # Photometric changes, each applied with its own probability PROB; strength 0
    # leaves one out, and so does a factor of 1.
    cfg.INPUT.PHOTOMETRIC = CN({"ENABLED": False})
    cfg.INPUT.PHOTOMETRIC.PROB = 0.5
    cfg.INPUT.PHOTOMETRIC.BRIGHTNESS = 0.0  # factor drawn from 1 +- this
    cfg.INPUT.PHOTOMETRIC.SATURATION = 0.0  # factor drawn from 1 +- this
    cfg.INPUT.PHOTOMETRIC.HUE = 0.0  # shift drawn from +- this, in degrees of the colour circle
    cfg.INPUT.PHOTOMETRIC.STAIN = 0.0  # optical density of a channel times 1 +- this, +- this / 4
    cfg.INPUT.PHOTOMETRIC.BLUR_SIGMA = 0.0  # Gaussian blur, sigma drawn from 0 to this, in pixels
    cfg.INPUT.PHOTOMETRIC.NOISE_STD = 0.0  # Gaussian noise, std drawn from 0 to this, of 255
    cfg.INPUT.PHOTOMETRIC.VIGNETTE = 0.0  # share of the light that the corners lose, from 0 to this
    # As a phone's picture: shrunk by a factor from 1 to this, saved as JPEG, enlarged again.
    cfg.INPUT.PHOTOMETRIC.COMPRESSION = 1.0
    # Below, UNTIL is a share of the training: of SOLVER.MAX_ITER * IMS_PER_BATCH * ACCUMULATE
    # samples. Resuming with another MAX_ITER moves it.
    # Until then, the sizes of training images (FIXED_SIZE, {MIN,MAX}_SIZE_TRAIN) times SCALE.
    cfg.INPUT.LOW_RESOLUTION = CN({"ENABLED": False, "SCALE": 0.75, "UNTIL": 0.6})
    # Share of the samples, until then, that show windows of four images around a random point.
    # Boxes follow CROP.MIN_BOX_AREA.
    cfg.INPUT.MOSAIC = CN({"ENABLED": False, "PROB": 0.5, "UNTIL": 0.8})
    # Share of the samples into which 1 to MAX_PASTES cells of other images are pasted, where they
    # cover little; each of CLASSES as often as the others.
    cfg.INPUT.COPY_PASTE = CN({"ENABLED": False, "PROB": 0.5})
    cfg.INPUT.COPY_PASTE.CLASSES = ("WBC", "Platelets")
    cfg.INPUT.COPY_PASTE.MAX_PASTES = 3
    # Classes that count as not annotated in an image without a box of them: it then says nothing
    # about them, and a detector must not learn that they are absent. Here and in all keys that name
    # classes, a class that the model does not have is passed over.
    cfg.INPUT.UNLABELLED_IF_ABSENT = ()


def _add_solver_config(cfg):
    cfg.SOLVER.OPTIMIZER = "SGD"  # SGD, ADAM or ADAMW
    cfg.SOLVER.BACKBONE_MULTIPLIER = 1.0  # learning rate of the backbone, relative to BASE_LR
    # CLIP_GRADIENTS.CLIP_TYPE also takes "full_model": one norm over all parameters.

    cfg.SOLVER.ACCUMULATE = 1  # forward passes of IMS_PER_BATCH images per optimizer step
    cfg.SOLVER.AMP.DTYPE = "float16"  # or bfloat16; a CPU uses bfloat16 or, without it, fp32
    # Exponential moving average of the weights. Where it is on, the averaged weights are the ones
    # that are evaluated and that a checkpoint stores under "model".
    cfg.SOLVER.EMA = CN({"ENABLED": False})
    cfg.SOLVER.EMA.DECAY = 0.999  # share of the old average that is kept at each step
    # The decay grows as (1 + t) / (WARMUP + t) up to DECAY, so that early weights are forgotten.
    cfg.SOLVER.EMA.WARMUP = 10
    cfg.SOLVER.CHECKPOINTS_TO_KEEP = 3  # periodic ones, 0: all; model_best and model_final stay
    # Load a checkpoint whose tensors differ in shape from the model's: those are initialised anew.
    # Off: it is an error, but for a class layer when fine-tuning from other classes.
    cfg.MODEL.REINIT_MISMATCHED = False
    # Training keeps the inputs of the backbone's and the head's stages alone and computes the rest
    # again in the backward pass: less memory, more time (docs/performance.md).
    cfg.MODEL.ACTIVATION_CHECKPOINTING = False

    # A prediction of one of CLASSES with at least MIN_SCORE that overlaps no ground truth by an IoU
    # of more than MAX_IOU is left out of the loss: its label may be missing.
    cfg.MODEL.MISSING_LABELS = CN({"ENABLED": False, "CLASSES": ()})
    cfg.MODEL.MISSING_LABELS.MIN_SCORE = 0.5
    cfg.MODEL.MISSING_LABELS.MAX_IOU = 0.1


def _add_validation_config(cfg):
    # Every TEST.EVAL_PERIOD iterations and at the end of a training, on DATASETS.VAL.
    cfg.VALIDATION = CN()
    cfg.VALIDATION.BEST_METRIC = "bbox/AP"  # larger is better; its best is kept as model_best.pth
    cfg.VALIDATION.LOSSES = True  # also compute the losses, written as val_*
    # Stop after PATIENCE validations in a row without a new best.
    cfg.VALIDATION.EARLY_STOP = CN({"ENABLED": False, "PATIENCE": 5})


def _add_evaluation_config(cfg):
    # 95% intervals, from resampling the images; of --eval-only.
    cfg.TEST.BOOTSTRAP = CN({"ENABLED": True, "SAMPLES": 1000})
    cfg.TEST.OPERATING_POINT_IOU = 0.5  # IoU from which a detection counts as correct
    # EXPECTED_RESULTS are of this data set; "": of the one in DATASETS.TEST. They are compared
    # wherever it is evaluated: after training if it is in DATASETS.VAL, by --eval-only if it is in
    # DATASETS.TEST.
    cfg.TEST.EXPECTED_RESULTS_DATASET = ""
    # Score threshold of each class, in the order of MODEL.CLASS_NAMES, for counting. (): those
    # stored with the checkpoint, chosen on DATASETS.VAL by F1.
    cfg.TEST.OPERATING_POINTS = ()
    # Test-time augmentation, of --eval-only: detect in several views of each image and merge what
    # they show. ENABLED, MAX_SIZE and FLIP (horizontal) are Detectron2's. Every scale is combined
    # with every different view that the flips and quarter turns give together, 8 at most.
    # Shortest edge of each scale; (): the size of testing alone. MAX_SIZE is read with these alone,
    # and not with INPUT.FIXED_SIZE, whose proportions they then have.
    cfg.TEST.AUG.MIN_SIZES = ()
    cfg.TEST.AUG.VERTICAL_FLIP = True  # also upside down
    cfg.TEST.AUG.ROTATE90 = False  # also turned by multiples of 90 degrees
    # wbf: the mean of boxes that agree, scored by the share of views; nms: the best of them.
    cfg.TEST.AUG.MERGE = "wbf"
    cfg.TEST.AUG.MERGE_IOU = 0.55  # IoU from which boxes of a class are one


def _add_counting_config(cfg):
    # Of CellCounter, bccd count and demo.py, which count in fields of any size and magnification.
    cfg.COUNTING = CN()
    # Median diameter of red cells, in pixels of images of INPUT.FIELD_SIZE. Each field is resized
    # to the magnification at which the detector knows cells, and a large one is cut into tiles. 0:
    # unknown, or there are no red cells; every image is then resized as in testing.
    cfg.COUNTING.RED_CELL_DIAMETER = 0.0
    # Median diameter of red cells, in pixels, of the images that will be counted, where it is known
    # (bccd calibrate): each image is looked at with it first, and it is assumed where red cells are
    # too few to measure. 0: COUNTING.RED_CELL_DIAMETER.
    cfg.COUNTING.EXPECTED_DIAMETER = 0.0
    # Score from which a detection counts, by class, chosen so that counts of fields are right on
    # average (tools/choose_counting_thresholds.py). (): the operating points, see TEST.
    cfg.COUNTING.THRESHOLDS = ()
    # What the 95% intervals of counts are made of, numbers by class, see
    # bccd/counting/intervals.py; tools/calibrate_intervals.py chooses them. (): there are none.
    cfg.COUNTING.INTERVALS = CN()
    cfg.COUNTING.INTERVALS.THRESHOLDS = ()  # with which cells counted when the rest was chosen
    # SLOPE and OFFSET of the logit of a score, whose logistic function is a cell's probability.
    cfg.COUNTING.INTERVALS.SLOPE = ()
    cfg.COUNTING.INTERVALS.OFFSET = ()
    # Cells without any detection, in an area of a red cell's diameter squared.
    cfg.COUNTING.INTERVALS.MISSED = ()
    cfg.COUNTING.INTERVALS.UNFORESEEN = ()  # variance beside it, of each cell that counts
    # TOO_FEW and TOO_MANY of the worst laboratory's cells are counted, as shares of the count.
    cfg.COUNTING.INTERVALS.TOO_FEW = ()
    cfg.COUNTING.INTERVALS.TOO_MANY = ()
    cfg.COUNTING.INTERVALS.WIDTH = ()  # in standard deviations of what is left to chance
    cfg.COUNTING.INTERVALS.DATASETS = ()  # names: it was chosen on one of each laboratory


def _add_inference_config(cfg):
    # Of demo.py, --eval-only and choosing thresholds, not of the validation in a training.
    cfg.INFERENCE = CN()
    # Make batch normalisation part of the convolutions: the same detections, to rounding.
    cfg.INFERENCE.FOLD = True
    # On a CPU, keep weights in oneDNN's own order: the same detections, to rounding.
    cfg.INFERENCE.PACK = True
    # torch.compile the backbone, with CUDA graphs on a GPU: the same detections, to rounding. Takes
    # a minute at the start of every process.
    cfg.INFERENCE.COMPILE = False
    # bfloat16, or float16 on a GPU: mixed precision (autocast). A CPU without bfloat16 uses fp32.
    cfg.INFERENCE.DTYPE = "float32"
