"""Pickles of weights, such as the ``.pkl`` files of Detectron2's model zoo, read without any code.

Reading a pickle can call any function that the pickle names. Here it can name only the functions
that NumPy arrays are made of. ``torch.load(weights_only=True)``, which does the same for PyTorch's
own files, does not read these: they are plain pickles, and hold NumPy arrays.
"""

import pickle
from collections import OrderedDict
from pathlib import Path

import numpy as np


class _Refused(pickle.UnpicklingError):
    """The pickle names something that is not allowed."""


def _encode(text, encoding):
    """``codecs.encode`` as pickles of bytes use it; other codecs could import modules."""
    if encoding != "latin1":
        raise _Refused(f"the codec {encoding}")
    return text.encode("latin1")


def _from_buffer(buffer, dtype, shape, order):
    """The function that pickles of protocol 5 make an array with."""
    return np.frombuffer(buffer, dtype).reshape(shape, order=order)


_reconstruct = np.zeros(1).__reduce__()[0]
_scalar = np.float32(0).__reduce__()[0]
_ALLOWED = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): _encode,
    ("collections", "OrderedDict"): OrderedDict,
    **{(f"numpy.{c}.multiarray", "_reconstruct"): _reconstruct for c in ("core", "_core")},
    **{(f"numpy.{c}.multiarray", "scalar"): _scalar for c in ("core", "_core")},
    **{(f"numpy.{c}.numeric", "_frombuffer"): _from_buffer for c in ("core", "_core")},
}


class _ArrayUnpickler(pickle.Unpickler):
    def find_class(self, module, name):
        if (module, name) not in _ALLOWED:
            raise _Refused(f"{module}.{name}")
        return _ALLOWED[module, name]


def read_pickle(path: str | Path) -> object:
    """Read a pickle of NumPy arrays and plain values, as Python 2 or 3 wrote it.

    Raises:
        ValueError: it is damaged, or names anything else, which might run code.
    """
    try:
        with open(path, "rb") as file:
            return _ArrayUnpickler(file, encoding="latin1").load()
    except _Refused as error:
        raise ValueError(
            f"{path} holds more than NumPy arrays and plain values ({error}), which can run code "
            "when loaded. If you trust it, convert it once: torch.save({'model': {name: "
            "torch.as_tensor(value) ...}}, new_path)"
        ) from error
    except Exception as error:  # damaged files raise many types
        raise ValueError(
            f"{path} cannot be read as a pickle of weights; it is damaged or not one. Download it "
            f"again, or use another. ({type(error).__name__}: {error})"
        ) from error
