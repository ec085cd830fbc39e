"""An .onnx file whose weights lie in the .safetensors file beside it, once for both.

The format has it: an initializer may name another file, an offset in it and a length. Runtimes
read it from there; the two files stay together.
"""

import json
from pathlib import Path

import onnx
from onnx.external_data_helper import set_external_data

_WORTHWHILE = 4096  # bytes


def share_weights(path: Path, weights: Path) -> None:
    """Let an .onnx file take its weights from a .safetensors file in the same folder.

    Those initializers that are a tensor of that file, byte for byte, leave the .onnx file.

    Args:
        path: of the .onnx file, rewritten.
        weights: in the same folder.
    """
    model = onnx.load(str(path))
    content = weights.read_bytes()
    places = _places(content)
    for initializer in model.graph.initializer:
        data = initializer.raw_data
        if len(data) < _WORTHWHILE:
            continue
        for start, end in places.get(len(data), ()):
            if content[start:end] == data:
                set_external_data(initializer, weights.name, offset=start, length=end - start)
                initializer.ClearField("raw_data")
                break
    onnx.save(model, str(path))


def _places(content):
    """{length: [(start, end), ...]} of the tensors in the content of a .safetensors file."""
    header = 8 + int.from_bytes(content[:8], "little")
    places: dict[int, list[tuple[int, int]]] = {}
    for name, entry in json.loads(content[8:header]).items():
        if name != "__metadata__":
            start, end = (header + offset for offset in entry["data_offsets"])
            places.setdefault(end - start, []).append((start, end))
    return places
