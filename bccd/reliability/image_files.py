"""Broken images, given to the process that reads for a page, to the reader, and to counting."""

import itertools
import shutil
import struct
from pathlib import Path
from random import Random

from bccd.counting import run as counting
from bccd.counting.count_table import read_table
from bccd.counting.load import ModelChoice, load_predictor
from bccd.counting.options import CountOptions
from bccd.data.images.decoding import image_size, list_pages, read_rgb
from bccd.reliability.good_images import BOMBS, write_good_images
from bccd.reliability.mutations import mutate_bytes
from bccd.reliability.run import CaseError, check_sentence
from bccd.study.decoder import Decoder
from bccd.study.errors import StudyError

_MODEL = "ssd_lite"
_SMALL = 10_000  # pixels up to which what can be read is counted, too
_COUNTED = 0.1  # share of those images that are
_BOMBS = 0.02  # share of the cases
_SIDES = (0, 1, 255, 256, 65535, 2**31 - 1, 2**32 - 1)
_START = 512  # bytes in which most headers lie


class ImageFiles:
    """An image of any form, whose file is changed.

    A case fails where reading or counting raises what is no sentence about the file, where a size
    is promised that the pixels do not have, or where the file is missing from the table of counts.
    """

    def __init__(self) -> None:
        """Start nothing yet."""
        self._decoder = Decoder()
        self._numbers = itertools.count()

    def prepare(self, folder: Path) -> None:
        """Write the images, and load the model."""
        self._good = {path.name: path.read_bytes() for path in write_good_images(folder / "good")}
        self._bombs = {name: make() for name, make in BOMBS.items()}
        choice = ModelChoice(_MODEL, runtime="onnx")
        self._options = {"choice": choice, "pictures": False}
        self._predictor = load_predictor(choice)

    def run_case(self, random: Random, folder: Path) -> str:
        """Change one image; returns what became of it."""
        case = folder / f"case {next(self._numbers)}"
        case.mkdir()
        try:
            path = self._make(random, case)
            if not self._survives(path):
                return "its decoder ended"
            outcome, pixels = _read(path)
            if outcome == "refused" or (pixels <= _SMALL and random.random() < _COUNTED):
                self._count(path, case / "counted")
            return outcome
        finally:
            shutil.rmtree(case, ignore_errors=True)

    def close(self) -> None:
        """End the process that reads."""
        self._decoder.close()

    def _make(self, random, folder):
        if random.random() < _BOMBS:
            name, content = random.choice(sorted(self._bombs.items()))
        else:
            name, content = random.choice(sorted(self._good.items()))
            content = self._change(content, random)
        if random.random() < 0.1:  # a name that promises another form
            name = f"{name}{Path(random.choice(sorted(self._good))).suffix}"
        path = folder / name
        path.write_bytes(content)
        return path

    def _change(self, content, random):
        kind = random.randrange(5)
        if kind == 0:
            return content[: random.randrange(len(content))]
        if kind == 1:  # a number of its header
            place = random.randrange(min(_START, len(content) - 4))
            form = random.choice(("<I", ">I", "<H", ">H"))
            value = random.choice(_SIDES) & (0xFFFF if form[1] == "H" else 0xFFFFFFFF)
            number = struct.pack(form, value)
            return content[:place] + number + content[place + len(number) :]
        if kind == 2:  # the end of another file
            other = random.choice(sorted(self._good.values()))
            place = random.randrange(len(content))
            return content[:place] + other[place:]
        return mutate_bytes(content, random)

    def _survives(self, path):
        """Whether the process that reads images for a page is still there after this one."""
        try:
            about, _ = self._decoder.ask({"do": "describe", "path": str(path)})
            for each in about["images"][:3]:
                request = {"path": str(path), "page": each["page"] or None, "window": None}
                self._decoder.ask({"do": "pixels", **request})
        except StudyError as error:
            check_sentence(str(error))
            return "ended on it" not in str(error)
        return True

    def _count(self, path, output):
        options = CountOptions(output=str(output), inputs=(str(path),), **self._options)
        try:
            job = counting.prepare(options, self._predictor)
        except (OSError, ValueError, ImportError) as error:  # as in bccd.commands.count
            check_sentence(str(error), (path.name,))
            return
        counting.run(job)
        *rows, _ = read_table(output / "counts.csv")
        if {row["file"].partition("#")[0] for row in rows} != {path.name}:
            raise CaseError(f"{path.name} is not in counts.csv: {rows}")
        for row in rows:
            check_sentence(row["status"])


def _read(path: Path) -> tuple[str, int]:
    """Read each image of a file; returns what became of it, and the pixels."""
    pixels = 0
    for source in list_pages(path)[:3]:
        try:
            size = image_size(source)
            height, width = read_rgb(source).shape[:2]
        except (OSError, ValueError) as error:
            check_sentence(str(error), (path.name,))
            return "refused", 0
        if size != (width, height):
            raise CaseError(f"{source}: a size of {size}, and pixels of {(width, height)}")
        pixels += width * height
    return "read", pixels
