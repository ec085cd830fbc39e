"""What is written in a format, and where."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from bccd.data.formats.annotated_image import AnnotatedImage

REST = "rest"  # the part of images that are in none


@dataclass(frozen=True)
class Writing:
    """A data set on its way into the files of a format.

    Attributes:
        images: name, without suffix, to image; cleaned, so that every box has one of
            ``class_names`` and lies inside its image.
        splits: name of a part to names of its images; empty where there are no parts.
        class_names: classes in their order.
        folder: of the new files.
        images_folder: of the copies of the images, below ``folder``; empty: ``folder`` itself.
        by_part: each part has a folder, with images and annotations.
    """

    images: Mapping[str, AnnotatedImage]
    splits: Mapping[str, Sequence[str]]
    class_names: Sequence[str]
    folder: Path
    images_folder: str = ""
    by_part: bool = False

    def put(self, path: str, content: str | bytes) -> None:
        """Write a file by its path below the folder."""
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content.encode() if isinstance(content, str) else content)

    def file_name(self, name: str) -> str:
        """Path of an image below the folder of the images."""
        return name + self.images[name].path.suffix

    def parts(self) -> Mapping[str, Sequence[str]]:
        """The parts, and ``rest`` for images in none; where there are no parts, ``all``."""
        if not self.splits:
            return {"all": list(self.images)}
        listed = {name for names in self.splits.values() for name in names}
        rest = [name for name in self.images if name not in listed]
        return {**self.splits, REST: rest} if rest else self.splits

    def parts_of(self, name: str) -> list[str]:
        """Names of the parts that an image is in."""
        return self._parts_by_name.get(name, [])

    @cached_property
    def _parts_by_name(self):
        found = {}
        for part, names in self.splits.items():
            for name in names:
                found.setdefault(name, []).append(part)
        return found

    def part_as(self, key: str, name: str) -> dict[str, str]:
        """The only part of an image under a key; empty where it is in none."""
        parts = self.parts_of(name)
        return {key: parts[0]} if parts else {}

    def places(self, name: str) -> list[str]:
        """Where copies of an image are, below the folder and without suffix."""
        folders = [self.images_folder]
        if self.by_part and self.splits:
            folders = self.parts_of(name) or [REST]
        return ["/".join(filter(None, (folder, name))) for folder in folders]

    def place(self, name: str) -> str:
        """The only place, or the first one."""
        return self.places(name)[0]
