"""The metadata of an ONNX file, changed without the ``onnx`` package, which counting does not need.

An ONNX file is a message of Protocol Buffers: a sequence of fields, each a key (number and type of
the field) and its content. ``metadata_props`` is field 14 of ``ModelProto``, a list of messages
with a key (field 1) and a value (field 2). All other fields are copied byte by byte.
"""

from collections.abc import Iterator, Mapping

_METADATA_PROPS = 14
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # types of fields, by what follows their key


def with_strings(content: bytes, strings: Mapping[str, str]) -> bytes:
    """The content of an ONNX file with other strings in its metadata.

    Args:
        content: of the file.
        strings: replace those of the same keys.

    Raises:
        ValueError: ``content`` is no ONNX file.
    """
    kept = [
        content[start:end]
        for number, start, inner, end in fields_of(content)
        if number != _METADATA_PROPS or _key_of(content[inner:end]) not in strings
    ]
    for key, text in strings.items():
        entry = encode(1, key.encode()) + encode(2, text.encode())
        kept.append(encode(_METADATA_PROPS, entry))
    return b"".join(kept)


def fields_of(content: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Fields of a message: number, where it starts, where its content starts, where it ends.

    Raises:
        ValueError: ``content`` is no message.
    """
    start = 0
    while start < len(content):
        key, inner = _varint(content, start)
        kind, end = key & 7, inner
        if kind == _VARINT:
            end = _varint(content, inner)[1]
        elif kind == _BYTES:
            length, inner = _varint(content, inner)
            end = inner + length
        elif kind in (_FIXED32, _FIXED64):
            end = inner + (4 if kind == _FIXED32 else 8)
        else:
            raise ValueError("not an ONNX file")
        if end > len(content):
            raise ValueError("not an ONNX file, or one that is cut off")
        yield key >> 3, start, inner, end
        start = end


def _key_of(entry):
    for number, _, inner, end in fields_of(entry):
        if number == 1:
            return entry[inner:end].decode()
    return None


def _varint(content, start):
    """A number of seven bits to the byte, and where it ends."""
    value = shift = 0
    for position in range(start, min(start + 10, len(content))):
        value |= (content[position] & 0x7F) << shift
        if content[position] < 0x80:
            return value, position + 1
        shift += 7
    raise ValueError("not an ONNX file, or one that is cut off")


def encode(number: int, content: bytes) -> bytes:
    """A field of a message, with its key and its length."""
    return _encode_varint(number << 3 | _BYTES) + _encode_varint(len(content)) + content


def _encode_varint(value):
    parts = bytearray()
    while value >= 0x80:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])
