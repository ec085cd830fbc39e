"""A data set on disk, listed file by file and nothing refused.

The loaders stop at the first thing that is wrong; checking and converting need the whole picture.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from bccd.data.classes import class_key
from bccd.data.formats.annotated_image import AnnotatedImage
from bccd.data.formats.files import PARTS


@dataclass
class AnnotatedDataset:
    """What a data set's folder holds.

    Attributes:
        root: the folder.
        format: a key of :data:`bccd.data.formats.registry.FORMATS`.
        class_names: its classes as its files spell them, in their order, each once; sorted where
            no file lists them, as in VOC.
        images: name to image, of those whose annotation could be read.
        splits: name of a split to the names of its images.
        unannotated: image files without an annotation.
        unreadable: annotation files that could not be read, and why.
        absent: files that name what is not there, which is passed over, and what that is.
        simplified: files of which something is read as less than it is, such as an outline as the
            box around it, and what that is.
    """

    root: Path
    format: str
    class_names: list[str] = field(default_factory=list)
    images: dict[str, AnnotatedImage] = field(default_factory=dict)
    splits: dict[str, list[str]] = field(default_factory=dict)
    unannotated: list[Path] = field(default_factory=list)
    unreadable: list[tuple[Path, str]] = field(default_factory=list)
    absent: list[tuple[Path, str]] = field(default_factory=list)
    simplified: list[tuple[Path, str]] = field(default_factory=list)

    def select(self, split: str | None = None) -> list[AnnotatedImage]:
        """Images of one split, all images for None.

        Raises:
            ValueError: there is no such split, or it names an image without annotation.
        """
        if split is None:
            return list(self.images.values())
        found = split
        if split not in self.splits:  # called by another name of the same part, or not there
            same = (s for s in self.splits if _part(s) == _part(split))
            found = next(same, None)
        if found is None:
            known = ", ".join(sorted(self.splits)) or "none"
            raise ValueError(f"{self.root} has no part {split!r}; its parts: {known}")
        names = self.splits[found]
        if unknown := [name for name in names if name not in self.images]:
            raise ValueError(
                f"{self.root}: part {split} lists {unknown[0]}, which has no annotation that "
                "can be read. Add it, or take it from the list."
            )
        return [self.images[name] for name in names]

    def raise_unreadable(self) -> None:
        """Raise ValueError for the first annotation that could not be read, if there is one."""
        if self.unreadable:
            path, message = self.unreadable[0]
            raise ValueError(message if str(path) in message else f"{path}: {message}")


def _part(split):
    return PARTS.get(split.lower(), split)


def unique_classes(names: Iterable[str]) -> list[str]:
    """The names, in their order, without further spellings of a class."""
    first = {}
    for name in names:
        first.setdefault(class_key(name), name.strip())
    return list(first.values())
