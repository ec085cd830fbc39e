"""Computing the next items in the background, in bounded memory."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor


def map_ahead(function: Callable[[object], object], items: Iterable, depth: int) -> Iterator:
    """``map(function, items)``, computed by a background thread up to ``depth`` items ahead.

    ``Executor.map`` would take all items at once; here no more than ``depth + 1`` are held.
    ``items`` is iterated in the thread that consumes the results, so calls can be nested: reading,
    then a model in the caller's thread, then writing.

    Args:
        function: called with one item at a time, in order. Threads help as far as it
            releases Python's lock, as decoding, resizing and tensor operations do.
        items: may be endless.
        depth: at least 1.

    Yields:
        ``function(item)`` in the order of ``items``; an error of either is raised in its place,
        once the items before it are done.
    """
    with ThreadPoolExecutor(max_workers=1) as pool:
        pending = deque()
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) > depth:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
