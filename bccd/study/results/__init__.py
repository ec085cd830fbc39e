"""What a study comes to: numbers, tables, files for other programs, pictures and a report.

from bccd.study import results

results.write(study, "xlsx", "counts.xlsx")
results.summary(study).by_class["RBC"].mean
"""

from typing import TYPE_CHECKING

from bccd.lazy_names import lazy_names

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

__getattr__ = lazy_names(__name__, _MODULES)  # some take a while
