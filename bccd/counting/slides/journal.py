"""What was found in the tiles of a slide, on disk, so that a second start goes on."""

import dataclasses
import json
import os
from pathlib import Path

import numpy as np

from bccd.counting.field import Scale
from bccd.counting.image_quality import ImageQuality
from bccd.detections import Detections

_PLAN, _TILES = "plan.json", "tiles.jsonl"


class Journal:
    """The finished tiles of a slide, in a folder of its own until the slide is finished.

    ``plan.json`` says what they depend on, and the scale. ``tiles.jsonl`` has a line for each tile;
    one that a kill has cut short does not count. Memory holds the places of the lines only.
    """

    def __init__(self, folder: Path, plan: dict) -> None:
        """Go on with the tiles of the same plan, or else start afresh.

        Args:
            folder: of the journal; made where there is none.
            plan: what detections depend on beside the slide's scale, for JSON.
        """
        self._folder, self._plan = folder, json.loads(json.dumps(plan))
        folder.mkdir(parents=True, exist_ok=True)
        if self._stored().get("plan") != self._plan:
            (folder / _TILES).unlink(missing_ok=True)
            self._store({"plan": self._plan})
        self._places: dict[int, int] = {}
        self._index()
        self._file = open(folder / _TILES, "a+b")  # noqa: SIM115

    @property
    def scale(self) -> Scale | None:
        """The scale of the slide, where an earlier start has found it."""
        stored = self._stored().get("scale")
        return Scale(*stored) if stored else None

    @scale.setter
    def scale(self, scale: Scale) -> None:
        self._store({"plan": self._plan, "scale": scale})

    def __contains__(self, tile: int) -> bool:
        """Whether a tile is finished."""
        return tile in self._places

    def add(
        self, tile: int, found: Detections, is_full: bool, quality: ImageQuality | None = None
    ) -> None:
        """Note what a tile shows.

        Args:
            tile: its index.
            found: boxes in its pixels.
            is_full: that is all the detector can give.
            quality: of its image, where that was measured.
        """
        entry = {"tile": tile, "full": is_full, "size": found.image_size}
        entry["quality"] = quality and dataclasses.astuple(quality)
        for name in ("boxes", "scores", "classes"):
            entry[name] = getattr(found, name).tolist()
        self._file.seek(0, os.SEEK_END)
        place = self._file.tell()
        self._file.write(json.dumps(entry).encode() + b"\n")
        self._file.flush()
        self._places[tile] = place

    def read(self, tile: int) -> tuple[Detections, bool, ImageQuality | None]:
        """What was noted of a tile, as :meth:`add` took it."""
        self._file.seek(self._places[tile])
        entry = json.loads(self._file.readline())
        boxes = np.array(entry["boxes"], np.float32).reshape(-1, 4)
        scores, classes = np.array(entry["scores"], np.float32), np.array(entry["classes"], int)
        found = Detections(tuple(entry["size"]), boxes, scores, classes)
        quality = entry["quality"] and ImageQuality(*entry["quality"])
        return found, entry["full"], quality

    def close(self) -> None:
        """Close the file; another start goes on."""
        self._file.close()

    def remove(self) -> None:
        """Close and remove the journal: the slide is finished."""
        self.close()
        for name in (_TILES, _PLAN):
            (self._folder / name).unlink()
        self._folder.rmdir()

    def _index(self):
        path = self._folder / _TILES
        if not path.exists():
            return
        whole = 0
        with open(path, "rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    break
                self._places[json.loads(line)["tile"]] = whole
                whole += len(line)
        os.truncate(path, whole)

    def _stored(self):
        path = self._folder / _PLAN
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}

    def _store(self, content):
        temporary = self._folder / f"{_PLAN}.tmp"
        temporary.write_text(json.dumps(content), encoding="utf-8")
        os.replace(temporary, self._folder / _PLAN)
