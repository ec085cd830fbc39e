"""The first page: images come in here, are counted, and show with what was found in them."""

from collections.abc import Sequence

from nicegui import html, run, ui
from starlette.requests import Request

from bccd.server.frame import frame, numbers
from bccd.server.preferences import Preferences
from bccd.study import Study, StudyError

_POLL = 1.0  # seconds


def fields_page(study: Study, request: Request) -> None:
    """Build the page."""
    components = ("file-drop", "field-gallery", "job-list")
    with frame(study, request, "/", *components) as preferences, html.div().classes("page filling"):
        with html.div().classes("row-of"):
            html.h1(preferences.words("nav.fields"))
            _Figures(study, preferences)
        ui.element("file-drop")
        _folder_form(study, preferences)
        ui.element("job-list").classes("jobs")
        ui.element("field-gallery")


class _Figures:
    """The numbers of the study, which follow every change."""

    def __init__(self, study: Study, preferences: Preferences) -> None:
        self.study, self.words = study, preferences.words
        self.change: int | None = None
        self.place = html.div()
        ui.timer(_POLL, self.follow)

    async def follow(self) -> None:
        """Show the numbers where they may have changed."""
        change = await run.io_bound(self.study.change_number)
        if change is None or change == self.change:
            return
        totals = await run.io_bound(self.study.totals)
        if totals is None:  # the server ends
            return
        self.change = change
        self.place.clear()
        with self.place:
            numbers(self._titled(totals))

    def _titled(self, totals):
        words = self.words
        values = {
            words("totals.fields"): f"{totals.fields:,}",
            words("totals.counted"): f"{totals.counted:,}",
            words("totals.reviewed"): f"{totals.reviewed:,}",
            **{name: f"{count:,}" for name, count in totals.counts.items()},
        }
        if totals.failed:
            values[words("totals.failed")] = f"{totals.failed:,}"
        return values


def _folder_form(study: Study, preferences: Preferences) -> None:
    words = preferences.words
    folders = [str(path) for path in study.allowed_folders()]

    async def add():
        try:
            added = await run.io_bound(study.add, [path.value.strip()], preferences.who)
            if added.ids:
                await run.io_bound(study.count, preferences.who)
        except StudyError as error:
            outcome.set_text(str(error))
            return
        outcome.set_text(_say_added(added.ids, added.refused, words))

    with html.details():
        html.summary(words("folder.title"))
        with html.div().classes("card"):
            allowed = ", ".join(folders) if folders else words("folder.none")
            html.p(words("folder.allowed", folders=allowed)).classes("faint")
            with html.div().classes("row-of"):
                path = ui.input(words("folder.path"), value=folders[0] if folders else "")
                path.classes("wide").props("outlined dense")
                html.button(words("folder.add"), type="button").classes("button").on("click", add)
            outcome = ui.label().props('role="status"')


def _say_added(ids: Sequence[int], refused: Sequence[tuple[str, str]], words) -> str:
    said = [words("folder.added", number=len(ids))]
    said += [f"{name}: {sentence}" for name, sentence in refused[:10]]
    return "\n".join(said)
