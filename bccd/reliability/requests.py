"""Broken requests to the guard and the interface of a study, as no browser would send them."""

import asyncio
import contextlib
import itertools
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from urllib.parse import quote, unquote_to_bytes

from starlette.applications import Starlette
from starlette.routing import Mount, Route

from bccd.reliability.good_study import copy_study, make_study, open_study, read_log
from bccd.reliability.mutations import JUNK, mutate_bytes, mutate_json
from bccd.reliability.run import CaseError, check_sentence
from bccd.server.api import Api
from bccd.server.preferences import change_preferences
from bccd.server.security import COOKIE, App, Guard
from bccd.study.decoder import Decoders
from bccd.study.uploads import UploadLimits, Uploads

_HOST = "127.0.0.1:8080"
_TOKEN = "a-token"
_LIMITS = UploadLimits(bytes=20_000, files=5)
_MOST_BODY = 30_000  # bytes
_NUMBERS = ("0", "-1", "9" * 30, "1.5", "1e9", "٣", "%00", "..", "%2e%2e", "%ff", "x" * 5000)
_BAD_PATHS = ("//evil.example/", "/..;/", "/api/%2e%2e/%2e%2e/study.db", "/api//fields", "*", "")


@dataclass(frozen=True)
class Request:
    """A request, as an ASGI server would pass it on.

    Attributes:
        method: of it.
        path: with percent signs.
        query: likewise.
        body: in one piece.
        headers: names and values.
    """

    method: str
    path: str
    query: str = ""
    body: bytes = b""
    headers: dict[str, bytes] = field(default_factory=dict)


@dataclass
class Answer:
    """What came back."""

    status: int = 0
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""


class Requests:
    """A request that a page sends, changed in one or two places.

    A case fails where the answer is an error of the server, or a refusal that is no sentence; where
    a refused request changed the study; or where something done by hand is gone.
    """

    def __init__(self) -> None:
        """Start nothing yet."""
        self._decoders = Decoders(1)
        self._numbers = itertools.count()

    def prepare(self, folder: Path) -> None:
        """Make the study, and the requests."""
        self._good = folder / "good"
        make_study(self._good, self._decoders)
        image = (self._good / "images" / "field 0.png").read_bytes()
        self._requests = list(_good_requests(image))

    def run_case(self, random: Random, folder: Path) -> str:
        """Send one request; returns what became of it."""
        case = folder / f"case {next(self._numbers)}"
        copy_study(self._good, case)
        study = open_study(case, self._decoders)
        try:
            before, log = study.change_number(), read_log(case)
            token = _TOKEN if random.random() < 0.2 else None
            request = random.choice(self._requests)
            for _ in range(random.choice((1, 1, 2))):
                request = _change(request, random)
            pages = Starlette(
                routes=[
                    Mount("/api", Api(study, Uploads(study, _LIMITS)).app),
                    Route("/preferences", change_preferences),
                ]
            )
            guard = Guard(pages, port=8080, token=token, most_body=_MOST_BODY)
            answer = ask(guard, request, cut=random.random() < 0.1)
            check_answer(answer)
            if answer.status >= 400 and study.change_number() != before:
                raise CaseError(f"{answer.status}, but the study was changed: {request}")
            if (after := read_log(case)) is None or after[: len(log)] != log:
                raise CaseError(f"{len(log)} corrections, then {after and len(after)}: {request}")
            return str(answer.status)
        finally:
            study.database.close()
            shutil.rmtree(case, ignore_errors=True)

    def close(self) -> None:
        """End the process that reads images."""
        self._decoders.close()


def _good_requests(image: bytes) -> Iterator[Request]:
    """What a page asks, without its headers."""
    reading = ("/change", "/fields", "/jobs", "/words/vi", "/results/csv", "/results/json")
    of_field = ("", "/thumbnail", "/tiles/0/0/0", "/neighbour")
    for path in (*reading, *(f"/fields/1{more}" for more in of_field)):
        yield Request("GET", f"/api{path}", "step=1&unreviewed=1")
    changes = [
        {"do": "add", "name": "WBC", "box": [1, 1, 30, 30]},
        {"do": "class", "id": "h0.0", "name": "RBC"},
        {"do": "move", "id": "d1.1", "box": [30, 31, 52, 50]},
        {"do": "delete", "id": "d1.1"},
        {"do": "confirm", "id": "d1.1"},
        {"do": "add_region", "name": "Bạch cầu", "vertices": [[0, 0], [50, 0], [50, 50]]},
        {"do": "remove_region", "id": "h2.0"},
        {"do": "accept"},
    ]
    bodies = [("/fields/1/edit", {"changes": [change], "version": 6}) for change in changes]
    bodies += [("/fields/1/undo", {}), ("/fields/1/redo", {}), ("/count", {})]
    bodies += [("/thresholds", {"thresholds": {"RBC": 0.4, "WBC": 0.5}}), ("/jobs/1/cancel", {})]
    for path, body in bodies:
        yield Request("POST", f"/api{path}", body=json.dumps(body).encode())
    yield Request("POST", "/api/uploads", "name=a%20field.png", image)
    yield Request("GET", "/preferences", "language=vi&theme=dark&who=Lan&back=/fields/1")


