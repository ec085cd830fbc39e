"""A data set on disk, listed file by file and nothing refused.

The loaders stop at the first thing that is wrong; checking and converting need the whole picture.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from bccd.data.bccd_classes import CLASS_NAMES, class_id
from bccd.data.formats.annotated_image import AnnotatedImage
from bccd.data.formats.files import PARTS


@dataclass
class AnnotatedDataset:
    """What a data set's folder holds.

    Attributes:
        root: the folder.
        format: "voc", "coco" or "yolo".
        class_names: its classes as its files spell them, in their order.
        images: name to image, of those whose annotation could be read.
        splits: name of a split to the names of its images.
        unannotated: image files without an annotation.
        unreadable: annotation files that could not be read, and why.
        absent: files that name what is not there, which is passed over, and what that is.
    """

    root: Path
    format: str
    class_names: list[str] = field(default_factory=list)
    images: dict[str, AnnotatedImage] = field(default_factory=dict)
    splits: dict[str, list[str]] = field(default_factory=dict)
    unannotated: list[Path] = field(default_factory=list)
    unreadable: list[tuple[Path, str]] = field(default_factory=list)
    absent: list[tuple[Path, str]] = field(default_factory=list)

    def select(self, split: str | None = None) -> list[AnnotatedImage]:
        """Images of one split, all images for None.

        Raises:
            ValueError: there is no such split, or it names an image without annotation.
        """
        if split is None:
            return list(self.images.values())
        part = next((s for s in self.splits if PARTS.get(s.lower(), s) == split), split)
        names = self.splits.get(split, self.splits.get(part))
        if names is None:
            known = ", ".join(sorted(self.splits)) or "none"
            raise ValueError(f"{self.root} has no part {split!r}; its parts: {known}")
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


def sorted_classes(names: Iterable[str]) -> list[str]:
    """Classes of annotations that no file lists, sorted; those of BCCD as BCCD orders them."""
    found = sorted({name.strip() for name in names})
    return bccd_classes(found) or found


def bccd_classes(names: Iterable[str]) -> list[str] | None:
    """The classes of BCCD in its order and spelling where ``names`` are all of them; else None."""
    ids = {class_id(name) for name in names}
    return list(CLASS_NAMES) if ids == set(range(len(CLASS_NAMES))) else None
