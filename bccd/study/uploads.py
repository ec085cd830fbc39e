"""Images that are dropped into a study: bounded, renamed, and read where they can do no harm."""

import hashlib
import os
import secrets
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from bccd.study.adding import IMAGES, describe_file, insert_fields
from bccd.study.errors import StudyError
from bccd.study.names import check_who, clean_file_name

if TYPE_CHECKING:
    from bccd.study.study import Study

_PIECE = 2**20  # bytes that are read at once
_UNFINISHED = ".upload-"


class UploadLimits(NamedTuple):
    """What may be dropped into a study.

    Attributes:
        bytes: of one file.
        pixels: of one image.
        fields: in one file, as the pages of a TIFF.
        files: in the study's folder, all uploads together.
        total: bytes in the study's folder, all uploads together.
        at_once: files that arrive at the same time.
    """

    bytes: int = 512 * 2**20
    pixels: int = 120_000_000
    fields: int = 1000
    files: int = 20_000
    total: int = 100 * 2**30
    at_once: int = 8


class Uploads:
    """Takes the files that people drop; may be used from several threads."""

    def __init__(self, study: "Study", limits: UploadLimits | None = None) -> None:
        """Take the study, and remove what a kill left half written.

        Args:
            study: to add to.
            limits: of what is taken; None: the usual ones.
        """
        self._study, self.limits = study, limits or UploadLimits()
        self._folder = study.folder / IMAGES
        self._folder.mkdir(exist_ok=True)
        if self._folder.is_symlink():
            raise StudyError(f"{self._folder} is a link: uploads must stay in the study's folder")
        for left in self._folder.glob(f"{_UNFINISHED}*"):
            left.unlink(missing_ok=True)
        sizes = [file.stat().st_size for file in self._folder.iterdir() if file.is_file()]
        self._files, self._total = len(sizes), sum(sizes)
        self._lock = threading.Lock()
        self._slots = threading.BoundedSemaphore(self.limits.at_once)

    def receive(
        self, name: str, content: BinaryIO | bytes | Iterable[bytes], who: str
    ) -> list[int]:
        """Take one file.

        Args:
            name: as the browser sends it; it may hold anything.
            content: of the file; no more than the limit is read of it.
            who: drops it.

        Returns:
            the numbers of its fields.

        Raises:
            StudyError: it is refused; the message says why.
        """
        who, clean = check_who(who), clean_file_name(name)
        if not self._slots.acquire(blocking=False):
            raise StudyError(f"{self.limits.at_once} files arrive already: drop fewer at once")
        try:
            unfinished = self._folder / f"{_UNFINISHED}{secrets.token_hex(8)}{Path(clean).suffix}"
            try:
                digest, size = self._write(unfinished, content)
                return self._keep(unfinished, clean, digest, size, who)
            finally:
                unfinished.unlink(missing_ok=True)
        finally:
            self._slots.release()

    def _write(self, path, content):
        digest, size = hashlib.sha256(), 0
        # "x": never through a file or link that is there already.
        with open(path, "xb") as file:
            for piece in _pieces(content):
                size += len(piece)
                if size > self.limits.bytes:
                    raise StudyError(
                        f"the file has more than {self.limits.bytes / 2**20:.0f} MiB: add it by "
                        "its folder instead"
                    )
                digest.update(piece)
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        if not size:
            raise StudyError("the file is empty")
        return digest.hexdigest(), size

    def _keep(self, unfinished, clean, digest, size, who):
        with self._study.pictures.decoders.one() as decoder:
            found = describe_file(decoder, unfinished)
        self._check(found)
        with self._lock:
            if self._files >= self.limits.files or self._total + size > self.limits.total:
                raise StudyError("the study holds as many dropped files as it may")
            path = self._place(clean, digest)
            if path.exists():
                raise StudyError("it is in the study already")
            unfinished.replace(path)
            self._files, self._total = self._files + 1, self._total + size
        try:
            return insert_fields(self._study, path.resolve(), clean, found, who)
        except StudyError:
            path.unlink(missing_ok=True)
            raise

    def _check(self, found):
        if not found:
            raise StudyError("the file holds no image")
        if len(found) > self.limits.fields:
            raise StudyError(f"the file holds more than {self.limits.fields} images")
        if any(each.width * each.height > self.limits.pixels for each in found):
            raise StudyError(f"an image has more than {self.limits.pixels / 1e6:.0f} megapixels")

    def _place(self, clean, digest):
        """The file's name with some digits of its content: the same content is the same file."""
        stem, suffix = os.path.splitext(clean)
        return self._folder / f"{stem}-{digest[:12]}{suffix}"


def _pieces(content) -> Iterator[bytes]:
    if isinstance(content, bytes | bytearray):
        yield bytes(content)
    elif hasattr(content, "read"):
        while piece := content.read(_PIECE):
            yield piece
    else:
        yield from content
