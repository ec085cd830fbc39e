"""What a reader chose for this browser: language, colours, and the name that the log will show."""

import getpass
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse

from bccd.server.words import LANGUAGES, Words, choose_language, words_of

_YEAR = 365 * 24 * 3600
THEMES = ("auto", "light", "dark")


@dataclass(frozen=True)
class Preferences:
    """What one browser shows.

    Attributes:
        language: of the page, a key of LANGUAGES.
        theme: "auto", "light" or "dark".
        who: the person, as the log names them.
    """

    language: str
    theme: str
    who: str

    @property
    def words(self) -> Words:
        """Looks up a sentence in the language."""
        return words_of(self.language)


def read_preferences(request: Request) -> Preferences:
    """What the cookies of a request say; the name is this computer's user until one is given."""
    cookies = request.cookies
    language = choose_language(
        cookies.get("bccd_language"), request.headers.get("accept-language", "")
    )
    theme = cookies.get("bccd_theme", "auto")
    who = unquote(cookies.get("bccd_who", "")).strip() or user_name()
    return Preferences(language, theme if theme in THEMES else "auto", who)


def user_name() -> str:
    """Of who started the server."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container whose user has no name
        return "user"


async def change_preferences(request: Request) -> RedirectResponse:
    """Store ``language``, ``theme`` or ``who`` of the query in cookies and go back."""
    asked = request.query_params
    response = RedirectResponse(_local(asked.get("back", "/")), status_code=303)
    for name, allowed in (("language", LANGUAGES), ("theme", THEMES)):
        if asked.get(name) in allowed:
            _store(response, f"bccd_{name}", asked[name])
    if who := asked.get("who", "").strip():
        _store(response, "bccd_who", quote(who))
    return response


def _store(response, name, value):
    response.set_cookie(name, value, max_age=_YEAR, samesite="strict")


def _local(back):
    """A path of this server: another site's address would be an open redirect."""
    parts = urlsplit(back)
    is_local = back.startswith("/") and not parts.netloc and not back.startswith(("//", "/\\"))
    return back if is_local else "/"
