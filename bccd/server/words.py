"""The sentences of the page, one catalogue for each language: languages/en.json and vi.json."""

import functools
import json
from collections.abc import Callable, Mapping
from pathlib import Path

FOLDER = Path(__file__).parent / "languages"
LANGUAGES = {"en": "English", "vi": "Tiếng Việt"}
DEFAULT = "en"

Words = Callable[..., str]


@functools.cache
def catalogue(language: str) -> Mapping[str, str]:
    """The entries of a language, by their keys.

    Raises:
        KeyError: there is no such language.
    """
    LANGUAGES[language]  # a name from a request never becomes a path unless it is known
    return json.loads((FOLDER / f"{language}.json").read_text(encoding="utf-8"))


def words_of(language: str) -> Words:
    """The function that looks up an entry of a language and fills in its values."""
    entries = catalogue(language)
    return lambda key, **values: entries[key].format_map(values)


def choose_language(cookie: str | None, accepted: str) -> str:
    """The language of a request.

    Args:
        cookie: what the person chose; None: nothing.
        accepted: the header Accept-Language.
    """
    if cookie in LANGUAGES:
        return cookie
    for part in accepted.split(","):
        language = part.split(";")[0].strip().split("-")[0].lower()
        if language in LANGUAGES:
            return language
    return DEFAULT
