"""Gathering what annotation files say into one :class:`AnnotatedDataset`."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from bccd.data.formats import files
from bccd.data.formats.annotated_image import AnnotatedImage
from bccd.data.formats.dataset import AnnotatedDataset, unique_classes
from bccd.data.images.decoding import image_orientation, image_size
from bccd.data.images.image_source import UnreadableImageError
from bccd.data.images.own_pictures import is_marked


class Listing:
    """Images and annotation files below a folder, while they are read.

    Attributes:
        dataset: what has been read.
        pictures: the image files, without those that this project drew.
        below: all files.
    """

    def __init__(
        self, root: Path, form: str, annotations: Sequence[Path], image_root: Path | None = None
    ) -> None:
        """``annotations``: the files to read; ``image_root``: what names of images start from."""
        self.dataset = AnnotatedDataset(root, form)
        self.below = files.list_files(image_root or root)
        self.pictures = [p for p in files.images_of(self.below) if not is_marked(p)]
        self._image_root = image_root
        everything = self.pictures if image_root else [*self.pictures, *annotations]
        self._folder = files.common_folder(everything, image_root or root)
        self._find = files.ImageFinder([], self.pictures)
        self._by_stem, self._members = {}, {}
        for path in self.pictures:
            for key in (path.name, path.stem, (path.parent, path.name), (path.parent, path.stem)):
                self._by_stem.setdefault(key, []).append(path)

    def finder(self, annotations: Path, more: Iterable[Path] = ()) -> files.ImageFinder:
        """Finds images by the names in a file.

        Names start from the folder of the file, those around it, folders ``images`` in these, and
        ``more``.
        """
        if self._image_root:
            return self._find.starting_from([self._image_root])
        around = [p for p in annotations.parents if p.is_relative_to(self.dataset.root)]
        folders = [candidate for folder in around for candidate in (folder, folder / "images")]
        return self._find.starting_from([*more, *folders])

    def same_stem(self, annotations: Path, stem: str) -> Path:
        """The image that a file belongs to by its name, beside it or anywhere below the folder.

        ``stem`` is the image's file name with its suffix or without. Where there is no such image
        it is expected beside the file.
        """
        beside = annotations.parent, annotations.parent / "images"
        for key in (*((folder, stem) for folder in beside), stem):
            found = self._by_stem.get(key, [])
            if len(found) == 1:
                return found[0]
        return annotations.with_name(stem)

    def add(self, image: AnnotatedImage, part: str | None = None, *, keep_id: bool = False) -> None:
        """Add an image, numbered by its place unless its id is to be kept.

        Raises:
            ValueError: it is there already, with other boxes.
        """
        images = self.dataset.images
        name = files.entry_name(image.path, self._folder)
        if name in images and images[name].path != image.path:  # smear.png beside smear.jpg
            name = f"{name}{image.path.suffix}"
        known = images.get(name)
        if known and _boxes(known) != _boxes(image):
            raise ValueError(_twice(known, image, self.dataset.format))
        images.setdefault(name, image if keep_id else image.renumbered(len(images) + 1))
        if part:
            members = self._members.setdefault(part, set())
            if name not in members:
                members.add(name)
                self.dataset.splits.setdefault(part, []).append(name)

    def refuse(self, path: Path, error: ValueError) -> None:
        """Note that a file cannot be read."""
        self.dataset.unreadable.append((path, str(error)))

    def simplify(self, path: Path, outlines: int) -> None:
        """Note that ``outlines`` of a file are read as the boxes around them; 0 is no word."""
        if outlines:
            what = "1 outline is" if outlines == 1 else f"{outlines} outlines are"
            around = "the box around it" if outlines == 1 else "the boxes around them"
            self.dataset.simplified.append((path, f"{what} read as {around}"))

    def finish(
        self, class_names: Iterable[str] | None = None, *, every_picture: bool = True
    ) -> AnnotatedDataset:
        """The data set.

        Args:
            class_names: that its files list; None: those of its boxes, in alphabetical order.
            every_picture: note the images that no file names.
        """
        dataset = self.dataset
        names = Counter(box.name for image in dataset.images.values() for box in image.boxes)
        listed = sorted(names) if class_names is None else [*class_names, *sorted(names)]
        dataset.class_names = unique_classes(listed)
        if not dataset.splits:
            dataset.splits = files.parts_by_folder(dataset.images)
        if every_picture and not dataset.unreadable:
            listed = {image.path.resolve() for image in dataset.images.values()}
            dataset.unannotated += [p for p in self.pictures if p.resolve() not in listed]
        dataset.unannotated = list(dict.fromkeys(dataset.unannotated))
        return dataset


def list_files_of_images(
    root: Path,
    form: str,
    found: Sequence[Path],
    read: Callable[[Path, Listing], tuple[AnnotatedImage, int]],
    *,
    every_picture: bool,
) -> AnnotatedDataset:
    """The data set of annotation files that are of one image each.

    Args:
        root: folder of the data set.
        form: name of the format.
        found: the files.
        read: gives the image of a file, and how many of its boxes were drawn as another shape;
            raises ValueError where it cannot be read.
        every_picture: note the images that no file names.
    """
    listing = Listing(root, form, found)
    for path in found:
        try:
            image, outlines = read(path, listing)
            listing.add(image)
            listing.simplify(path, outlines)
        except ValueError as error:
            listing.refuse(path, error)
    return listing.finish(every_picture=every_picture)


def _boxes(image):
    return sorted((box.name, *box.corners) for box in image.boxes)


def _twice(known, image, form):
    name = image.path.name
    if known.source == image.source:
        return (
            f"{image.source}: {name} is listed twice, with other boxes each time. Remove one of "
            "the two, or give the images different names."
        )
    return (
        f"{image.source}: {name} has other boxes in {known.source}. Name the file that is meant, "
        f"as {form}:FILE, or move the other one away."
    )


def size_of(path: Path, where: str, *, as_stored: bool = False) -> tuple[int, int]:
    """Size of an image whose annotation states none; (0, 0) where it is missing.

    Args:
        path: of the image.
        where: for messages.
        as_stored: the program shows images as the sensor took them, whatever their EXIF says.

    Raises:
        ValueError: it cannot be read, or the program shows another picture than this project.
    """
    if not path.is_file():
        return 0, 0
    try:
        size = image_size(path)
        if as_stored and image_orientation(path) != 1:
            raise ValueError(
                f"{where}: {path.name} is turned by its EXIF orientation, which this program does "
                "not do. Remove the orientation (exiftool -Orientation= FILE), and mark it anew."
            )
    except (OSError, UnreadableImageError) as error:
        raise ValueError(f"{where}: the size of its image is unknown ({error}).") from error
    return size
