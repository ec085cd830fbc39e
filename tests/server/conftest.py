import shutil

import cv2
import pytest
from serving import Server

from bccd.data.synthetic import draw_smear

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
IMAGES = 5


@pytest.fixture(scope="session")
def smears(tmp_path_factory):
    """Paths of a few small smears."""
    folder = tmp_path_factory.mktemp("smears")
    paths = [folder / f"field_{k}.png" for k in range(1, IMAGES + 1)]
    for k, path in enumerate(paths):
        cv2.imwrite(str(path), cv2.resize(draw_smear(k)[0], (480, 360)))
    return paths


@pytest.fixture(scope="module")
def server(tmp_path_factory, smears):
    """A server whose study holds the smears, counted."""
    with Server(tmp_path_factory.mktemp("study") / "smears", str(smears[0].parent)) as server:
        server.wait_until_counted(IMAGES)
        yield server


@pytest.fixture(scope="session")
def chromium():
    """The browser of this computer; the test is skipped where there is none."""
    playwright = pytest.importorskip("playwright.sync_api")
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip(f"none of {', '.join(BROWSERS)} is installed (apt-get install chromium)")
    with playwright.sync_playwright() as driver:
        # Without its sandbox, which root cannot have; it opens nothing but this server.
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


def is_failure(line):
    """Whether a line of the console tells of a fault; refusals, which tests provoke, are none."""
    return line.type == "error" and not line.text.startswith("Failed to load resource")


@pytest.fixture
def window(chromium):
    """A new page; fails where it asked another host for anything, or a script failed."""
    context = chromium.new_context(viewport={"width": 1280, "height": 800}, accept_downloads=True)
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = context.new_page()
    page.set_default_timeout(60_000)
    asked, failures = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: failures.append(str(error)))
    page.on("console", lambda line: failures.append(line.text) if is_failure(line) else None)
    yield page
    context.close()
    local = ("http://127.0.0.1:", "data:", "blob:http://127.0.0.1:")
    assert [url for url in asked if not url.startswith(local)] == []
    assert failures == []
