"""Small pictures and tiles of fields, read in processes of their own and kept on disk.

The pixels of a field never change, so what is there once is right for ever. A field is cut into
tiles of 512 pixels at its full size, half of it, and so on: a browser loads what it shows, of 100
megapixels, too.
"""

import shutil
import tempfile
import threading
from pathlib import Path

from bccd.atomic_files import write_atomically
from bccd.study.decoder import Decoders, Source, to_request
from bccd.study.errors import StudyError
from bccd.study.tile_plan import tile_name

FOLDER = "cache"
_LOCKS = 64


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

    def tile(self, source: Source, level: int, column: int, row: int) -> bytes:
        """A tile, JPEG; raises as :meth:`thumbnail`, also where there is no such tile."""
        numbers = (int(level), int(column), int(row))
        path = self.make_tiles(source) / tile_name(*numbers)
        if min(numbers) < 0 or not path.is_file():
            raise StudyError(f"the field has no tile {numbers}")
        return path.read_bytes()

    def make_tiles(self, source: Source) -> Path:
        """The folder of a field's tiles, which are made where they are not there; raises so."""
        folder = self._folder / "tiles" / str(source.field)
        if not folder.is_dir():
            with self._lock(source):
                if not folder.is_dir():
                    self._write_tiles(source, folder)
        return folder

    def _write_tiles(self, source, folder):
        """All at once: the image is read once, and a kill leaves no half of them."""
        folder.parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        try:
            with self.decoders.one() as decoder:
                decoder.ask(to_request("tiles", source, folder=str(unfinished)))
            try:
                unfinished.rename(folder)
            except OSError as error:  # another process, a server or worker, was faster
                if not folder.is_dir():
                    reason = f"pictures cannot be kept in {folder} ({error.strerror})"
                    raise StudyError(reason) from error
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)

    def _lock(self, source):
        return self._locks[source.field % _LOCKS]

    def close(self) -> None:
        """End the processes that read images."""
        self.decoders.close()
