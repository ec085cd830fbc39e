"""What each format holds, as a table for the documentation."""

from bccd.data.formats.registry import FORMATS, Format

_HEAD = (
    "format",
    "name",
    "layout",
    "scores",
    "corners",
    "classes without a box",
    "parts",
    "files of",
)


def format_table() -> str:
    """The formats as a table in Markdown, a row each."""
    rows = [_HEAD, ("---",) * len(_HEAD)]
    rows += [_row(name, form) for name, form in FORMATS.items()]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _row(name: str, form: Format) -> tuple[str, ...]:
    scores, classes = ("yes" if held else "no" for held in (form.scores, form.classes))
    recorded = ", ".join(form.recorded) or "its published layout"
    title, code = form.title, f"`{name}`"
    return title, code, form.layout, scores, form.precision, classes, form.parts, recorded
