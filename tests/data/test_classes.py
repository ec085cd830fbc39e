import logging

import pytest

from bccd.data.classes import (
    check_class_names,
    class_colors,
    find_class,
    same_classes,
    suggest_class,
)
from bccd.data.unlabelled import class_ids

OTHER_WORDS = ("Erythrocyte", "leukocytes", "Leucocyte", "thrombocyte")
FIVE = ("RBC", "Platelets", "Neutrophil", "Lymphocyte", "Monocyte")


def test_names_match_whatever_their_case_and_spaces_and_by_the_usual_spellings():
    assert find_class(" neutrophil", FIVE) == 2
    assert find_class("Red blood cells", FIVE) == find_class("redbloodcell", FIVE) == 0
    assert find_class("WBC", FIVE) is None
    assert [find_class(name, ("RBC", "WBC", "Platelets")) for name in OTHER_WORDS] == [0, 1, 1, 2]
    assert same_classes(("rbc", "Large  Cell"), ("Red Blood Cell", "large cell"))
    assert not same_classes(("a", "b"), ("b", "a")) and not same_classes(("a",), ("a", "b"))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("a", "b", "A "), "'a' and 'A ', which are one class"),
        (("RBC", "red blood cells"), "which are one class"),
        (("a", " "), "has ' '; expected a name"),
        (("a", 1), "has 1; expected a name"),
        ((), "expected the names of one class or more"),
        ("RBC", "expected the names of one class or more"),
    ],
)
def test_names_that_cannot_be_told_apart_are_refused(names, message):
    with pytest.raises(ValueError, match=rf"the config .*{message}"):
        check_class_names(names, "the config")


def test_a_misspelling_is_told_from_another_class():
    for wrong, meant in (("Neutrophyl", "Neutrophil"), ("RCB", "RBC"), ("Platlets", "Platelets")):
        assert suggest_class(wrong, FIVE) == meant
    for other in ("WBC", "Eosinophil", "Blast", "Reticulocyte"):
        assert suggest_class(other, FIVE) is None


def test_known_cells_keep_their_colors_and_others_differ_from_them():
    rbc, wbc, platelets = class_colors(("RBC", "WBC", "Platelets"))
    five = class_colors(FIVE)
    assert five[:2] == (rbc, platelets)
    assert len(set(five)) == 5
    many = class_colors([f"kind {i}" for i in range(40)])
    assert len(set(many)) == 40
    assert class_colors(("a", "white blood cell"))[1] == wbc != class_colors(("a", "WBC"))[0]


def test_stated_colors_win_and_must_fit():
    assert class_colors(("RBC",), [[1, 2, 3]]) == ((1, 2, 3),)
    for wrong in ([[1, 2, 3]] * 2, [[1, 2]], [[1, 2, 300]]):
        with pytest.raises(ValueError, match="do not fit the classes RBC"):
            class_colors(("RBC",), wrong)


def test_a_key_has_no_effect_for_classes_that_the_model_lacks_and_says_so(caplog):
    with caplog.at_level(logging.INFO):
        assert class_ids(("WBC", "platelet", "rbc"), "A.KEY", FIVE) == [1, 0]
    assert "A.KEY: no effect for WBC; the classes are RBC, Platelets," in caplog.text
    with pytest.raises(ValueError, match=r"A\.KEY names Monocite; did you mean Monocyte\?"):
        class_ids(("Monocite",), "A.KEY", FIVE)
