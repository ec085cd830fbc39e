"""One table of all fields, as CSV and as XLSX."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bccd.counting.area import CountedArea
from bccd.counting.count_table import class_columns, safe_name, safe_text
from bccd.study.results.comparison import agree
from bccd.study.results.content import Content
from bccd.study.results.numbers import summarise_content

Row = list[Any]


def header(content: Content) -> list[str]:
    """Names of the columns."""
    columns = class_columns(content.class_names)
    return [
        *("file", "status"),
        *columns,
        "total",
        *(f"{column}_{bound}" for column in columns for bound in ("low", "high")),
        *(f"{column}_model" for column in columns),
        *("corrections", "reviewed_by", "reviewed_at"),
        *("diameter", "scale", "width", "height", "area_mm2", "notes"),
    ]


def rows(content: Content) -> Iterator[Row]:
    """A row for each field, below :func:`header`; None where there is no value."""
    names = content.class_names
    for row in content.rows:
        counts, model, intervals = row.counts or {}, row.model_counts or {}, row.intervals or {}
        area = None
        if row.width and row.height:
            area = CountedArea(row.width * row.height, row.micrometres_per_pixel).mm2
        yield [
            safe_name(row.name),
            safe_text(row.error or row.status),
            *(counts.get(name) for name in names),
            sum(counts.values()) if counts else None,
            *(b for name in names for b in intervals.get(name, (None, None))),
            *(model.get(name) for name in names),
            row.corrected,
            row.reviewed_by and safe_name(row.reviewed_by),
            row.reviewed_at,
            row.diameter and round(row.diameter, 1),
            row.scale,
            row.width,
            row.height,
            area and float(f"{area:.6g}"),
            safe_text(". ".join(row.notes)),
        ]


def write_csv(content: Content, path: Path) -> None:
    """Write the table of fields; UTF-8 with a byte-order mark, which spreadsheets need."""
    with open(path, "w", encoding="utf-8-sig", newline="") as file:
        table = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
        table.writerow(header(content))
        table.writerows(rows(content))


def write_xlsx(content: Content, path: Path) -> None:
    """Write a workbook: the fields, what they come to, the agreement, and the settings."""
    from openpyxl import Workbook
    from openpyxl.cell import WriteOnlyCell
    from openpyxl.styles import Font
    from openpyxl.utils import get_column_letter

    book = Workbook(write_only=True)

    def add(title, head, lines, widths):
        sheet = book.create_sheet(title)
        sheet.freeze_panes = "B2"
        for number, width in enumerate(widths, start=1):
            sheet.column_dimensions[get_column_letter(number)].width = width
        cells = [WriteOnlyCell(sheet, value) for value in head]
        for cell in cells:
            cell.font = Font(bold=True)
        sheet.append(cells)
        number = 1
        for number, line in enumerate(lines, start=2):  # noqa: B007  (its last value is used)
            sheet.append(line)
        sheet.auto_filter.ref = f"A1:{get_column_letter(len(head))}{number}"

    columns = header(content)
    add("fields", columns, rows(content), [34, 16, *[11] * (len(columns) - 3), 60])
    head, lines = summary_table(content)
    add("summary", head, lines, [18, 22, 12, 12, 12, 12, 12])
    head, lines = agreement_table(content)
    add("agreement", head, lines, [18, *[13] * (len(head) - 1)])
    add("settings", ["setting", "value"], settings_table(content), [30, 60])
    book.save(path)


def summary_table(content: Content) -> tuple[list[str], list[Row]]:
    """Header and rows of totals, means, spread and ratios."""
    found = summarise_content(content)
    lines: list[Row] = [
        [safe_name(name), "in all fields", spread.total, None, None, None, found.fields]
        for name, spread in found.by_class.items()
    ]
    for each in found.quantities:
        numbers = [_rounded(value) for value in (each.value, each.sd, each.low, each.high)]
        lines.append([safe_name(each.name), each.unit, *numbers, each.fields])
    return ["class", "unit", "value", "sd", "low", "high", "fields"], lines


def agreement_table(content: Content) -> tuple[list[str], list[Row]]:
    """Header and rows of the agreement of model and person."""
    found = agree(content)
    lines = [
        [safe_name(name), found.fields, each.model, each.hand, *map(_rounded, each[2:7])]
        for name, each in found.by_class.items()
    ]
    last = ["bias", "limit_low", "limit_high", "precision", "recall"]
    return ["class", "accepted_fields", "model", "person", *last], lines


def settings_table(content: Content) -> list[Row]:
    """Rows of how the study was counted."""
    settings = content.settings
    lines: list[Row] = [
        ["model", safe_name(settings.model)],
        ["border", settings.border],
        ["red_cell_diameter", settings.red_cell_diameter or "measured in each field"],
        ["micrometres_per_pixel", settings.micrometres_per_pixel or "as the files state it"],
    ]
    lines += [[safe_name(f"threshold of {each.name}"), each.threshold] for each in content.classes]
    return lines


def _rounded(value):
    return value if value is None else float(f"{value:.5g}")
