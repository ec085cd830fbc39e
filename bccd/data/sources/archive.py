"""Unpacking archives from untrusted sources.

``tarfile``'s data filter, of Python 3.10.12 and later, does not cover zip archives, and neither it
nor ``shutil.unpack_archive`` limits the size of what is unpacked.
"""

import shutil
import stat
import tarfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath

MAX_EXTRACTED_BYTES = 4 * 2**30

# What the two modules raise at broken, cut-off and encrypted archives.
_BROKEN = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, OSError, RuntimeError)


def extract(archive: Path | str, folder: Path | str) -> None:
    """Unpack a zip or tar archive into ``folder``, and nothing outside it.

    Raises:
        ValueError: the archive is broken or neither zip nor tar; it holds a link, a device or a
            path that leads out of ``folder``; or it is implausibly large.
    """
    folder = Path(folder)
    budget = MAX_EXTRACTED_BYTES
    try:
        for name, size, content in _files(archive):
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts or set(name) & set("\\:"):
                raise ValueError(f"{archive}: entry {name!r} leads out of the folder; refused.")
            budget -= size
            if budget < 0:
                raise ValueError(f"{archive}: more than {MAX_EXTRACTED_BYTES} bytes; refused.")
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            with content, open(target, "wb") as file:
                shutil.copyfileobj(content, file)
    except _BROKEN as error:
        raise ValueError(f"{archive}: cannot be unpacked ({error}).") from error


def _files(archive):
    """Name, size in bytes and opened content of every file in an archive."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as opened:
            for member in opened.infolist():
                if stat.S_ISLNK(member.external_attr >> 16):
                    raise ValueError(f"{archive}: entry {member.filename!r} is a link; refused.")
                if not member.is_dir():
                    yield member.filename, member.file_size, opened.open(member)
    elif tarfile.is_tarfile(archive):
        with tarfile.open(archive) as opened:
            for member in opened:
                if not (member.isfile() or member.isdir()):
                    raise ValueError(f"{archive}: entry {member.name!r} is no file; refused.")
                if member.isfile():
                    yield member.name, member.size, opened.extractfile(member)
    else:
        raise ValueError(f"{archive}: neither a zip nor a tar archive.")
