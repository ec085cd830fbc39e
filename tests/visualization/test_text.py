import unicodedata

import numpy as np
import pytest

from bccd.visualization.text import shorten_left, text_mask, text_width

SIZE = 20.0
MISSING = "\N{CJK UNIFIED IDEOGRAPH-8840}"  # the font has none, and draws an empty box


def ink(text):
    return text_mask(text, SIZE).astype(int).sum()


@pytest.mark.parametrize(
    "name", ["tiêu bản máu đường số 7ươẫỵ.jpg", "Größe_ñandú_øå.png", "мазок.jpg", "επίχρισμα.tif"]
)
def test_the_letters_of_many_languages_are_drawn(name):
    for letter in unicodedata.normalize("NFC", name.replace(" ", "")):
        assert not np.array_equal(text_mask(letter, SIZE), text_mask(MISSING, SIZE))
    decomposed = text_mask(unicodedata.normalize("NFD", name), SIZE)
    assert np.array_equal(text_mask(name, SIZE), decomposed)  # file names of a Mac


@pytest.mark.parametrize("name", ["a\udc80b", "a\nb", "a\x00b", MISSING, "🩸", ""])
def test_what_no_font_can_draw_does_no_harm(name):
    mask = text_mask(name, SIZE)
    assert mask.dtype == np.uint8 and mask.ndim == 2 and mask.shape[1] >= 1
    assert (mask.any() and len(mask) < 2 * SIZE) or not name
    assert text_width(name, SIZE) >= 0


def test_texts_of_a_size_have_one_height_and_share_their_mask():
    assert (
        len({len(text_mask(text, SIZE)) for text in ("RBC 1%", "Platelets 100%", "total 3")}) == 1
    )
    assert text_mask("RBC 50%", SIZE) is text_mask("RBC 50%", SIZE)
    with pytest.raises(ValueError, match="read-only"):
        text_mask("RBC 50%", SIZE)[0, 0] = 1


def test_marks_on_capitals_are_not_cut_off():
    assert ink("\N{LATIN CAPITAL LETTER A WITH CIRCUMFLEX AND HOOK ABOVE}") > ink("Â") > ink("A")


def test_a_long_title_is_shortened_to_fit():
    name = "folder/" * 30 + "a.jpg"
    title = shorten_left(name, SIZE, 200)
    assert title.startswith("…") and name.endswith(title[1:])
    assert text_width(title, SIZE) <= 200 < text_width("…" + name[-len(title) :], SIZE)
    assert shorten_left("a.jpg", SIZE, 200) == "a.jpg"
    assert shorten_left(name, SIZE, 3) == ""
