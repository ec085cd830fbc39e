"""The images of an archive, one after another, from any store that fsspec knows."""

import os
import re
from collections.abc import Iterator, Sequence
from glob import has_magic
from typing import Any, NamedTuple

from fsspec import AbstractFileSystem
from fsspec.core import url_to_fs
from fsspec.utils import glob_translate

from bccd.counting.detection_files import printable
from bccd.counting.inputs import foreign_reason
from bccd.data.images.image_source import IMAGE_SUFFIXES
from bccd.data.images.slide_files import SLIDE_SUFFIXES

# What a store says of a file that changes with its content: the first of these that it knows.
_STATES = (
    "ETag",
    "etag",
    "md5Hash",
    "md5",
    "CRC",
    "mtime",
    "LastModified",
    "last_modified",
    "updated",
)
_SUBFOLDER = "subfolders with images; name them as well"
_SLIDES = "slides; count them without --ray"


class ListedFile(NamedTuple):
    """A file of the archive that is to be counted.

    Attributes:
        store: index of ``Listing.stores``.
        path: in the file system.
        source: its URL.
        name: relative to what the inputs have in common.
        size: bytes; None: unknown.
        version: text that changes with the file, as far as the store tells.
    """

    store: int
    path: str
    source: str
    name: str
    size: int | None
    version: str


class Store(NamedTuple):
    """A file system, and a folder there that holds files of the archive."""

    fs: AbstractFileSystem
    root: str


class _Entry(NamedTuple):
    path: str
    is_folder: bool
    size: int | None
    version: str


class Input:
    """A file, a folder or a pattern that the user names, as a path or URL.

    A folder stands for the images directly inside it; ``**`` in a pattern also enters subfolders;
    as in ``find_images``.
    """

    def __init__(self, text: str) -> None:
        """Find out which of them ``text`` is.

        Raises:
            FileNotFoundError: there is no such file or folder.
            ValueError, ImportError: fsspec knows no such store, or needs a package for it.
        """
        self.text, self._chain = text, text.partition("::")[2]
        self.fs, path = open_store(text)
        self.path = path.rstrip("/")
        self._pattern = self._entry = None
        if path.endswith("/") or (self.fs.isdir(path) and not self.fs.isfile(path)):
            self.root = self.path
        elif self.fs.isfile(path):
            self.root = self.fs._parent(path)
            self._entry = _to_entry(self.fs.info(path))
        elif has_magic(path):
            fixed = re.split(r"/[^/]*[*?[]", f"/{path}", maxsplit=1)[0]
            self.root = fixed.removeprefix("/") if not path.startswith("/") else fixed[1:] or "/"
            self._set_pattern(path)
        else:
            raise FileNotFoundError(f"No file, folder or glob match: {text}")

    def _set_pattern(self, path):
        below = self._below_root(path)
        self._pattern = re.compile(glob_translate(below))
        parts = below.split("/")
        self._depth = None if "**" in parts else len(parts)
        self._hidden = any(part.startswith(".") for part in parts)

    def files(self, left_out: "LeftOut") -> Iterator[_Entry]:
        """Its files, sorted; one folder's list is held at a time.

        Args:
            left_out: is told what a folder holds beside.
        """
        if self._entry:
            yield self._entry
        elif self._pattern:
            yield from filter(self._matches, _walk(self.fs, self.root, self._depth))
        else:
            yield from self._folder(left_out)

    def covers(self, fs: AbstractFileSystem, path: str) -> bool:
        """Whether the file ``path`` of a store is one of :meth:`files`."""
        if fs != self.fs:
            return False
        if self._entry:
            return path == self._entry.path
        if self._pattern:
            return self._below(path) and self._matches(_Entry(path, False, None, ""))
        return self.fs._parent(path).rstrip("/") == self.path and _is_image(path)

    def to_source(self, path: str) -> str:
        """URL of a file in the store of this input."""
        url = self.fs.unstrip_protocol(path)
        return f"{url}::{self._chain}" if self._chain else url

    def _folder(self, left_out):
        for entry in _list(self.fs, self.path):
            name = entry.path.rpartition("/")[2]
            if not entry.is_folder and _is_image(entry.path):
                yield entry
            elif entry.is_folder and not name.startswith("."):
                below = (each.path for each in _walk(self.fs, entry.path, None))
                if any(map(_is_image, below)):
                    left_out.add(self.to_source(entry.path), _SUBFOLDER)
            elif not name.startswith(".") and (reason := _why_left_out(name)):
                left_out.add(self.to_source(entry.path), reason)

    def _matches(self, entry):
        below = self._below_root(entry.path)
        parts = below.split("/")
        hidden = not self._hidden and any(part.startswith(".") for part in parts)
        is_ours = not hidden and not parts[-1].startswith("._")
        return is_ours and self._pattern.match(below) is not None

    def _below(self, path):
        return path.startswith(f"{self.root.rstrip('/')}/") or not self.root

    def _below_root(self, path):
        return path.removeprefix(self.root).lstrip("/")


