"""Counting in an archive: any store that fsspec knows, on the machines of a Ray cluster.

``listing`` names the images, ``cluster`` hands them to the machines in parts, ``part`` counts one,
``results`` keeps the finished parts as Parquet files, ``run`` is the whole of it.
"""

import importlib.util


def require_packages() -> None:
    """Raise ImportError where a package of the extra ``ray`` is missing."""
    names = ("ray", "pyarrow", "fsspec")
    if missing := [name for name in names if not importlib.util.find_spec(name)]:
        raise ImportError(
            f"--ray needs {' and '.join(missing)}, not installed here: pip install '.[ray]'"
        )
