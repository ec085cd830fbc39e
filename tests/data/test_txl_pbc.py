from collections import Counter

from bccd.data.sources.txl_pbc import _SAME_FIELD, part_of


def test_shares_of_the_parts():
    parts = Counter(part_of(f"{i:032x}.png") for i in range(16**5, 16**5 + 4000 * 16**26, 16**26))
    assert sum(parts.values()) == 4000
    assert 0.66 < parts["train"] / 4000 < 0.74 and 0.12 < parts["val"] / 4000 < 0.18


def test_a_field_that_the_set_shows_twice_is_in_one_part():
    assert all(part_of(f"{a}00.png") == part_of(f"{b}ff.png") for a, b in _SAME_FIELD.items())
