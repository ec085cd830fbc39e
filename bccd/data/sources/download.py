"""Fetching BCCD, checking that it is the published one, and putting a data set in its place."""

import hashlib
import os
import shutil
import tempfile
import urllib.request
from contextlib import contextmanager
from pathlib import Path

from tqdm import tqdm

from bccd.data.formats.coco_folder import ROBOFLOW_FILE, ROBOFLOW_PARTS
from bccd.data.formats.voc_folder import ANNOTATIONS, IMAGES
from bccd.data.sources.archive import extract

COMMIT = "d272fb14cdff6e473fafeeeba32aba5f560e9e43"
URL = f"https://codeload.github.com/Shenggan/BCCD_Dataset/zip/{COMMIT}"
# Stands for the 364 images, 364 XML files and four split lists of COMMIT (see content_digest). The
# archive itself is made anew by GitHub and has no fixed bytes; what is inside has.
CONTENT_SHA256 = "debd2d76b13c300a3999f96a08cbe9ada5f231c3f882f9877a65a01a695872d1"
MAX_DOWNLOAD_BYTES = 100 * 2**20  # the archive has about a tenth of this

FOLDERS = {"voc": "BCCD", "roboflow": "BCCD-Roboflow"}  # where a layout has its place

_CONTENT = {
    "voc": ("Annotations/*.xml", "JPEGImages/*.jpg", "ImageSets/Main/*.txt"),
    "roboflow": ("*/*",),
}
_CHUNK_BYTES = 2**16
_TIMEOUT_SECONDS = 30


def layout_of(root: Path) -> str | None:
    """ "voc" or "roboflow": a layout in which BCCD is to be had; None where ``root`` is neither."""
    if (root / ANNOTATIONS).is_dir() and (root / IMAGES).is_dir():
        return "voc"
    if any((root / part / ROBOFLOW_FILE).is_file() for part in ROBOFLOW_PARTS):
        return "roboflow"
    return None


class DownloadError(OSError):
    """The data could not be fetched: no network, or something else at the other end."""


def content_digest(root: Path | str) -> str:
    """SHA-256 that stands for the content of a data set.

    It is taken over a line ``<sha256 of the file>  <path below root>`` for each image, annotation
    file and split list, sorted by path. Other files do not count.
    """
    root = Path(root)
    patterns = _CONTENT[layout_of(root)]
    paths = sorted(
        path.relative_to(root).as_posix() for pattern in patterns for path in root.glob(pattern)
    )
    digest = hashlib.sha256()
    for path in paths:
        file_digest = hashlib.sha256((root / path).read_bytes()).hexdigest()
        digest.update(f"{file_digest}  {path}\n".encode())
    return digest.hexdigest()


def fetch_bccd(folder: Path | str, url: str = URL) -> Path:
    """Download BCCD to ``folder/BCCD``.

    The archive is unpacked and checked in a temporary folder and then renamed: the data set is
    whole or absent, and a call that was interrupted can be repeated.

    Args:
        folder: folder of the data sets; made if need be.
        url: address of a zip or tar archive that holds BCCD.

    Returns:
        Path of the data set.

    Raises:
        DownloadError: the archive cannot be fetched, or does not hold the published files.
        FileExistsError: ``folder/BCCD`` is there already.
    """
    with _workspace(folder) as work:
        _download(url, work / "archive")
        try:
            extract(work / "archive", work / "unpacked")
            tree = find_tree(work / "unpacked")
        except (ValueError, FileNotFoundError) as error:
            raise DownloadError(f"{url} sent no BCCD archive: {error}") from None
        digest = content_digest(tree)
        if digest != CONTENT_SHA256:
            raise DownloadError(
                f"{url} does not hold the published BCCD (content digest {digest}, expected "
                f"{CONTENT_SHA256}). Try again later, or import a copy with --source."
            )
        return _place(tree, Path(folder))


def import_tree(source: Path | str, folder: Path | str) -> Path:
    """Copy a data set to its place below ``folder``, whole or not at all; ``source`` stays.

    Args:
        source: a folder in VOC or Roboflow layout, or one that holds such a folder at most two
            levels down, or a zip or tar archive of either.
        folder: folder of the data sets; made if need be.

    Returns:
        Path of the data set: ``folder/BCCD`` or ``folder/BCCD-Roboflow``.

    Raises:
        FileExistsError: something else is there already.
        FileNotFoundError: there is no data set in ``source``.
        ValueError: the archive cannot be unpacked safely.
    """
    with _workspace(folder) as work:
        if Path(source).is_file():
            extract(source, work / "unpacked")
            tree = find_tree(work / "unpacked")
        else:
            tree = shutil.copytree(find_tree(source), work / "copy", copy_function=shutil.copyfile)
        return _place(tree, Path(folder))


def find_tree(folder: Path | str) -> Path:
    """The first data set in ``folder``: itself, or a folder at most two levels below.

    Raises:
        FileNotFoundError: there is none.
    """
    folder = Path(folder)
    for candidate in (folder, *sorted(folder.glob("*/")), *sorted(folder.glob("*/*/"))):
        if layout_of(candidate):
            return candidate
    raise FileNotFoundError(
        f"{folder} holds no copy of BCCD: expected {ANNOTATIONS}/ and {IMAGES}/ (Pascal VOC), or "
        f"train/{ROBOFLOW_FILE} (Roboflow, Kaggle), at most two folders down. Other data is used "
        "where it is: see docs/own_data.md"
    )


def _download(url, path):
    """Download with a time limit and a size limit, which ``torch.hub``'s function does not have."""
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as response:
            size = response.headers.get("Content-Length")
            received = _save(response, path, None if size is None else int(size))
    except (OSError, ValueError) as error:
        raise DownloadError(f"{url} cannot be fetched: {error}") from None
    if size is not None and received != int(size):
        raise DownloadError(f"{url} broke off after {received} of {size} bytes. Try again.")


def _save(response, path, size):
    """Write a response to ``path`` under a progress bar; returns the bytes received."""
    received = 0
    bar = tqdm(total=size, unit="B", unit_scale=True, desc="BCCD", mininterval=0.5)
    with bar, open(path, "wb") as file:
        while chunk := response.read(_CHUNK_BYTES):
            received += len(chunk)
            if received > MAX_DOWNLOAD_BYTES:
                raise ValueError(f"more than {MAX_DOWNLOAD_BYTES} bytes, which BCCD has not")
            file.write(chunk)
            bar.update(len(chunk))
    return received


@contextmanager
def _workspace(folder):
    """A temporary folder on the file system of the data sets' folder."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".partial-", dir=folder) as work:
        yield Path(work)


def _place(tree, folder):
    """Rename ``tree`` to the place of its layout below ``folder``; returns that place."""
    target = folder / FOLDERS[layout_of(tree)]
    if target.exists():
        if layout_of(target) and content_digest(target) == content_digest(tree):
            return target
        raise FileExistsError(
            f"{target} is there already and holds something else. Move it away to import anew."
        )
    for subfolder, _, _ in os.walk(tree):
        os.chmod(subfolder, 0o755)  # those of a copied read-only tree could not be renamed
    os.rename(tree, target)
    return target