class LeftOut:
    """What the folders hold beside, in memory that does not grow with it.

    Attributes:
        found: {reason: (number of files or folders, the first of them)}.
    """

    def __init__(self) -> None:
        """Nothing yet."""
        self.found = {}

    def add(self, source: str, reason: str) -> None:
        """Note a file or folder."""
        number, first = self.found.get(reason, (0, source))
        self.found[reason] = number + 1, first


class Listing:
    """The files that the user means, each once.

    Attributes:
        stores: where they are.
        left_out: what the folders hold beside, as far as the last iteration has come.
    """

    def __init__(self, inputs: Sequence[str]) -> None:
        """Raises as :class:`Input`."""
        self._inputs = [Input(text) for text in inputs]
        self.stores = [Store(each.fs, each.root) for each in self._inputs]
        self.left_out = LeftOut()
        same = all(store.fs == self.stores[0].fs for store in self.stores)
        self._root = common_folder([store.root for store in self.stores]) if same else None

    def __iter__(self) -> Iterator[ListedFile]:
        """In order of the inputs."""
        self.left_out.found.clear()
        for number, one in enumerate(self._inputs):
            earlier = self._inputs[:number]
            for entry in one.files(self.left_out):
                if not any(other.covers(one.fs, entry.path) for other in earlier):
                    yield self._listed(number, one, entry)

    def _listed(self, number, one, entry):
        source = one.to_source(entry.path)
        name = source
        if self._root is not None:
            name = entry.path.removeprefix(self._root).lstrip("/")
        return ListedFile(
            number, entry.path, printable(source), printable(name), entry.size, entry.version
        )


def open_store(url: str | os.PathLike) -> tuple[AbstractFileSystem, str]:
    """The file system of a path or URL, and the path there.

    Raises:
        ValueError: fsspec knows no such store, or it lies in the memory of one process.
        ImportError: fsspec needs a package for it.
    """
    text = os.path.expanduser(os.fspath(url))
    # Its cache would hold the list of the whole archive.
    fs, path = url_to_fs(text, use_listings_cache=False)
    if "memory" in (fs.protocol, *fs.protocol):
        raise ValueError(f"{url} lies in the memory of this process; other machines do not see it")
    return fs, path


def common_folder(folders: Sequence[str]) -> str:
    """The deepest folder that holds all of them; empty where there is none."""
    parts = [folder.split("/") for folder in folders]
    shortest = min(map(len, parts))
    same = 0
    while same < shortest and len({each[same] for each in parts}) == 1:
        same += 1
    return "/".join(parts[0][:same])


def _is_image(path):
    name = path.rpartition("/")[2]
    suffix = os.path.splitext(name)[1].lower()
    return suffix in IMAGE_SUFFIXES and not name.startswith("._")


def _why_left_out(name):
    is_slide = os.path.splitext(name)[1].lower() in SLIDE_SUFFIXES
    return _SLIDES if is_slide else foreign_reason(name)


def _walk(fs, folder, depth) -> Iterator[_Entry]:
    """Files below a folder, sorted by the parts of their paths; ``depth`` None: all below."""
    for entry in _list(fs, folder):
        if not entry.is_folder:
            yield entry
        elif depth is None or depth > 1:
            yield from _walk(fs, entry.path, None if depth is None else depth - 1)


def _list(fs, folder) -> list[_Entry]:
    """What is in a folder, sorted."""
    infos = (_follow(fs, info) for info in fs.ls(folder, detail=True))
    here = folder.rstrip("/")  # object stores may list a folder as an empty file in itself
    return sorted(entry for entry in map(_to_entry, infos) if entry.path != here)


def _follow(fs, info: dict[str, Any]):
    """What a symbolic link leads to, under the name of the link."""
    if not info.get("islink"):
        return info
    try:
        return fs.info(info["name"])
    except OSError:  # it leads nowhere: an unreadable file
        return info


def _to_entry(info):
    state = next((str(info[key]) for key in _STATES if info.get(key) is not None), "")
    is_folder = info["type"] == "directory"
    size = info.get("size")
    version = " ".join(str(each) for each in (size, state) if each not in (None, ""))
    return _Entry(info["name"].rstrip("/"), is_folder, size, version)
