import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


class Fetched(HTMLParser):
    """Addresses that a page loads without being asked to."""

    def __init__(self):
        super().__init__()
        self.addresses = []

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.addresses.append(found.get("src"))
        if tag == "link":
            self.addresses.append(found.get("href"))
        self.addresses += re.findall(r"url\(['\"]?([^'\")]+)", found.get("style") or "")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The built site; a warning, as of a link that leads nowhere, fails."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-c", "docs/site", "."]
    done = subprocess.run([*command, folder], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
def test_the_site_is_built_and_loads_nothing_from_elsewhere(site):
    pages = list(site.rglob("*.html"))
    for page in pages:
        parser = Fetched()
        parser.feed(page.read_text())
        for address in filter(None, parser.addresses):
            assert not re.match(r"(\w+:)?//", address), f"{page} loads {address}"
    styles = [*site.rglob("*.css"), *site.rglob("*.svg")]
    for file in styles:
        assert not re.search(r"(@import|url\()\s*['\"]?(https?:)?//", file.read_text()), file
    assert len(pages) > 40 and styles
    scripts = " ".join(file.read_text() for file in site.rglob("*.js"))
    assert not re.search(r"(fetch|import|importScripts)\(\s*['\"](https?:)?//", scripts)


@pytest.mark.slow
def test_every_page_of_the_repository_is_in_the_site(site):
    found = [path.relative_to(ROOT) for path in ROOT.glob("*.md")]
    for folder in ("docs", "projects", "configs", "models", "results"):
        found += [path.relative_to(ROOT) for path in (ROOT / folder).rglob("*.md")]
    missing = [page for page in found if not (site / page).with_suffix(".html").is_file()]
    assert len(found) > 20 and missing == []


@pytest.mark.slow
def test_the_reference_is_generated(site):
    generated = site / "docs" / "generated"
    api = (generated / "api" / "bccd.data.formats.html").read_text()
    assert 'id="bccd.data.formats.coco.' in api
    api = (generated / "api" / "bccd.html").read_text()
    assert 'id="bccd.CellCounter.__call__"' in api
    assert 'id="model-missing-labels-max-iou"' in (generated / "config_keys.html").read_text()
    commands = (generated / "commands.html").read_text()
    assert "bccd count" in commands and "--eval-only" in commands
    for tool in (ROOT / "tools").glob("*.*"):
        assert f"tools/{tool.name}" in commands


def test_docstrings_of_modules_are_shown_as_they_are_laid_out(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "docs" / "site")
    import site_pages

    lines = ["Files.", "", "    a  (N,)", "", "    b  (K,)", "", "``x``   one", "        thing"]
    lines += ["``y``, ``z``  two", "", "The end."]
    site_pages.to_restructured_text(None, "module", "", None, None, lines)
    assert lines == [
        *("Files.", "", "::", "", "    a  (N,)", "", "    b  (K,)", ""),
        *("* ``x``: one", "  thing", "* ``y``, ``z``: two", "", "", "The end."),
    ]


@pytest.mark.slow
def test_the_search_needs_no_server(site):
    index = (site / "searchindex.js").read_text()
    assert index.startswith("Search.setIndex(")  # a script, which a browser loads from a file, too
    assert "platelet" in index
