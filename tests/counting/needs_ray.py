"""Skips the module that imports it where the extra ``ray`` is not installed. Not a test itself."""

import importlib.util

import pytest

MISSING = [name for name in ("ray", "pyarrow", "fsspec") if not importlib.util.find_spec(name)]
if MISSING:
    reason = f"pip install '.[ray]': {' and '.join(MISSING)} not installed"
    pytest.skip(reason, allow_module_level=True)
