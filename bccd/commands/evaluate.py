"""Measure a detector on annotated images: COCO's AP, and how far its counts are off.

Examples:
    bccd evaluate --dataset bccd_paper_test -o output/evaluated
    bccd evaluate --dataset coco:annotations.json:images -o evaluated --model ssd_lite.onnx
    bccd evaluate --dataset voc:my_images#test -o evaluated --model output/lite/model_best.pth

DATASET is a registered name, or data of your own by format and path (see bccd check). The numbers
are those of train_net.py --eval-only, at the score thresholds that are stored with the model. DIR
then holds inference/evaluation.json, the counts of each image and the detections.
"""

import argparse
from itertools import chain
from pathlib import Path

from bccd.commands._model import add_model_options, model_choice, require_pytorch
from bccd.console import DONE, refusing, show

SUMMARY = "measure a detector on annotated images"
METRICS = {"bbox": ("AP", "AP50", "AP75"), "count": ("MAE", "bias")}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--dataset", required=True, help="registered name, or FORMAT:PATH")
    parser.add_argument(
        "-o", "--output", required=True, type=Path, metavar="DIR", help="folder for the results"
    )
    parser.add_argument(
        "--bootstrap-samples",
        type=int,
        default=1000,
        metavar="N",
        help="resamplings of the images for the 95%% intervals; 0: none; default %(default)s",
    )
    add_model_options(parser)


def run(args: argparse.Namespace) -> int:
    """Evaluate; returns the exit status."""
    with refusing():
        require_pytorch()
        from detectron2.utils.logger import setup_logger

        from bccd.counting.load import with_runtime
        from bccd.data.records import load_records
        from bccd.data.sources.by_path import require_registered
        from bccd.data.sources.catalog import register_datasets

        setup_logger(name="bccd")
        register_datasets()
        choice = with_runtime(model_choice(args))
        prepare = _prepare_exported if choice.is_exported else _prepare_checkpoint
        evaluate = prepare(choice, args)
        require_registered(args.dataset)
        load_records(args.dataset, need_boxes=True)
        args.output.mkdir(parents=True, exist_ok=True)
    results = evaluate()
    folder = args.output / "inference"
    document = {
        "model": choice.model or choice.config_file or choice.shipped_name,
        "runtime": choice.runtime,
        "dataset": args.dataset,
        "results": {key: results[key] for key in (*METRICS, "time")},
        "folder": str(folder),
    }
    numbers = [
        f"{name} {results[task][name]:.2f}"
        for task, names in METRICS.items()
        for name in names
        if name in results[task]
    ]
    show(args, document, f"{args.dataset}: {', '.join(numbers)}. The results are in {folder}")
    return DONE


def _prepare_exported(choice, args):
    """A function without arguments that evaluates an exported file."""
    from functools import partial

    from bccd.benchmark.exported import evaluate_exported
    from bccd.counting.load import load_predictor

    predictor = load_predictor(choice)
    folder = args.output / "inference"
    return partial(evaluate_exported, predictor, args.dataset, folder, args.bootstrap_samples)


def _prepare_checkpoint(choice, args):
    """A function without arguments that evaluates a checkpoint in PyTorch."""
    from functools import partial

    from bccd.counting.load import build_cfg
    from bccd.engine.allocator import keep_freed_memory
    from bccd.engine.checkpoint import with_checkpoint_classes
    from bccd.engine.evaluate import evaluate
    from bccd.engine.setup import check_config
    from bccd.engine.trained_detector import load_for_inference

    cfg = with_checkpoint_classes(build_cfg(choice))
    cfg.defrost()
    changes = {
        "DATASETS.TEST": (args.dataset,),
        "OUTPUT_DIR": str(args.output),
        "TEST.BOOTSTRAP.ENABLED": args.bootstrap_samples > 0,
        "TEST.BOOTSTRAP.SAMPLES": args.bootstrap_samples or cfg.TEST.BOOTSTRAP.SAMPLES,
        "TEST.EXPECTED_RESULTS": [],  # of the training
    }
    cfg.merge_from_list(list(chain.from_iterable(changes.items())))
    cfg.freeze()
    check_config(cfg, eval_only=True)
    load_for_inference(cfg)  # its errors are the user's; those of the evaluation are not
    keep_freed_memory()
    return partial(evaluate, cfg)
