import threading

import pytest

from bccd.data.loading.ahead import map_ahead


def test_gives_results_in_order_and_takes_few_items_ahead():
    taken = []

    def items():
        for number in range(100):
            taken.append(number)
            yield number

    results = map_ahead(lambda number: (number, threading.get_ident()), items(), depth=3)
    for expected in range(100):
        number, thread = next(results)
        assert number == expected and thread != threading.get_ident()
        assert len(taken) <= expected + 4
    assert list(results) == []


@pytest.mark.parametrize("where", ["function", "items"])
def test_an_error_comes_after_what_was_done_before_it(where):
    done = []

    def items():
        yield from (1, 2)
        if where == "items":
            raise RuntimeError("broken")
        yield 0

    def function(item):
        done.append(1 / item)

    with pytest.raises((RuntimeError, ZeroDivisionError)):
        list(map_ahead(function, items(), depth=5))
    assert done == [1, 0.5]
