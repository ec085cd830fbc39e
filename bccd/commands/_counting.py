"""The options of counting that ``bccd count`` and ``demo.py`` have in common."""

import argparse

from bccd.console import number_of_processes
from bccd.counting.border import BORDERS


def add_counting_options(parser: argparse.ArgumentParser) -> None:
    """Add the options by which images are counted, and what is written."""
    parser.add_argument(
        "--red-cell-diameter",
        type=float,
        metavar="PIXELS",
        help="diameter of the red cells in the images, in pixels; default: of the size of a pixel "
        "where it is known, or else measured in each image",
    )
    parser.add_argument(
        "--micrometres-per-pixel",
        type=float,
        metavar="UM",
        help="size of a pixel; default: as the file states it (OME-TIFF, TIFF, slides), if it does",
    )
    parser.add_argument(
        "--region",
        metavar="PATH",
        help="where cells count: a GeoJSON file (as QuPath writes it) or a mask image for all "
        "images, a folder with one for each of the image's name, or vertices 'x,y x,y x,y'",
    )
    parser.add_argument(
        "--border",
        choices=BORDERS,
        default="all",
        help="cells that the border of an image cuts: all count; half, those at the upper and the "
        "left edge, so that counts of neighbouring fields add up; or none (inside); default all",
    )
    parser.add_argument(
        "--no-pictures", action="store_true", help="write counts and detections only: faster"
    )
    parser.add_argument(
        "--num-gpus",
        type=number_of_processes,
        default=1,
        metavar="N",
        help="processes that share the images: one on each of N GPUs, or N on the CPU",
    )


def counting_options(args: argparse.Namespace) -> dict:
    """These options as arguments of ``CountOptions``."""
    return {
        "red_cell_diameter": args.red_cell_diameter,
        "micrometres_per_pixel": args.micrometres_per_pixel,
        "region": args.region,
        "border": args.border,
        "pictures": not args.no_pictures,
        "num_gpus": args.num_gpus,
    }
