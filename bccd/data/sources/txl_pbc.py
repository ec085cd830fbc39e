"""TXL-PBC: fields of two further laboratories, and how they are split."""

import hashlib

# Shares of the fields in twentieths: 14 to train, 3 for validation, 3 for the test.
_PARTS = ("train",) * 14 + ("val",) * 3 + ("test",) * 3

# Fields of Raabin that the set shows twice (bccd.data.checks.near_duplicates): the second one
# goes where the first one goes.
_SAME_FIELD = {
    "b9a2a0": "eef539",
    "d6ad3b": "09419b",
    "92129d": "310423",
    "6d88c2": "61f1d7",
    "449795": "bbffef",
    "aef49f": "d48da6",
}


def part_of(file_name: str) -> str:
    """The part of its set, "train", "val" or "test", that an image belongs to.

    The name alone decides, so that the parts stay the same when images are added.

    Args:
        file_name: without folders; the set names its images by a hash.
    """
    key = _SAME_FIELD.get(file_name[:6], file_name[:6])
    return _PARTS[int(hashlib.sha256(key.encode()).hexdigest(), 16) % len(_PARTS)]
