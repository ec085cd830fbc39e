"""What the page's components ask of a study, as JSON and pictures under ``/api``.

Every refusal is ``{"error": "one plain sentence"}``: 400, 404 or, where somebody else changed a
field meanwhile, 409. Work on the database or on files runs in threads, so that one reader never
waits for another's picture.
"""

import functools
import secrets
import tempfile
import threading
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from bccd.server.preferences import read_preferences
from bccd.server.words import LANGUAGES, catalogue
from bccd.study import Conflict, Study, StudyError, results
from bccd.study.corrections import Entry
from bccd.study.uploads import Uploads

_FOREVER = {"Cache-Control": "private, max-age=31536000, immutable"}
_ALL_FIELDS = 10_000
_MOST_ENTRIES = 100  # of a field's log
_NAMES = {
    "csv": "counts.csv",
    "xlsx": "counts.xlsx",
    "json": "counts.json",
    "coco": "detections.json",
    "html": "report.html",
    "pdf": "report.pdf",
    "pictures": "pictures.zip",
}
_IN_MEMORY = 4 << 20  # bytes of an upload before it goes to a file

Handler = Callable[[Request], Awaitable[Response]]


class Api:
    """The interface of one study; ``app`` is what a server mounts."""

    def __init__(self, study: Study, uploads: Uploads) -> None:
        """``uploads``: where dropped files go."""
        self.study, self.uploads = study, uploads
        # Browsers keep pictures for ever; another study on the same port has other addresses.
        self.pictures_key = secrets.token_hex(4)
        self._listing = threading.Lock()
        self._listed_change: int | None = None
        self._listed = b""
        field = "/fields/{field:int}"
        self.app = Starlette(
            routes=[
                Route("/words/{language}", self.words),
                Route("/change", self.change),
                Route("/fields", self.fields),
                Route(field, self.field),
                Route(f"{field}/edit", self.edit, methods=["POST"]),
                Route(f"{field}/undo", self.undo, methods=["POST"]),
                Route(f"{field}/redo", self.redo, methods=["POST"]),
                Route(f"{field}/remove", self.remove, methods=["POST"]),
                Route(f"{field}/neighbour", self.neighbour),
                Route(f"{field}/thumbnail", self.thumbnail),
                Route(f"{field}/tiles/{{level:int}}/{{column:int}}/{{row:int}}", self.tile),
                Route("/thresholds", self.thresholds, methods=["POST"]),
                Route("/uploads", self.upload, methods=["POST"]),
                Route("/count", self.count, methods=["POST"]),
                Route("/jobs", self.jobs),
                Route("/jobs/{job:int}/cancel", self.cancel, methods=["POST"]),
                Route("/results/{kind}", self.results),
            ],
            exception_handlers={
                Conflict: _refusal(409),
                StudyError: _refusal(400),
                HTTPException: _http_refusal,
                ClientDisconnect: _gone,
            },
        )

    async def words(self, request: Request) -> Response:
        """The catalogue of a language."""
        language = request.path_params["language"]
        if language not in LANGUAGES:
            raise HTTPException(404, "there is no such language")
        return _json(catalogue(language))

    async def change(self, request: Request) -> Response:
        """A number that grows with every change in the study."""
        return _json({"change": await run_in_threadpool(self.study.change_number)})

    async def fields(self, request: Request) -> Response:
        """All fields as light rows, for the gallery and the table."""
        content = await run_in_threadpool(self._list)
        return Response(content, media_type="application/json")

    def _list(self):
        """The rows as JSON: made once for each change, however many readers ask for it."""
        with self._listing:
            change = self.study.change_number()
            if change != self._listed_change:
                rows = self.study.fields(limit=_ALL_FIELDS).rows
                listed = {"rows": rows, "classes": self.study.classes(), "change": change}
                self._listed = _dump(listed | {"key": self.pictures_key})
                self._listed_change = change
            return self._listed

    async def field(self, request: Request) -> Response:
        """One field with all its boxes, and how to get its pixels."""
        number = request.path_params["field"]
        return await run_in_threadpool(lambda: self._describe(self.study.field(number)))

    def _describe(self, field):
        answer = field._asdict()
        answer["can_undo"], answer["can_redo"] = bool(field.can_undo), bool(field.can_redo)
        answer["history"] = [_entry(entry) for entry in field.history[-_MOST_ENTRIES:]]
        answer["classes"] = self.study.classes()
        answer["levels"] = self.study.levels(field.row.id)
        answer["key"] = self.pictures_key
        return _json(answer)

    async def edit(self, request: Request) -> Response:
        """One stroke: ``{"changes": [...], "version": n}``; the field as it is then."""
        body = await _body(request)
        changes, version = body.get("changes"), body.get("version")
        if not isinstance(changes, list) or not isinstance(version, int):
            raise HTTPException(400, "expected changes, a list, and version, a number")
        return await self._correct(request, self.study.edit, changes, version)

    async def undo(self, request: Request) -> Response:
        """Take back the last stroke in a field."""
        return await self._correct(request, self.study.undo)

    async def redo(self, request: Request) -> Response:
        """Bring back the stroke that was undone last."""
        return await self._correct(request, self.study.redo)

    async def _correct(self, request, action, *values):
        number, who = request.path_params["field"], read_preferences(request).who
        return await run_in_threadpool(lambda: self._describe(action(number, who, *values)))

    async def remove(self, request: Request) -> Response:
        """Take a field out of the study; its file and its log stay."""
        number, who = request.path_params["field"], read_preferences(request).who
        await run_in_threadpool(self.study.remove, [number], who)
        return _json({})

    async def neighbour(self, request: Request) -> Response:
        """The id of the next (``step=1``) or previous field; ``unreviewed=1`` passes the others."""
        number = request.path_params["field"]
        forward = request.query_params.get("step", "1") != "-1"
        unreviewed = request.query_params.get("unreviewed") == "1"

        def find():
            rows = self.study.fields(limit=_ALL_FIELDS).rows
            return next_field(rows, number, forward=forward, unreviewed=unreviewed)

        return _json({"id": await run_in_threadpool(find)})

    async def thumbnail(self, request: Request) -> Response:
        """A field, small."""
        number = request.path_params["field"]
        return await self._picture(self.study.thumbnail, number)

    async def tile(self, request: Request) -> Response:
        """A square of a field's pixels at one level."""
        place = request.path_params
        values = (place["field"], place["level"], place["column"], place["row"])
        return await self._picture(self.study.tile, *values)

    async def _picture(self, read, *values):
        try:
            content = await run_in_threadpool(read, *values)
        except StudyError as error:
            raise HTTPException(404, str(error)) from None
        return Response(content, media_type="image/jpeg", headers=_FOREVER)

    async def thresholds(self, request: Request) -> Response:
        """Count again with ``{"thresholds": {class: score}}``; none: the model's own."""
        scores = (await _body(request)).get("thresholds")
        if not isinstance(scores, dict):
            raise HTTPException(400, "expected thresholds, a score for each class")
        who = read_preferences(request).who
        await run_in_threadpool(self.study.set_thresholds, who, scores)
        return _json({})

    async def upload(self, request: Request) -> Response:
        """Take the body as a file of the name in the query; the ids of its fields."""
        name, who = request.query_params.get("name", ""), read_preferences(request).who
        with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as file:
            async for part in request.stream():
                await run_in_threadpool(file.write, part)
            file.seek(0)
            ids = await run_in_threadpool(self.uploads.receive, name, file, who)
        return _json({"ids": ids})

    async def count(self, request: Request) -> Response:
        """Count what is not counted with the present settings."""
        who = read_preferences(request).who
        return _json(await run_in_threadpool(self.study.count, who))

    async def jobs(self, request: Request) -> Response:
        """What is being worked at, newest first."""
        return _json({"jobs": await run_in_threadpool(self.study.jobs)})

    async def cancel(self, request: Request) -> Response:
        """Stop a job."""
        who = read_preferences(request).who
        await run_in_threadpool(self.study.cancel, request.path_params["job"], who)
        return _json({})

    async def results(self, request: Request) -> Response:
        """The results as a file of one kind."""
        kind = request.path_params["kind"]
        if kind not in _NAMES:
            raise HTTPException(404, f"there are no results as {', '.join(_NAMES)}")
        folder = tempfile.TemporaryDirectory(prefix="bccd_results_")
        path = Path(folder.name, _NAMES[kind])
        write = functools.partial(results.write, language=read_preferences(request).language)
        try:
            await run_in_threadpool(write, self.study, kind, path)
        except BaseException:
            folder.cleanup()
            raise
        name = f"{self.study.name}_{path.name}"
        return FileResponse(path, filename=name, background=BackgroundTask(folder.cleanup))


