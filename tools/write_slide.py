#!/usr/bin/env python
"""Write a synthetic slide: smears side by side in a pyramidal TIFF file, and their marks.

    python tools/write_slide.py slide.tif --rows 8 --columns 16
    python tools/write_slide.py large.ome.tif --rows 98 --columns 98 --field 512

The left end is thick, the right end is glass; between them lies a monolayer, of whose cells
slide.marks.geojson has the boxes. The file states the size of a pixel.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bccd.counting.slides.cells_file import CellsFile
from bccd.data.bccd_classes import CLASS_NAMES
from bccd.data.classes import class_colors
from bccd.data.synthetic.slide import (
    RED_CELL_SHARE,
    SlideOfFields,
    by_columns,
    draw_whole_smear,
    write_slide,
)
from bccd.detections import Detections


def main(argv: Sequence[str] | None = None) -> int:
    """Write the slide; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("output", type=Path, help="the file, .tif or .ome.tif")
    parser.add_argument("--rows", type=int, default=8, help="of fields; default 8")
    parser.add_argument("--columns", type=int, default=16, help="of fields; default 16")
    parser.add_argument(
        "--field",
        type=int,
        choices=(128, 256, 512, 1024),
        default=512,
        help="side of a field in pixels; red cells are 0.18 times as wide; default 512",
    )
    parser.add_argument("--distinct", type=int, default=16, help="fields that repeat; default 16")
    parser.add_argument("--thick", type=float, default=0.2, help="share of the width; default 0.2")
    parser.add_argument("--empty", type=float, default=0.2, help="share of the width; default 0.2")
    parser.add_argument("--seed", type=int, default=0, help="of the cells; default 0")
    args = parser.parse_args(argv)
    if min(args.rows, args.columns, args.distinct) < 1:
        parser.error("--rows, --columns and --distinct are 1 or more")
    if not args.output.parent.is_dir():
        parser.error(f"the folder {args.output.parent} does not exist")
    fields = [draw_whole_smear(args.seed + i, args.field) for i in range(args.distinct)]
    layout = by_columns(args.thick, args.empty)
    slide = SlideOfFields(args.rows, args.columns, fields, layout, args.seed)
    size = 7.5 / (RED_CELL_SHARE * args.field)
    write_slide(args.output, slide, size)
    marks = args.output.with_name(f"{args.output.name.split('.')[0]}.marks.geojson")
    counts = Counter()
    with CellsFile(marks, dict(zip(CLASS_NAMES, class_colors(CLASS_NAMES), strict=True))) as file:
        for boxes, classes in slide.marks():
            file.add(Detections(slide.size, boxes, np.ones(len(boxes), np.float32), classes))
            counts.update(classes.tolist())
    height, width = slide.size
    cells = ", ".join(f"{name} {counts[k]}" for k, name in enumerate(CLASS_NAMES))
    print(f"{args.output}: {width} x {height} pixels of {size:.3g} micrometres. Marked: {cells}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
