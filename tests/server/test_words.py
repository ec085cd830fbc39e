import re
from string import Formatter

import pytest

from bccd.server.words import FOLDER, LANGUAGES, catalogue, choose_language, words_of

ENGLISH = catalogue("en")
CODE = [*FOLDER.parent.glob("*.py"), *FOLDER.parent.glob("assets/**/*.js")]


def values_in(sentence):
    return sorted(name for _, name, _, _ in Formatter().parse(sentence) if name is not None)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_has_the_same_entries_with_the_same_values(language):
    entries = catalogue(language)
    assert list(entries) == list(ENGLISH)
    assert {k: values_in(v) for k, v in entries.items()} == {
        k: values_in(v) for k, v in ENGLISH.items()
    }


def test_no_entry_is_left_in_english_or_empty():
    vietnamese = catalogue("vi")
    assert all(sentence.strip() for sentence in vietnamese.values())
    same = {key for key, sentence in vietnamese.items() if sentence == ENGLISH[key]}
    assert same == {"results.json", "results.f1", "table.interval"}  # names, the same in both


def test_the_code_asks_for_no_entry_that_is_missing():
    families = "|".join({key.split(".")[0] for key in ENGLISH})
    text = "\n".join(path.read_text(encoding="utf-8") for path in CODE)
    asked = set(re.findall(rf"""["'`]((?:{families})\.\w+)["'`]""", text))
    assert len(asked) > 100
    assert {key for key in asked if not key.endswith(".js")} <= set(ENGLISH)


def test_no_entry_is_never_asked_for():
    text = "\n".join(path.read_text(encoding="utf-8") for path in CODE)
    families = set(re.findall(r"""[`"']([\w.]+)\.(?:\$\{|\{)""", text)) | {"gallery.show"}
    families |= {"gallery.sort"}

    def is_used(key):
        is_named = f'"{key}"' in text or f"'{key}'" in text
        return is_named or any(key.startswith(f"{family}.") for family in families)

    assert [key for key in ENGLISH if not is_used(key)] == []


def test_a_sentence_gets_its_values():
    assert words_of("en")("drop.sent", number=3) == "Images added: 3."


@pytest.mark.parametrize(
    ("cookie", "accepted", "chosen"),
    [
        ("vi", "en", "vi"),
        (None, "vi-VN,vi;q=0.9,en;q=0.8", "vi"),
        ("../../etc", "de, en;q=0.5", "en"),
        (None, "", "en"),
    ],
)
def test_the_language_is_the_chosen_one_or_the_browsers(cookie, accepted, chosen):
    assert choose_language(cookie, accepted) == chosen


def test_an_unknown_language_is_no_path():
    with pytest.raises(KeyError):
        catalogue("../../../etc/passwd")
