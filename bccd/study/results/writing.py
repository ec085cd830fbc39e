"""Files of results, by their kinds."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bccd.study.errors import StudyError
from bccd.study.report.html import write_html
from bccd.study.report.pdf import write_pdf
from bccd.study.results.content import Content, read_content
from bccd.study.results.drawn import write_pictures
from bccd.study.results.exchange_files import write_coco, write_json
from bccd.study.results.table_files import write_csv, write_xlsx

if TYPE_CHECKING:
    from bccd.study.study import Study

KINDS: dict[str, Callable[[Content, Path], None]] = {
    "csv": write_csv,
    "xlsx": write_xlsx,
    "json": write_json,
    "coco": write_coco,
    "pictures": write_pictures,
}
_REPORTS = {"html": write_html, "pdf": write_pdf}


def write(
    study: "Study",
    kind: str,
    path: str | os.PathLike,
    *,
    field_ids: Sequence[int] | None = None,
    language: str = "en",
) -> None:
    """Write results into a file; an older one is replaced.

    Args:
        study: of the results.
        kind: "csv" or "xlsx", a table of all fields; "json", everything; "coco", boxes; "pictures",
            a ZIP file of PNG files; "html" or "pdf", a report.
        path: of the file.
        field_ids: only these fields; None: all.
        language: of a report, "en" or "vi".

    Raises:
        StudyError: there is no such kind or language.
    """
    if kind not in (*KINDS, *_REPORTS):
        raise StudyError(f"there are no results as {kind!r}: use {', '.join((*KINDS, *_REPORTS))}")
    path = Path(path)
    unfinished = path.with_name(f".{path.name}.part")
    try:
        with read_content(study, field_ids) as content:
            if kind in KINDS:
                KINDS[kind](content, unfinished)
            else:
                _REPORTS[kind](content, unfinished, language)
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
