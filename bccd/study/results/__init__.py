"""What a study comes to: numbers, tables, files for other programs, pictures and a report.

from bccd.study import results

results.write(study, "xlsx", "counts.xlsx")
results.summary(study).by_class["RBC"].mean
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bccd.study.results.comparison import Agreement, agreement
    from bccd.study.results.numbers import Summary, summary
    from bccd.study.results.writing import KINDS, write

__all__ = ["KINDS", "Agreement", "Summary", "agreement", "summary", "write"]

_MODULES = {
    "Agreement": "bccd.study.results.comparison",
    "KINDS": "bccd.study.results.writing",
    "Summary": "bccd.study.results.numbers",
    "agreement": "bccd.study.results.comparison",
    "summary": "bccd.study.results.numbers",
    "write": "bccd.study.results.writing",
}


def __getattr__(name: str):
    """Import what is asked for: some of it takes a while."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)
