"""Weights of an ONNX file that lie in another file, put into it without the ``onnx`` package.

See :mod:`.onnx_metadata` for the form of such a file. ``graph`` is field 7 of ``ModelProto``,
``initializer`` field 5 of ``GraphProto``. Of ``TensorProto``, ``raw_data`` is field 9,
``external_data`` field 13 (pairs of a key and a value: ``location``, ``offset``, ``length``) and
``data_location`` field 14.
"""

from functools import cache
from pathlib import Path

from bccd.export.onnx_metadata import encode, fields_of

_GRAPH, _INITIALIZER, _RAW_DATA, _EXTERNAL_DATA, _DATA_LOCATION = 7, 5, 9, 13, 14


def with_own_weights(content: bytes, folder: Path) -> bytes:
    """The content of an ONNX file that needs no other file.

    Args:
        content: of the file.
        folder: of the file, which the others' names start from.

    Raises:
        OSError: a file that it names cannot be read.
        ValueError: ``content`` is no ONNX file.
    """
    read = cache(lambda name: (folder / name).read_bytes())

    def in_graph(graph):
        return _rewrite(graph, _INITIALIZER, lambda tensor: _whole(tensor, read))

    return _rewrite(content, _GRAPH, in_graph)


def _whole(tensor, read):
    """The content of a ``TensorProto`` with its data inside; ``read`` gives those of a file."""
    kept, where = [], {}
    for number, start, inner, end in fields_of(tensor):
        if number == _EXTERNAL_DATA:
            pair = tensor[inner:end]
            key, value = (pair[i:j].decode() for _, _, i, j in fields_of(pair))
            where[key] = value
        elif number != _DATA_LOCATION:
            kept.append(tensor[start:end])
    if not where:
        return tensor
    first = int(where["offset"])
    data = read(where["location"])[first : first + int(where["length"])]
    return b"".join([*kept, encode(_RAW_DATA, data)])


def _rewrite(content, wanted, change):
    """``content`` with the contents of its fields of the number ``wanted`` changed."""
    return b"".join(
        encode(number, change(content[inner:end])) if number == wanted else content[start:end]
        for number, start, inner, end in fields_of(content)
    )
