"""The results of an archive as Parquet files, which a second start goes on with."""

import io
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from bccd.counting.archive.finished import Finished
from bccd.counting.archive.listing import open_store
from bccd.counting.count_table import COUNTED, class_columns
from bccd.counting.summary import CSV_NAME as SUMMARY_NAME
from bccd.counting.summary import Quantity, Tally, write_summary

COUNTS, DETECTIONS, SETTINGS = "counts", "detections", "settings.json"


class Totals(NamedTuple):
    """What all finished parts come to.

    Attributes:
        tally: of the counted images.
        noted, failed (int): those of them whose counts carry notes, and the others.
        examples: {name: why} of some that cannot be counted.
    """

    tally: Tally
    noted: int
    failed: int
    examples: dict

    @property
    def counts(self) -> dict[str, int]:
        """{class name: number} over the counted images."""
        return dict(zip(self.tally.class_names, map(int, self.tally.sums), strict=True))


class ArchiveResults:
    """The output folder of an archive, at any path or URL that fsspec can write.

    ``counts/part-*.parquet`` has the rows of the images and ``detections/part-*.parquet`` their
    cells; see ``part``. A part is finished once its file of counts is there, which is written
    last and whole. ``settings.json`` says what the counts depend on.
    """

    def __init__(self, url: str | os.PathLike) -> None:
        """Name the folder; raises as ``open_store``."""
        self.fs, path = open_store(url)
        self.url, self.root = os.fspath(url), path.rstrip("/")
        self._is_local = "file" in self.fs.protocol

    def start(self, settings: dict) -> None:
        """Make the folder, or go on with one of the same settings.

        Parts that were not finished are removed.

        Args:
            settings: what the counts depend on beside the images, for JSON.

        Raises:
            ValueError: the folder has results of other settings.
            OSError: it cannot be written.
        """
        settings, path = json.loads(json.dumps(settings)), f"{self.root}/{SETTINGS}"
        if self.fs.exists(path):
            earlier = json.loads(self.fs.cat_file(path))
            keys = settings.keys() | earlier.keys()
            if changed := sorted(k for k in keys if settings.get(k) != earlier.get(k)):
                what = " and ".join(changed)
                raise ValueError(f"{self.url} holds results of another {what}; name another folder")
        for folder in (COUNTS, DETECTIONS):
            self.fs.makedirs(f"{self.root}/{folder}", exist_ok=True)
        self._write(path, (json.dumps(settings, indent=2) + "\n").encode())
        finished = set(self.parts())
        for name in set(self.parts(DETECTIONS)) - finished:
            self.fs.rm_file(self._path(DETECTIONS, name))

    def parts(self, folder: str = COUNTS) -> list[str]:
        """Sorted names of the parts in one of the two folders."""
        try:
            paths = self.fs.ls(f"{self.root}/{folder}", detail=False)
        except FileNotFoundError:  # object stores have no empty folders
            return []
        return sorted(PurePosixPath(path).stem for path in paths if path.endswith(".parquet"))

    def finished(self) -> Finished:
        """The files that the finished parts count."""
        return Finished(self._batches(["source", "version", "status", "__filename"]))

    def write(self, name: str, counts: pa.Table, detections: pa.Table) -> None:
        """Write a part, replacing an older one of its name."""
        self._write_table(DETECTIONS, name, detections)
        self._write_table(COUNTS, name, counts)  # last: the part is finished

    def has(self, name: str) -> bool:
        """Whether a part is finished."""
        return self.fs.exists(self._path(COUNTS, name))

    def forget(self, name: str, sources: Sequence[str]) -> None:
        """Take the rows of some files out of a part."""
        tables = {folder: self._read(folder, name) for folder in (COUNTS, DETECTIONS)}
        gone = pa.array(sorted(sources), pa.string())
        kept = {
            folder: table.filter(pc.invert(pc.is_in(table["source"], gone)))
            for folder, table in tables.items()
        }
        if kept[COUNTS].num_rows:
            self.write(name, kept[COUNTS], kept[DETECTIONS])
        else:
            for folder in (DETECTIONS, COUNTS):
                self.fs.rm_file(self._path(folder, name))

    def total(self, class_names: Sequence[str], examples: int = 20) -> Totals:
        """Add up all finished parts, in memory that does not grow with their rows.

        Args:
            class_names: of the detector.
            examples: at most so many images that cannot be counted are named.
        """
        columns, tally, named, noted, failed = (
            class_columns(class_names),
            Tally(class_names),
            {},
            0,
            0,
        )
        for batch in self._batches(["file", "status", "notes", *columns]):
            counted = batch.filter(pc.equal(batch["status"], COUNTED))
            numbers = [counted[name].to_numpy(zero_copy_only=False) for name in columns]
            tally.add_fields(np.array(numbers, dtype=float).T)
            noted += len(counted) - counted["notes"].null_count
            others = batch.filter(pc.not_equal(batch["status"], COUNTED))
            failed += len(others)
            for row in others.slice(0, examples - len(named)).to_pylist():
                named[row["file"]] = row["status"]
        return Totals(tally, noted, failed, named)

    def write_summary(self, quantities: Sequence[Quantity]) -> None:
        """Write ``summary.csv``, see ``summary.write_summary``."""
        with tempfile.TemporaryDirectory(prefix="bccd-") as folder:
            path = Path(folder, SUMMARY_NAME)
            write_summary(path, quantities)
            self._write(f"{self.root}/{SUMMARY_NAME}", path.read_bytes())

    def rows(self) -> Iterator[dict]:
        """Rows of the images as dicts, with the columns of counts.csv and two more."""
        for batch in self._batches(None):
            yield from batch.to_pylist()

    def _batches(self, columns):
        paths = [self._path(COUNTS, name) for name in self.parts()]
        if not paths:
            return iter(())
        dataset = ds.dataset(paths, filesystem=self.fs, format="parquet")
        return dataset.to_batches(columns=columns)

    def _path(self, folder, name):
        return f"{self.root}/{folder}/{name}.parquet"

    def _read(self, folder, name):
        return pq.read_table(io.BytesIO(self.fs.cat_file(self._path(folder, name))))

    def _write_table(self, folder, name, table):
        sink = io.BytesIO()
        pq.write_table(table, sink, compression="zstd")
        self._write(self._path(folder, name), sink.getvalue())

    def _write(self, path, content):
        """Write a file that is never seen half written; object stores see to that themselves."""
        if not self._is_local:
            self.fs.pipe_file(path, content)
            return
        temporary = f"{path}.{os.getpid()}.tmp"
        with open(temporary, "wb") as file:
            file.write(content)
        os.replace(temporary, path)
