"""Whether counting says so where an image is spoiled, and not where it is good."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import cv2
import numpy as np

from bccd.counting.counter import CellCounter
from bccd.data.images.decoding import read_bgr
from bccd.data.records import load_records
from bccd.experiments.fields import stitch
from bccd.experiments.intervals import TEST_SETS

GOOD = "good"
# How the notes on an image begin, and what they are called here.
NOTES = {
    "out of focus": "focus",
    "over-exposed": "over-exposed",
    "under-exposed": "under-exposed",
    "noisy": "noise",
    "crowded": "crowded",
    "a part of the image has as many": "crowded",
    "unlike": "unlike",
    "a grey image": "unlike",
    "no red cell": "scale",
    "few red cells": "scale",
    "the border cuts": "border",
    "too small": "border",
    "coarse": "coarse",
    "colours exchanged": "colours",
}
SIDE, BLURRED = 4, 5  # fields in a row of a large one, and how many of it are spoiled
LARGE = f"good, {SIDE**2} side by side"
ANY = "any"  # a picture of something else has any of them

# Takes a uint8 BGR image (H, W, 3), and the diameter of its red cells in pixels.
Spoiling = Callable[[np.ndarray, float], np.ndarray]


def _blur(share: float) -> Spoiling:
    """Gaussian, with this share of a red cell's diameter as standard deviation."""
    return lambda image, diameter: cv2.GaussianBlur(image, (0, 0), share * diameter)


def _defocus(share: float) -> Spoiling:
    """A disc of this radius, as a lens out of focus draws a point."""

    def spoil(image, diameter):
        radius = max(1, round(share * diameter))
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1,) * 2)
        return cv2.filter2D(image, -1, disc / disc.sum(), borderType=cv2.BORDER_REFLECT)

    return spoil


def _expose(gain: float) -> Spoiling:
    return lambda image, _: (image * np.float32(gain)).clip(0, 255).astype(np.uint8)


def _add_noise(deviation: float) -> Spoiling:
    def spoil(image, _):
        noise = np.random.default_rng(0).normal(0, deviation, image.shape)
        return (image + noise).clip(0, 255).astype(np.uint8)

    return spoil


def _compress(quality: int) -> Spoiling:
    def spoil(image, _):
        coded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        return cv2.imdecode(coded, cv2.IMREAD_COLOR)

    return spoil


def _crowd(layers: int) -> Spoiling:
    """The field and mirrored copies of it on top of each other: light passes through all."""

    def spoil(image, _):
        flips = image, image[::-1], image[:, ::-1], image[::-1, ::-1]
        ground = np.percentile(image, 98, axis=(0, 1))
        layers_of = [np.minimum(flip / ground, 1) for flip in flips[1:layers]]
        return (image * np.prod(layers_of, axis=0)).clip(0, 255).astype(np.uint8)

    return spoil


