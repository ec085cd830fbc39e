"""Opening a data set as a person names it: a path, an archive, or a name by format and path."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bccd.data.bccd_classes import in_bccd_order
from bccd.data.formats import imagej
from bccd.data.formats.dataset import AnnotatedDataset
from bccd.data.formats.registry import read_dataset
from bccd.data.sources.archive import extract
from bccd.data.sources.by_path import open_named, parse_name
from bccd.data.sources.splits import use_bccd_splits

ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz")


@contextmanager
def open_dataset(name: str, *, archives: bool = True) -> Iterator[AnnotatedDataset]:
    """List a data set on disk, file by file.

    Args:
        name: a folder, or the file that describes a data set, in any format; a zip or tar archive
            of one, which is unpacked for as long as the ``with`` block runs; or a name by format
            and path (:mod:`.by_path`). With ``#PART`` behind the latter, it has that part alone.

        archives: False refuses archives, for what must still be there after the ``with`` block.

    Raises:
        FileNotFoundError, ValueError: there is no data set, or it cannot be listed.
    """
    if parse_name(name) is not None and not Path(name).exists():
        dataset, part = open_named(name)
        yield _as_bccd(dataset) if part is None else _only(_as_bccd(dataset), part)
    elif _is_archive(Path(name)):
        if not archives:
            raise ValueError(f"{name} is an archive. Unpack it, and name the folder.")
        with tempfile.TemporaryDirectory() as folder:
            extract(name, folder)
            yield _as_bccd(read_dataset(folder))
    else:
        yield _as_bccd(read_dataset(name))


def _is_archive(path):
    """Whether a file is an archive of a data set; one of ROIs is the annotation of one image."""
    return path.is_file() and path.suffix.lower() in ARCHIVES and not imagej.describes(path)


def _as_bccd(dataset):
    """The data set, with the classes and splits of BCCD where they are its own."""
    dataset.class_names = in_bccd_order(dataset.class_names)
    return use_bccd_splits(dataset)


def _only(dataset, part):
    chosen = {id(image) for image in dataset.select(part)}
    dataset.images = {name: i for name, i in dataset.images.items() if id(i) in chosen}
    dataset.splits = {part: list(dataset.images)}
    dataset.unannotated = []
    return dataset
