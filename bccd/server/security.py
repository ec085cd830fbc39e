"""What stands between a browser and the pages of a study: ASGI middleware, of no framework.

A page on the web that somebody has open can send requests to this computer, and can let its own
name lead to 127.0.0.1 (DNS rebinding). So a request must be meant for this server by the name that
it asks for, and whatever can change something must come from a page of this server. From another
computer it also needs the token that was printed where the server was started.
"""

import contextlib
import hmac
import ipaddress
import secrets
import socket
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit

from bccd.study.errors import StudyError

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

COOKIE = "bccd_token"
TOKEN = "token"  # of the query of the address that is opened first
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
MOST_BODY = 600 * 2**20  # bytes of a request
_SAFE = ("GET", "HEAD", "OPTIONS")
_DAYS = 30
_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (
        b"content-security-policy",
        # The framework's pages hold scripts and styles of their own, and compile templates.
        b"default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
        b"style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
        b"connect-src 'self'; worker-src 'self' blob:; object-src 'none'; base-uri 'none'; "
        b"form-action 'self'; frame-ancestors 'none'",
    ),
)


def new_token() -> str:
    """A token that nobody guesses, of letters that an address can hold."""
    return secrets.token_urlsafe(32)


def is_loopback(host: str) -> bool:
    """Whether a server that listens at ``host`` is reached from this computer alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def names_of(host: str) -> tuple[str, ...]:
    """Names and addresses by which a server is asked for that listens at ``host``."""
    if is_loopback(host):
        return LOOPBACK
    names = [] if host in ("", "0.0.0.0", "::") else [host]
    own = socket.gethostname()
    with contextlib.suppress(OSError):
        names += [own, socket.getfqdn(), *(each[4][0] for each in socket.getaddrinfo(own, None))]
    return tuple(dict.fromkeys([*names, *LOOPBACK]))


def check_listening(host: str, token: str | None) -> None:
    """Raise StudyError where a server would listen to other computers without a token."""
    if not is_loopback(host) and not token:
        raise StudyError(f"a server that listens at {host} is open to others: it needs a token")


class Guard:
    """ASGI middleware that refuses what is not meant for this server, or not from its pages."""

    def __init__(
        self,
        app: App,
        *,
        hosts: Iterable[str] = LOOPBACK,
        port: int,
        token: str | None = None,
        most_body: int = MOST_BODY,
    ) -> None:
        """Stand before an application.

        Args:
            app: the application.
            hosts: names and addresses by which the server is asked for.
            port: at which it listens.
            token: that a browser needs; None: none, for a server of this computer alone.
            most_body: bytes of a request.
        """
        self._app, self._token, self._most = app, token, most_body
        names = [_bracketed(host).lower() for host in hosts]
        self._hosts = {f"{name}:{port}" for name in names}
        if port in (80, 443):
            self._hosts |= set(names)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = _headers(scope)
        if reason := self._refusal(scope, headers):
            await _refuse(scope, send, *reason)
            return
        if self._token is not None and not self._knows(headers):
            await self._ask_for_token(scope, send)
            return
        await self._pass(scope, receive, send)

    def _refusal(self, scope, headers) -> tuple[int, str] | None:
        hosts = headers.get("host", [])
        if len(hosts) != 1 or hosts[0].lower() not in self._hosts:
            return 421, "This server is not known by that name."
        unsafe = scope["type"] == "websocket" or scope["method"] not in _SAFE
        origins = headers.get("origin", [])
        if len(origins) > 1 or (unsafe and not origins and not self._same_site(headers)):
            return 403, "The request does not say which page it comes from."
        if origins and not self._is_own(origins[0], hosts[0]):
            return 403, "The request comes from a page of another server."
        site = headers.get("sec-fetch-site", ["none"])[0]
        if unsafe and site not in ("same-origin", "none"):
            return 403, "The request comes from a page of another server."
        lengths = headers.get("content-length", ["0"])
        if len(lengths) != 1 or not lengths[0].isdecimal() or len(lengths[0]) > 18:
            return 400, "The request does not say how long it is."
        if int(lengths[0]) > self._most:
            return 413, "The request is too large."
        return None

    @staticmethod
    def _same_site(headers):
        """Whether the browser itself says that a page of this server sends it."""
        return headers.get("sec-fetch-site") == ["same-origin"]

    def _is_own(self, origin, host):
        try:
            parts = urlsplit(origin)
        except ValueError:
            return False
        return parts.scheme in ("http", "https") and parts.netloc.lower() == host.lower()

    def _knows(self, headers):
        for line in headers.get("cookie", []):
            try:
                cookies = SimpleCookie(line)
            except CookieError:
                continue
            if COOKIE in cookies and _same(cookies[COOKIE].value, self._token):
                return True
        return False

    async def _ask_for_token(self, scope, send):
        """The address with the token gives a cookie, and an address without it; all else: 401."""
        query = parse_qs(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)
        given = query.pop(TOKEN, [])
        is_page = scope["type"] == "http" and scope["method"] == "GET"
        if not is_page or len(given) != 1 or not _same(given[0], self._token):
            message = "Open the address that was printed where the server was started."
            await _refuse(scope, send, 401, message)
            return
        # From its first slash on: "//other.example" would lead elsewhere.
        path = "/" + scope["path"].lstrip("/\\")
        target = quote(path) + (f"?{urlencode(query, doseq=True)}" if query else "")
        age = _DAYS * 24 * 3600
        cookie = f"{COOKIE}={self._token}; Path=/; HttpOnly; SameSite=Strict; Max-Age={age}"
        headers = [(b"location", target.encode()), (b"set-cookie", cookie.encode())]
        await _respond(send, 303, b"", headers)

    async def _pass(self, scope, receive, send):
        received, started = 0, False

        async def limited():
            nonlocal received
            message = await receive()
            received += len(message.get("body", b"")) if message["type"] == "http.request" else 0
            return message if received <= self._most else {"type": "http.disconnect"}

        async def with_headers(message):
            nonlocal started
            if received > self._most and not started:
                return  # what the application makes of the end of the request
            if message["type"] == "http.response.start":
                started = True
                own = {name for name, _ in _HEADERS}
                kept = [each for each in message.get("headers", []) if each[0].lower() not in own]
                message = {**message, "headers": [*kept, *_HEADERS]}
            await send(message)

        try:
            await self._app(scope, limited, with_headers)
        except Exception:
            if received <= self._most:
                raise
        if received > self._most and not started:
            await _respond(send, 413, b"The request is too large.", [])


def _headers(scope) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in scope["headers"]:
        found.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
    return found


def _bracketed(host):
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def _same(given, token):
    return hmac.compare_digest(given.encode(), token.encode())


async def _refuse(scope, send, status, message):
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": message})
    else:
        await _respond(send, status, message.encode(), [])


async def _respond(send, status, body, headers):
    about = [(b"content-type", b"text/plain; charset=utf-8"), *headers, *_HEADERS]
    length = (b"content-length", str(len(body)).encode())
    start = {"type": "http.response.start", "status": status, "headers": [*about, length]}
    await send(start)
    await send({"type": "http.response.body", "body": body})
