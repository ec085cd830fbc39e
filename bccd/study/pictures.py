"""Small pictures and tiles of fields, read in processes of their own and kept on disk.

The pixels of a field never change, so what is there once is right for ever. A field is cut into
tiles of 512 pixels at its full size, half of it, and so on: a browser loads what it shows, of 100
megapixels, too.
"""

import json
import shutil
import tempfile
import threading
from pathlib import Path
from typing import NamedTuple

from bccd.atomic_files import write_atomically
from bccd.study.decoder import Decoders, Source, to_request
from bccd.study.errors import StudyError

FOLDER = "cache"
_LEVELS = "levels.json"
_LOCKS = 64

__all__ = ["Level", "Pictures", "Source"]


class Level(NamedTuple):
    """A size in which a field can be had.

    Attributes:
        level: 0 is the full size, each next one half of it.
        width, height: in pixels.
        columns, rows: of tiles.
    """

    level: int
    width: int
    height: int
    columns: int
    rows: int


class Pictures:
    """The pictures of a study; may be used from several threads.

    Attributes:
        decoders: the processes that read its images.
    """

    def __init__(self, folder: Path) -> None:
        """``folder``: of the study."""
        self._folder = folder / FOLDER
        self.decoders = Decoders(2)  # one is free while the other is at a report, or a large image
        self._locks = [threading.Lock() for _ in range(_LOCKS)]

    def thumbnail(self, source: Source) -> bytes:
        """A small picture, JPEG.

        Raises:
            StudyError: the image cannot be read.
        """
        path = self._folder / "small" / f"{source.field}.jpg"
        with self._lock(source):
            if not path.is_file():
                with self.decoders.one() as decoder:
                    _, content = decoder.ask(to_request("small", source))
                path.parent.mkdir(parents=True, exist_ok=True)
                write_atomically(path, lambda file: file.write(content))
            return path.read_bytes()

    def levels(self, source: Source) -> list[Level]:
        """The sizes in which a field can be had in tiles; raises as :meth:`thumbnail`."""
        found = json.loads((self._tiles(source) / _LEVELS).read_text())
        return [Level(number, **level) for number, level in enumerate(found)]

    def tile(self, source: Source, level: int, column: int, row: int) -> bytes:
        """A tile, JPEG; raises as :meth:`thumbnail`, also where there is no such tile."""
        numbers = (int(level), int(column), int(row))
        path = self._tiles(source) / "{}_{}_{}.jpg".format(*numbers)
        if min(numbers) < 0 or not path.is_file():
            raise StudyError(f"the field has no tile {numbers}")
        return path.read_bytes()

    def _tiles(self, source):
        folder = self._folder / "tiles" / str(source.field)
        if (folder / _LEVELS).is_file():
            return folder
        with self._lock(source):
            if not (folder / _LEVELS).is_file():
                self._write_tiles(source, folder)
        return folder

    def _write_tiles(self, source, folder):
        """All at once: the image is read once, and a kill leaves no half of them."""
        folder.parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        try:
            with self.decoders.one() as decoder:
                about, _ = decoder.ask(to_request("tiles", source, folder=str(unfinished)))
            (unfinished / _LEVELS).write_text(json.dumps(about["levels"]))
            try:
                unfinished.rename(folder)
            except OSError:  # another process, a server or worker, was faster
                if not (folder / _LEVELS).is_file():
                    raise
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)

    def _lock(self, source):
        return self._locks[source.field % _LOCKS]

    def close(self) -> None:
        """End the processes that read images."""
        self.decoders.close()
