"""Importing torchvision without the front end of torch.compile, which takes most of the time."""

import importlib
import sys
from types import ModuleType

_NAME = "torch._dynamo.utils"


def import_torchvision() -> None:
    """Import ``torchvision.ops``, and ``torch._dynamo`` only where something else needs it.

    ``torchvision.ops.roi_align`` imports ``torch._dynamo.utils`` for ``is_compile_supported``,
    which it calls only on GPUs in deterministic mode. That import takes a third of the time until a
    detector is ready to count. While torchvision is imported, a stand-in replaces the module. It
    loads the real module when anything except that one function is requested.
    """
    if _NAME not in sys.modules:
        sys.modules[_NAME] = _StandIn(_NAME)
    try:
        import torchvision.ops  # noqa: F401
    finally:
        _real_from_now_on()


class _StandIn(ModuleType):
    @staticmethod
    def is_compile_supported(device_type: str) -> bool:
        return _load().is_compile_supported(device_type)

    def __getattr__(self, name):
        if name.startswith("__"):  # what the import system asks every module
            raise AttributeError(name)
        return getattr(_load(), name)


def _load():
    _real_from_now_on()
    return importlib.import_module(_NAME)


def _real_from_now_on():
    if isinstance(sys.modules.get(_NAME), _StandIn):
        del sys.modules[_NAME]
