import httpx2 as httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import HTMLResponse, PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from bccd.server.security import (
    COOKIE,
    Guard,
    check_listening,
    is_loopback,
    names_of,
    new_token,
)
from bccd.study import StudyError

OWN = "http://127.0.0.1:8080"
SOCKET = "ws://127.0.0.1:8080/socket"


class Pages:
    """An application that counts what was changed in it."""

    def __init__(self):
        self.changed, self.read = 0, 0
        self.app = Starlette(
            routes=[
                Route("/", self.page),
                Route("/deep/{rest:path}", self.page),
                Route("/change", self.change, methods=["POST", "PUT", "DELETE"]),
                WebSocketRoute("/socket", self.socket),
            ]
        )

    async def page(self, request):
        return HTMLResponse("<p>cells</p>", headers={"x-frame-options": "ALLOWALL"})

    async def change(self, request):
        async for piece in request.stream():
            self.read += len(piece)
        self.changed += 1
        return PlainTextResponse("done")

    async def socket(self, socket):
        await socket.accept()
        self.changed += 1
        await socket.send_text("open")
        await socket.close()


@pytest.fixture
def pages():
    return Pages()


def client(pages, base=OWN, **options):
    return TestClient(Guard(pages.app, port=8080, **options), base_url=base)


def test_its_own_page_may_read_and_change(pages):
    with client(pages) as own:
        answer = own.get("/")
        assert answer.status_code == 200 and "cells" in answer.text
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert own.post("/change", headers={"origin": OWN}).text == "done"
        with own.websocket_connect(SOCKET, headers={"origin": OWN}) as socket:
            assert socket.receive_text() == "open"
    assert pages.changed == 2


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8080", "127.0.0.1", "127.0.0.1:9999", "127.0.0.1:8080.evil", ""],
)
def test_dns_rebinding_is_refused(pages, host):
    with client(pages) as own:
        assert own.get("/", headers={"host": host}).status_code == 421
        own_origin = {"host": host, "origin": f"http://{host}"}
        assert own.post("/change", headers=own_origin).status_code == 421
        with (
            pytest.raises(WebSocketDisconnect),
            own.websocket_connect(SOCKET, headers=own_origin),
        ):
            pass
    assert pages.changed == 0


def test_two_hosts_are_refused(pages):
    headers = [("host", "127.0.0.1:8080"), ("host", "evil.example")]
    with client(pages) as own:
        assert own.get("/", headers=httpx.Headers(headers)).status_code == 421


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9999"},
        {"origin": "http://127.0.0.1:8080.evil.example"},
        {"origin": "http://[broken"},
        {"origin": "file://127.0.0.1:8080"},
        {},
        {"sec-fetch-site": "cross-site"},
        {"origin": OWN, "sec-fetch-site": "cross-site"},
        {"origin": OWN, "sec-fetch-site": "same-site"},
    ],
)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_a_page_of_another_server_changes_nothing(pages, headers, method):
    with client(pages) as own:
        assert own.request(method, "/change", headers=headers).status_code == 403
        with pytest.raises(WebSocketDisconnect), own.websocket_connect(SOCKET, headers=headers):
            pass
    assert pages.changed == 0


def test_another_page_cannot_read(pages):
    with client(pages) as own:
        assert own.get("/", headers={"origin": "http://evil.example"}).status_code == 403
        assert "access-control-allow-origin" not in own.get("/").headers


def test_without_the_token_nothing_is_told(pages):
    token = new_token()
    with client(pages, token=token) as own:
        for path in ("/", f"/?token={token}x", "/?token=", "/nothing", f"/?token={token}&token=x"):
            answer = own.get(path, follow_redirects=False)
            assert answer.status_code == 401 and "cells" not in answer.text
        assert own.post(f"/change?token={token}", headers={"origin": OWN}).status_code == 401
        with (
            pytest.raises(WebSocketDisconnect),
            own.websocket_connect(SOCKET, headers={"origin": OWN}),
        ):
            pass
        wrong = {"cookie": f"{COOKIE}=x; ;=;,"}
        assert own.get("/", headers=wrong).status_code == 401
    assert pages.changed == 0


def test_the_address_with_the_token_lets_a_browser_in(pages):
    token = new_token()
    with client(pages, token=token) as own:
        answer = own.get(f"/?token={token}&page=2", follow_redirects=False)
        assert answer.status_code == 303 and answer.headers["location"] == "/?page=2"
        cookie = answer.headers["set-cookie"]
        assert "HttpOnly" in cookie and "SameSite=Strict" in cookie
        assert "cells" in own.get("/").text
        assert own.post("/change", headers={"origin": OWN}).status_code == 200


@pytest.mark.parametrize("path", ["//evil.example/", "/deep/a%0d%0aset-cookie:x=1", "/\\evil"])
def test_the_token_leads_nowhere_else(pages, path):
    token = new_token()
    with client(pages, token=token) as own:
        url = httpx.URL(f"{OWN}{path}?token={token}")
        answer = own.get(url, follow_redirects=False)
        location = answer.headers["location"]
        assert location.startswith("/") and location[1:2] not in ("/", "\\")
        assert "\r" not in location and "x" not in answer.cookies


def test_long_requests_are_refused_by_their_length_and_without(pages):
    with client(pages, most_body=1000) as own:
        headers = {"origin": OWN}
        assert own.post("/change", content=b"x" * 1000, headers=headers).status_code == 200
        assert own.post("/change", content=b"x" * 1001, headers=headers).status_code == 413
        endless = (b"x" * 100 for _ in range(10**6))
        assert own.post("/change", content=endless, headers=headers).status_code == 413
        wrong = {**headers, "content-length": "-1"}
        assert own.post("/change", headers=wrong).status_code == 400
    assert pages.changed == 1


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("[::1]", True),
        ("localhost", True),
        ("127.8.8.8", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.1.5", False),
        ("localhost.evil.example", False),
        ("", False),
    ],
)
def test_listening_elsewhere_needs_a_token(host, expected):
    assert is_loopback(host) is expected
    check_listening(host, new_token())
    if expected:
        check_listening(host, None)
    else:
        with pytest.raises(StudyError, match="needs a token"):
            check_listening(host, None)
    assert "127.0.0.1" in names_of(host)


def test_tokens_are_long_and_differ():
    tokens = {new_token() for _ in range(100)}
    assert len(tokens) == 100 and min(map(len, tokens)) >= 40
