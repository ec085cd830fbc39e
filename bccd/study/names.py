"""Names that people type in: of persons, of files that they drop, of models."""

import re
import unicodedata

from bccd.study.errors import StudyError

MOST_WHO = 80
MOST_NAME = 200  # bytes of a file's name
_RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?")


def check_who(who: str) -> str:
    """The name of a person, without the spaces around it.

    Raises:
        StudyError: it is empty, too long, or has control characters.
    """
    text = " ".join(who.split()) if isinstance(who, str) else ""
    if not text or len(text) > MOST_WHO or not text.isprintable():
        raise StudyError(f"say who you are, in 1 to {MOST_WHO} letters")
    return text


def clean_file_name(name: str) -> str:
    """A file name that is safe in the study's folder, near to what a user's file is called.

    No folders, no control or direction characters, no leading dot, no name that Windows keeps for
    a device; letters of any language stay.

    Args:
        name: as a browser sends it; it may hold anything.

    Raises:
        StudyError: nothing of it is left.
    """
    text = unicodedata.normalize("NFC", str(name)).replace("\\", "/").rpartition("/")[2]
    # Categories C: control, format (which can turn the direction of text), surrogates.
    text = "".join("_" if unicodedata.category(c)[0] == "C" else c for c in text)
    text = re.sub(r'[<>:"|?*#%]', "_", text).strip(" .")
    stem, dot, suffix = text.rpartition(".")
    if not stem or not suffix.isalnum() or len(suffix) > 5:
        stem, dot, suffix = text, "", ""
    while len((stem + dot + suffix).encode()) > MOST_NAME:
        stem = stem[:-1]
    if _RESERVED.fullmatch(stem):
        stem = f"_{stem}"
    if not stem.strip(" ._"):
        raise StudyError("the file has no name that can be kept: rename it")
    return stem + dot + suffix


def check_model_name(name: str) -> str:
    """The name of a new model: letters, digits, "-" and "_".

    Raises:
        StudyError: it is none.
    """
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,59}", name):
        raise StudyError('a model is called by up to 60 letters, digits, "-" and "_"')
    return name
