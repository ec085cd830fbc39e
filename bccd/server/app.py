"""The server: pages, interface and guard around one study, and the process that counts for it.

NiceGUI brings the front end (Quasar, AG Grid) in its own wheel, so nothing is fetched from
elsewhere; it is a FastAPI application, and what is its own here - the editor, the gallery - is in
assets/ as custom elements that need no framework.
"""

import signal
import socket
import sys
import threading
import webbrowser
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from nicegui import app as pages
from nicegui import ui
from starlette.requests import Request
from starlette.staticfiles import StaticFiles

from bccd.server.api import Api
from bccd.server.field_page import field_page
from bccd.server.fields_page import fields_page
from bccd.server.frame import ASSETS, show_failure
from bccd.server.model_page import model_page
from bccd.server.preferences import change_preferences
from bccd.server.results_page import results_page
from bccd.server.security import Guard, is_loopback, names_of, new_token
from bccd.study import Study
from bccd.study.uploads import UploadLimits, Uploads
from bccd.study.worker_process import WorkerProcess

_OPENS_AFTER = 0.5  # seconds
_ENDS_WITHIN = 3  # seconds after Ctrl-C, whatever is under way
_MOST_MESSAGE = 1 << 20  # bytes that a page sends in one message
_FOLDER = Path(__file__).parent / "assets"


@dataclass(frozen=True)
class Address:
    """Where a server listens.

    Attributes:
        host, port: of it.
        token: that a browser must bring; None: on this computer alone none is needed.
    """

    host: str
    port: int
    token: str | None

    @property
    def url(self) -> str:
        """To open in a browser."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}/" + (f"?token={self.token}" if self.token else "")


def choose_address(host: str, port: int, token: str | None = None) -> Address:
    """Where to listen: at the port, and with a token wherever others can reach the server.

    Raises:
        ValueError: the port is taken, or the host is not this computer's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ValueError(
                f"cannot listen at {host}, port {port} ({error.strerror}): name another --port"
            ) from None
        port = probe.getsockname()[1]
    if token is None and not is_loopback(host):
        token = new_token()
    return Address(host, port, token)


def build_app(study: Study, address: Address) -> Guard:
    """The ASGI application of a study: pages, /api, /assets, behind the guard."""
    limits = UploadLimits()
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.mount("/api", Api(study, Uploads(study, limits)).app)
    app.mount(ASSETS, StaticFiles(directory=_FOLDER))
    app.add_route("/preferences", change_preferences)

    @ui.page("/")
    def show_fields(request: Request) -> None:
        fields_page(study, request)

    @ui.page("/fields/{number}")
    def show_field(request: Request, number: int) -> None:
        field_page(study, request, number)

    @ui.page("/results")
    def show_results(request: Request) -> None:
        results_page(study, request)

    @ui.page("/model")
    def show_model(request: Request) -> None:
        model_page(study, request)

    pages.on_page_exception(show_failure)
    ui.run_with(
        app,
        title=study.name,
        favicon=_FOLDER / "icon.svg",
        language=None,  # each reader's own: see frame
        tailwind=False,
        show_welcome_message=False,
    )
    return Guard(app, hosts=names_of(address.host), port=address.port, token=address.token)


def serve(study: Study, address: Address, *, browser: bool = True) -> None:
    """Serve a study until Ctrl-C; counting goes on in a process beside.

    Args:
        study: open.
        address: see :func:`choose_address`.
        browser: open a browser at it.
    """
    # uvicorn passes the signal on when it has closed its connections; the worker must end, too.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    worker = WorkerProcess(study)
    worker.start()
    if browser:
        threading.Timer(_OPENS_AFTER, webbrowser.open, [address.url]).start()
    try:
        uvicorn.run(
            build_app(study, address),
            host=address.host,
            port=address.port,
            log_level="warning",
            ws_max_size=_MOST_MESSAGE,
            timeout_graceful_shutdown=_ENDS_WITHIN,
        )
    finally:
        worker.stop()
