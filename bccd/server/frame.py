"""What every page has: colours, language, the way to the other pages, and the reader's name."""

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlencode

from nicegui import html, ui
from starlette.requests import Request

from bccd.server.preferences import Preferences, read_preferences
from bccd.server.words import DEFAULT, LANGUAGES, words_of
from bccd.study import Study, StudyError

ASSETS = "/assets"
PAGES = {"/": "nav.fields", "/results": "nav.results", "/model": "nav.model"}
_DARK = {"auto": None, "light": False, "dark": True}


@contextmanager
def frame(study: Study, request: Request, page: str, *components: str) -> Iterator[Preferences]:
    """The frame of a page; what is made in the ``with`` block is its content.

    Args:
        study: whose name stands at the top.
        request: for this page.
        page: the key in PAGES that it belongs to.
        components: names of the scripts in assets/ that it needs.
    """
    preferences = read_preferences(request)
    words = preferences.words
    ui.page_title(f"{words(PAGES[page])} – {study.name}")
    _head(preferences, components)
    ui.dark_mode(_DARK[preferences.theme])
    html.a(words("nav.skip"), href="#main").classes("skip")
    with html.header().classes("site-header"):
        html.div(study.name).classes("brand")
        with html.nav().classes("site-nav").props(f'aria-label="{words("nav.pages")}"'):
            for path, title in PAGES.items():
                link = html.a(words(title), href=path)
                if path == page:
                    link.props('aria-current="page"')
        _tools(preferences, request.url.path)
    with html.div().classes("content").props('id="main" tabindex="-1"'):
        yield preferences


def _head(preferences, components):
    scripts = "".join(
        f'<script type="module" src="{ASSETS}/{name}.js"></script>' for name in components
    )
    # The framework knows one language for all readers: this one has their own.
    language = f'<script>document.documentElement.lang = "{preferences.language}";</script>'
    style = f'<link rel="stylesheet" href="{ASSETS}/site.css">'
    ui.add_head_html(language + style + scripts)


def _tools(preferences, path):
    words = preferences.words
    with html.div().classes("site-tools"):
        with html.details().classes("menu"):
            html.summary(preferences.who)
            with html.form(action="/preferences", method="get").classes("card"):
                html.input_(type="hidden", name="back", value=path)
                with html.label():
                    html.span(words("nav.who"))
                    html.input_(name="who", value=preferences.who, maxlength="80").classes("input")
                html.button(words("nav.save"), type="submit").classes("button primary")
        for language, name in LANGUAGES.items():
            if language != preferences.language:
                _choice(path, name, language=language).props(f'lang="{language}"')
        is_dark = preferences.theme == "dark"
        theme = "light" if is_dark else "dark"
        _choice(path, words(f"nav.{theme}"), theme=theme)


def _choice(path, title, **chosen):
    return html.a(title, href=f"/preferences?{urlencode({**chosen, 'back': path})}").classes(
        "quiet"
    )


def show_failure(error: Exception) -> None:
    """What a reader sees where a page could not be built; the server's log has the rest."""
    words = words_of(DEFAULT)
    sentence = str(error) if isinstance(error, StudyError) else words("failure.text")
    _head(Preferences(DEFAULT, "auto", ""), ())
    with html.div().classes("page"):
        html.h1(words("failure.title"))
        html.p(sentence)
        html.a(words("nav.fields"), href="/").classes("button")


def numbers(values: dict[str, str]) -> None:
    """A row of large figures, each with what it is."""
    with html.div().classes("numbers"):
        for title, value in values.items():
            with html.div().classes("number"):
                html.b(value)
                html.span(title)
