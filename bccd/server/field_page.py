"""One field, large: the editor has all of it."""

from nicegui import ui
from starlette.requests import Request

from bccd.server.frame import frame
from bccd.study import Study


def field_page(study: Study, request: Request, number: int) -> None:
    """Build the page of one field; ``number``: its id."""
    with frame(study, request, "/", "field-editor"):
        ui.element("field-editor").props(f"field={number}")
