"""Files of an archive on the machine that counts in them."""

import os
import platform
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from fsspec.implementations.local import LocalFileSystem

from bccd.counting.archive.listing import ListedFile, Store
from bccd.counting.image_errors import ImageError, blame_image
from bccd.data.images.slide_files import SLIDE_SUFFIXES
from bccd.data.loading.ahead import map_ahead

AT_ONCE = 16  # files fetched at the same time,
BYTES_AT_ONCE = 2**26  # of so many bytes in all, or one
SLIDE = "a slide: count it without --ray"


class LocalFile(NamedTuple):
    """A listed file, and its path on this machine or why it cannot be read."""

    file: ListedFile
    path: Path | None
    error: ImageError | None = None
    is_copy: bool = False


def check_roots(stores: Sequence[Store]) -> None:
    """Raise OSError where this machine does not see a folder of the inputs."""
    for store in stores:
        if isinstance(store.fs, LocalFileSystem) and not os.path.isdir(store.root):
            raise FileNotFoundError(
                f"{platform.node()} does not see the folder {store.root}; every machine of the "
                "cluster must see it under this path"
            )


def fetch_ahead(
    files: Sequence[ListedFile], stores: Sequence[Store], folder: Path
) -> Iterator[LocalFile]:
    """The files, in order; the next ones are fetched meanwhile.

    Args:
        files: of the archive.
        stores: where they are, by index.
        folder: for copies of files that are not on this machine; the caller removes each.

    Raises:
        OSError: a store cannot be reached any more.
    """
    groups = ((numbered, stores, folder) for numbered in _groups(files))
    for group in map_ahead(lambda each: _fetch(*each), groups, 1):
        yield from group


def is_named_slide(path: str) -> bool:
    """Whether a file is by its suffix a slide, which is not worth fetching."""
    return Path(path).suffix.lower() in SLIDE_SUFFIXES


def _groups(files):
    """Lists of (number, file) of one store each, of what is fetched at the same time."""
    group, size = [], 0
    for numbered in enumerate(files):
        file = numbered[1]
        too_much = len(group) == AT_ONCE or size + (file.size or 0) > BYTES_AT_ONCE
        if group and (too_much or file.store != group[0][1].store):
            yield group
            group, size = [], 0
        group.append(numbered)
        size += file.size or 0
    if group:
        yield group


def _fetch(numbered, stores, folder):
    slides = [each for each in numbered if is_named_slide(each[1].path)]
    if slides:
        others = [each for each in numbered if each not in slides]
        refused = [LocalFile(file, None, ImageError(SLIDE)) for _, file in slides]
        return refused + (_fetch(others, stores, folder) if others else [])
    store = stores[numbered[0][1].store]
    if isinstance(store.fs, LocalFileSystem):
        return [LocalFile(file, Path(file.path)) for _, file in numbered]
    nothing = [None] * len(numbered)  # from the first to the last byte
    paths = [file.path for _, file in numbered]
    contents = store.fs.cat_ranges(paths, nothing, nothing, on_error="return")
    return [
        _to_local(store, file, content, folder / str(number) / Path(file.path).name)
        for (number, file), content in zip(numbered, contents, strict=True)
    ]


def _to_local(store, file, content, path):
    try:
        with blame_image("unreadable", lambda: store.fs.info(store.root), file.path):
            if isinstance(content, Exception):
                raise content
    except ImageError as error:
        return LocalFile(file, None, error)
    path.parent.mkdir()
    path.write_bytes(content)
    return LocalFile(file, path, is_copy=True)
