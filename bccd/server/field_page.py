"""One field, large: the editor has all of it."""

from nicegui import html, ui
from starlette.requests import Request

from bccd.server.frame import frame
from bccd.study import Study, StudyError


def field_page(study: Study, request: Request, number: int) -> None:
    """Build the page of one field; ``number``: its id."""
    with frame(study, request, "/", "field-editor") as preferences:
        try:
            study.field(number)
        except StudyError as error:  # removed, or never there
            with html.div().classes("page"):
                html.h1(preferences.words("failure.title"))
                html.p(str(error))
            return
        ui.element("field-editor").props(f"field={number}")
