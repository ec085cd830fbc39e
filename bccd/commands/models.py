"""List the trained models that come with the project.

For each its name, its classes, the size of its files, what it was trained on, and its accuracy on
the data sets that it was evaluated on: AP (COCO, percent) and the mean absolute counting error.
models/<name>.md is the whole card.
"""

import argparse

from bccd import model_zoo
from bccd.console import DONE, refusing, show

SUMMARY = "list the trained models that come with the project"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options: there are none."""


def run(args: argparse.Namespace) -> int:
    """List the models; returns the exit status."""
    with refusing():
        models = [describe(model_zoo.load_card(name)) for name in model_zoo.list_models()]
    document = {"default": model_zoo.DEFAULT_MODEL, "models": models}
    show(args, document, "\n\n".join(map(format_model, models)))
    return DONE


def describe(card: dict) -> dict:
    """What the command says of a model, from its card."""
    export = card.get("export")
    return {
        "name": card["name"],
        "detector": card["config"]["MODEL"]["META_ARCHITECTURE"],
        "class_names": card["class_names"],
        "bytes": card["bytes"],
        "exported_bytes": export["bytes"] if export else None,
        "trained_on": card["training"]["data"]["train"],
        "accuracy": {
            dataset: {
                "images": found["images"],
                "AP": found["bbox"]["AP"],
                "AP75": found["bbox"]["AP75"],
                "MAE": found["count"]["MAE"],
            }
            for dataset, found in card["metrics"].items()
        },
    }


def format_model(model: dict) -> str:
    """Lines about one model of :func:`describe`."""
    exported = model["exported_bytes"]
    sizes = f"{model['bytes'] / 1e6:.1f} MB"
    sizes += f", as ONNX {exported / 1e6:.1f} MB" if exported else ", not exported"
    default = " (the default)" if model["name"] == model_zoo.DEFAULT_MODEL else ""
    lines = [
        f"{model['name']}{default}",
        f"  detector    {model['detector']}, {sizes}",
        f"  classes     {', '.join(model['class_names'])}",
        f"  trained on  {', '.join(model['trained_on'])}",
    ]
    for dataset, found in model["accuracy"].items():
        lines.append(
            f"  {dataset}: AP {found['AP']:.1f}, AP75 {found['AP75']:.1f}, counting error "
            f"{found['MAE']:.2f} cells of a class per image, {found['images']} images"
        )
    return "\n".join(lines)