def _change(request: Request, random: Random) -> Request:
    kind = random.randrange(6)
    if kind == 0:
        return replace(request, method=random.choice(("GET", "POST", "PUT", "DELETE", "HEAD", "X")))
    if kind == 1:
        return replace(request, path=_change_path(request.path, random))
    if kind == 2:
        return replace(request, query=_change_query(request.query, random))
    if kind == 3:
        return replace(request, headers={**request.headers, **_junk_header(random)})
    if request.body[:1] == b"{" and random.random() < 0.8:
        with contextlib.suppress(IndexError, ValueError):  # an object without values; bytes
            text = mutate_json(request.body.decode(), random)
            return replace(request, body=text.encode(errors="replace"))
    return replace(request, body=mutate_bytes(request.body, random))


def _change_path(path, random):
    if random.random() < 0.2:
        return random.choice(_BAD_PATHS)
    parts = path.split("/")
    parts[random.randrange(1, len(parts))] = random.choice(_NUMBERS)
    return "/".join(parts)


def _change_query(query, random):
    name = random.choice(("name", "step", "who", "back", "language", "token", "x"))
    values = (*map(str, JUNK[:-4]), *_NUMBERS, "//evil.example", "/\\evil", "a\r\nSet-Cookie: x=1")
    return f"{query}&{name}={quote(random.choice(values), safe='%')}"


def _junk_header(random):
    name = random.choice(
        (
            *("host", "origin", "cookie", "content-length", "content-type", "accept-language"),
            *("range", "sec-fetch-site", "if-modified-since", "transfer-encoding"),
        )
    )
    values = (
        *(b"", b"\xff\xfe", b"null", b"http://evil.example", b"http://[", b"-1", b"9" * 40),
        *("²".encode("latin-1"), b"bytes=5-1", b"bytes=0-9999999999999", b"*;q=x,,;;", b"a" * 9000),
        *(b"bccd_who=%00%ff", b"bccd_who=" + b"%E1%BA%A1" * 200, b"bccd_language=../../x"),
        *(b"bccd_who=", b'bccd_token="\\377"', COOKIE.encode() + b"=", b"=;=;", b"bccd_theme[]=1"),
    )
    return {name: random.choice(values)}


def ask(app: App, request: Request, cut: bool = False) -> Answer:
    """Let an ASGI application answer; ``cut``: the connection ends within the body."""
    return asyncio.run(_send(app, request, cut))


async def _send(app, request, cut):
    length = str(len(request.body)).encode()
    headers = {"host": _HOST.encode(), "origin": f"http://{_HOST}".encode()}
    headers |= {"content-length": length, "cookie": b"bccd_who=Lan", **request.headers}
    raw = request.path.encode("latin-1", "replace")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": "http",
        "path": unquote_to_bytes(raw).decode("utf-8", "replace"),
        "raw_path": raw,
        "root_path": "",
        "query_string": request.query.encode("latin-1", "replace"),
        "headers": [(name.encode(), value) for name, value in headers.items()],
        "client": ("127.0.0.1", 50000),
        "server": ("127.0.0.1", 8080),
    }
    half = len(request.body) // 2
    messages = [{"type": "http.request", "body": request.body[:half], "more_body": True}]
    if not cut:
        messages.append({"type": "http.request", "body": request.body[half:], "more_body": False})
    pending, answer = iter(messages), Answer()

    async def receive():
        return next(pending, {"type": "http.disconnect"})

    async def send(message):
        if message["type"] == "http.response.start":
            answer.status, answer.headers = message["status"], list(message["headers"])
        else:
            answer.body += message.get("body", b"")

    await app(scope, receive, send)
    return answer


def check_answer(answer: Answer) -> None:
    """Raise CaseError for an answer that no server should give."""
    if not 200 <= answer.status < 500:
        raise CaseError(f"status {answer.status}: {answer.body[:500]!r}")
    if any(character in value for _, value in answer.headers for character in (b"\r", b"\n")):
        raise CaseError(f"a header of two lines: {answer.headers}")
    if answer.status < 400:
        return
    kinds = [value for name, value in answer.headers if name.lower() == b"content-type"]
    text = answer.body.decode()
    if kinds == [b"application/json"]:
        text = json.loads(text)["error"]
    elif not kinds or not kinds[0].startswith(b"text/plain"):
        raise CaseError(f"a refusal as {kinds}")
    if text or answer.status not in (404, 405):
        check_sentence(text)