def next_field(rows: list, number: int, *, forward: bool, unreviewed: bool) -> int | None:
    """The id of the field after or before one; None: it is the last.

    Args:
        rows: of the gallery, in its order.
        number: id of the present field.
        forward: the one after it.
        unreviewed: of those that nobody has reviewed; goes on from the first behind the last.
    """
    ids = [row.id for row in rows]
    at = ids.index(number) if number in ids else -1
    behind, before = rows[at + 1 :], rows[: max(at, 0)]
    if not forward:
        behind, before = before[::-1], []
    if not unreviewed:
        return behind[0].id if behind else None
    open_rows = [row for row in [*behind, *before] if not row.reviewed_by and row.id != number]
    return open_rows[0].id if open_rows else None


def _entry(entry: Entry) -> dict:
    """An entry of the log without its boxes; what was done alike stands once, with its number."""
    done = Counter(tuple(sorted(each.items())) for each in entry.asked)
    steps = [{**dict(items), "times": times} for items, times in done.items()]
    return {"number": entry.number, "who": entry.who, "at": entry.at, "kind": entry.kind} | {
        "steps": steps
    }


def _dump(value: Any) -> bytes:
    return orjson.dumps(value, default=_plain)


def _json(value: Any) -> Response:
    return Response(_dump(value), media_type="application/json")


def _plain(value):
    if hasattr(value, "_asdict"):
        return value._asdict()
    if is_dataclass(value):
        return asdict(value)
    if isinstance(value, (tuple, Path)):
        return list(value) if isinstance(value, tuple) else str(value)
    raise TypeError(f"{type(value).__name__} has no form in JSON")


async def _body(request):
    try:
        body = orjson.loads(await request.body())
    except orjson.JSONDecodeError:
        raise HTTPException(400, "the request is no JSON") from None
    if not isinstance(body, dict):
        raise HTTPException(400, "the request is no JSON object")
    return body


def _refusal(status):
    async def answer(request, error):
        return Response(orjson.dumps({"error": str(error)}), status, media_type="application/json")

    return answer


async def _http_refusal(request, error):
    return await _refusal(error.status_code)(request, error.detail)


async def _gone(request, error):
    """Nobody is there any more to read an answer: a page was closed while it sent something."""
    return await _refusal(400)(request, "the request ended early")