def _crop(diameters: float) -> Spoiling:
    """The middle of the field, so many red cells wide and high."""

    def spoil(image, diameter):
        half = round(diameters * diameter / 2)
        y, x = (side // 2 for side in image.shape[:2])
        return np.ascontiguousarray(image[max(0, y - half) : y + half, max(0, x - half) : x + half])

    return spoil


def _blur_pixels(pixels: float) -> Spoiling:
    return lambda image, _: cv2.GaussianBlur(image, (0, 0), pixels)


def _small_copy(image: np.ndarray, diameter: float) -> np.ndarray:
    return cv2.resize(image, (64, 48), interpolation=cv2.INTER_AREA)


def _small_part(image: np.ndarray, diameter: float) -> np.ndarray:
    y, x = ((side - least) // 2 for side, least in zip(image.shape, (48, 64), strict=False))
    return np.ascontiguousarray(image[y : y + 48, x : x + 64])


# What is done to a good field, and the note that it calls for; None: none, as it should not matter.
SPOILINGS: dict[str, tuple[Spoiling, str | None]] = {
    "blur, 3% of a cell": (_blur(0.03), None),
    "blur, 3 pixels": (_blur_pixels(3), None),
    "blur, 6%": (_blur(0.06), "focus"),
    "blur, 10%": (_blur(0.10), "focus"),
    "defocus, 15%": (_defocus(0.15), "focus"),
    "1.5 times the light": (_expose(1.5), "over-exposed"),
    "2 times the light": (_expose(2.0), "over-exposed"),
    "0.6 of the light": (_expose(0.6), "under-exposed"),
    "0.3 of the light": (_expose(0.3), "under-exposed"),
    "noise of 15 grey values": (_add_noise(15), None),
    "noise of 60": (_add_noise(60), "noise"),
    "JPEG, quality 10": (_compress(10), None),
    "JPEG, quality 3": (_compress(3), None),
    "2 fields on each other": (_crowd(2), "crowded"),
    "3 fields on each other": (_crowd(3), "crowded"),
    "1.8 cells wide": (_crop(1.8), "border"),
    "64 x 48 pixels of it": (_small_part, "border"),
    "resized to 64 x 48 pixels": (_small_copy, "coarse"),
    "red and blue exchanged": (lambda i, _: np.ascontiguousarray(i[..., ::-1]), "colours"),
    "negative": (lambda image, _: 255 - image, ANY),
    "colours exchanged": (lambda image, _: np.ascontiguousarray(image[..., [1, 2, 0]]), ANY),
    "grey": (lambda i, _: np.repeat(cv2.cvtColor(i, cv2.COLOR_BGR2GRAY)[..., None], 3, 2), ANY),
}


def draw_other_pictures() -> dict[str, np.ndarray]:
    """Pictures of something else than cells, uint8 BGR (H, W, 3), by name."""
    rng, size = np.random.default_rng(0), (480, 640)
    page = np.full((*size, 3), 250, np.uint8)
    for line in range(14):
        text = "".join(rng.choice(list("abcdefgh ijklm nopq rstuv"), size=44))
        cv2.putText(page, text, (15, 30 + 33 * line), cv2.FONT_HERSHEY_COMPLEX, 0.7, (40, 30, 30))
    y, x = np.mgrid[: size[0], : size[1]]
    board = np.where((y // 40 + x // 40)[..., None] % 2, (60, 60, 200), (230, 240, 240))
    clouds = sum(
        cv2.resize(rng.normal(0, 1, (side, side, 3)), size[::-1], interpolation=cv2.INTER_CUBIC)
        * 60
        / side**0.5
        for side in (3, 6, 12, 24, 48)
    )
    stripes = 128 + 100 * np.sin(x / 9)[..., None] * np.array([1.0, 0.6, 0.8])
    pictures = {"page of text": page, "board": board, "clouds": clouds + 150, "stripes": stripes}
    pictures["static"] = rng.integers(0, 256, (*size, 3))
    discs = np.full((*size, 3), (200, 220, 205), np.uint8)
    for centre in rng.integers(0, 640, (25, 2)).tolist():
        cv2.circle(discs, centre, int(rng.integers(20, 60)), rng.integers(0, 255, 3).tolist(), -1)
    pictures["coloured discs"] = discs
    return {name: picture.clip(0, 255).astype(np.uint8) for name, picture in pictures.items()}


def kinds_of(notes: Iterable[str]) -> list[str]:
    """What the notes on an image are called here."""
    found = {kind for note in notes for start, kind in NOTES.items() if note.startswith(start)}
    return sorted(found)


def measure_notes(
    counter: CellCounter, fields: int, pictures: dict[str, np.ndarray] | None = None
) -> list[dict]:
    """Count good fields, the same fields spoiled, and other pictures.

    Args:
        counter: counts.
        fields: of each laboratory that are spoiled; all are counted as they are.
        pictures: of something else; None: those of :func:`draw_other_pictures`.

    Returns:
        a dict for each image: ``laboratory``, ``file``, ``spoiling`` (``good``: none), ``wanted``
        (the note that it calls for, or None), ``notes`` (kinds), and ``cells``, their number.
    """
    rows = []

    def count(image, **about):
        result = counter(image, channel_order="BGR")
        cells = sum(result.counts.values())
        rows.append({**about, "notes": kinds_of(result.notes), "cells": cells})
        return result

    for dataset in TEST_SETS:
        for number, record in enumerate(load_records(dataset, counter.class_names)):
            image = read_bgr(record["file_name"])
            about = {"laboratory": dataset, "file": record["file_name"].rpartition("/")[2]}
            result = count(image, **about, spoiling=GOOD, wanted=None)
            if number < fields:
                for name, (spoil, wanted) in SPOILINGS.items():
                    spoiled = spoil(image, result.scale.diameter)
                    count(spoiled, **about, spoiling=name, wanted=wanted)
        for number, images in enumerate(_large_fields(dataset, counter.class_names)):
            about = {"laboratory": dataset, "file": f"{SIDE**2} fields, {number}"}
            count(stitch(images, SIDE), **about, spoiling=LARGE, wanted=None)
            blurred = [_defocus(0.15)(image, result.scale.diameter) for image in images[:BLURRED]]
            spoiled = stitch([*images[BLURRED:], *blurred], SIDE)
            count(spoiled, **about, spoiling=f"{BLURRED} of them out of focus", wanted="focus")
    for name, image in (pictures or draw_other_pictures()).items():
        count(image, laboratory="", file=name, spoiling="other pictures", wanted=ANY)
    return rows


def _large_fields(dataset, class_names):
    """The images of fields that can be put side by side: of the size that most have."""
    records = load_records(dataset, class_names)
    size = Counter((r["height"], r["width"]) for r in records).most_common(1)[0][0]
    records = [r for r in records if (r["height"], r["width"]) == size]
    for start in range(0, len(records) - SIDE**2 + 1, SIDE**2):
        yield [read_bgr(r["file_name"]) for r in records[start : start + SIDE**2]]


def spoiling_table(rows: Sequence[dict]) -> str:
    """Markdown: a row for each way to spoil a field."""
    lines = [
        "| what was done | images | cells that count | calls for | noted so | any note |",
        "|---|---|---|---|---|---|",
    ]
    good = {(r["laboratory"], r["file"]): r for r in rows if r["spoiling"] in (GOOD, LARGE)}
    for name in dict.fromkeys(row["spoiling"] for row in rows):
        chosen = [row for row in rows if row["spoiling"] == name]
        before = sum(good.get((r["laboratory"], r["file"]), {"cells": 0})["cells"] for r in chosen)
        share = f"{sum(row['cells'] for row in chosen) / before:.0%}" if before else ""
        wanted = chosen[0]["wanted"]
        noted = _share(_right(row) for row in chosen) if wanted else ""
        any_note = _share(bool(row["notes"]) for row in chosen)
        cells = [name, str(len(chosen)), share, wanted or "", noted, any_note]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def note_table(rows: Sequence[dict]) -> str:
    """Markdown: for each kind of note its recall, precision, and false alarms on good fields."""
    lines = ["| note | recall | precision | on good fields |", "|---|---|---|---|"]
    good = [row for row in rows if row["spoiling"] == GOOD]
    for kind in sorted({row["wanted"] for row in rows} - {None, ANY}):
        called = [row for row in rows if row["wanted"] == kind]
        raised = [row for row in rows if kind in row["notes"] and row["wanted"] != ANY]
        cells = [
            kind,
            _share(kind in row["notes"] for row in called),
            _share(row["wanted"] == kind for row in raised),
            _share(kind in row["notes"] for row in good),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    for kind in ("scale", "unlike"):
        cells = [kind, "", "", _share(kind in row["notes"] for row in good)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _right(row):
    return bool(row["notes"]) if row["wanted"] == ANY else row["wanted"] in row["notes"]


def _share(values):
    values = list(values)
    return f"{np.mean(values):.0%}" if values else ""
