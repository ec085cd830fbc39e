"""Which files of an archive are counted, in 28 bytes for each."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

import numpy as np
import pyarrow as pa

from bccd.counting.archive.listing import ListedFile
from bccd.counting.count_table import COUNTED

_TRY_AGAIN = 0  # in place of the version of a file of which an image could not be counted
_SCHEMA = pa.schema([("source", pa.uint64()), ("version", pa.uint64()), ("part", pa.int32())])


class Finished:
    """The files that the parts of earlier starts count, by the hashes of their URLs and versions.

    A file of a million shares its hash of 64 bits with one of another million once in 20 million
    archives.

    Attributes:
        number (int): of the files that are not to be counted again.
        doubled (int): files that two parts count: two commands wrote into one folder, or a machine
            that was given up for dead went on.
    """

    def __init__(self, batches: Iterable[pa.RecordBatch]) -> None:
        """Index the rows of all parts.

        Args:
            batches: columns ``source``, ``version``, ``status``, and ``__filename`` of the part.
        """
        numbers = {}  # of the parts
        rows = pa.Table.from_batches([_to_hashes(each, numbers) for each in batches], _SCHEMA)
        self._parts = list(numbers)
        aggregates = [("version", "min"), ("part", "min"), ("part", "max")]
        files = rows.group_by("source").aggregate(aggregates).sort_by("source")
        self._sources, self._versions, self._first, self._last = (
            files[name].to_numpy() for name in ("source", "version_min", "part_min", "part_max")
        )
        self._is_doubled = self._first != self._last
        self.doubled = int(self._is_doubled.sum())
        self.number = int(np.sum(~self._is_doubled & (self._versions != _TRY_AGAIN)))

    def split(self, files: Sequence[ListedFile]) -> tuple[list[ListedFile], dict[str, list[str]]]:
        """Those that are to be counted, and what is to be forgotten before.

        Returns:
            files that no part counts, of another version now, of which an image could not be
            counted, or that two parts count; and {part: sources} of rows that these have.
        """
        sources = _hash([file.source for file in files])
        versions = _hash([file.version for file in files])
        places = np.searchsorted(self._sources, sources)
        places[places == len(self._sources)] = 0
        is_known = np.zeros(len(files), bool)
        if len(self._sources):
            is_known = self._sources[places] == sources
        todo, stale = [], defaultdict(list)
        for file, place, known, version in zip(files, places, is_known, versions, strict=True):
            if known and self._versions[place] == version and not self._is_doubled[place]:
                continue
            todo.append(file)
            if known:
                for part in {self._first[place], self._last[place]}:
                    stale[self._parts[part]].append(file.source)
        return todo, stale


def _to_hashes(batch, numbers):
    parts = (PurePosixPath(path).stem for path in batch["__filename"].to_pylist())
    parts = [numbers.setdefault(part, len(numbers)) for part in parts]
    versions = _hash(batch["version"].to_pylist())
    failed = [status != COUNTED for status in batch["status"].to_pylist()]
    versions[failed] = _TRY_AGAIN
    columns = [_hash(batch["source"].to_pylist()), versions, np.array(parts, np.int32)]
    return pa.record_batch(list(map(pa.array, columns)), schema=_SCHEMA)


def _hash(texts):
    digests = (hashlib.blake2b(text.encode(), digest_size=8).digest() for text in texts)
    return np.frombuffer(b"".join(digests), np.uint64).copy()
