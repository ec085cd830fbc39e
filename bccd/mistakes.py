"""Which errors tell a mistake of the user, for whom one sentence is enough, and which a bug."""

import re
from pathlib import Path

_KINDS = (OSError, ValueError, FloatingPointError, ImportError)
# What a DataLoader makes of the error of a worker: the traceback as text, then type and message.
_IN_WORKER = re.compile(
    r'Caught (\w+) in DataLoader worker.*\n  File "([^"]+)", line \d+, in [^\n]+\n'
    r"(?:    [^\n]*\n)*(?:[\w.]+: )(.*)",
    re.DOTALL,
)


def mistake(error: BaseException) -> str | None:
    """What an error says where it tells a mistake in the configuration or the data.

    These are the errors about a named file, and those which the code of this project raises itself.
    An error from inside a library is none: it may be a bug, whose traceback is needed.

    Returns:
        The sentence, or None.
    """
    if not isinstance(error, _KINDS):
        return None
    if in_worker := _IN_WORKER.match(str(error)):
        kind, file, message = in_worker.groups()
        own = _is_own_file(file) or kind.endswith("NotFoundError")
        return message.strip() if own else None
    names_a_file = isinstance(error, OSError) and error.filename is not None
    return in_words(error) if names_a_file or _is_own_file(_raised_in(error)) else None


def in_words(error: BaseException) -> str:
    """What an error says; of one about a file the file and what is wrong, without a number."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def _raised_in(error):
    """The file of the code that raised an error."""
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    return traceback.tb_frame.f_code.co_filename if traceback else ""


def _is_own_file(file):
    """Whether a file is of the package or of the checkout around it, but of no library."""
    package = Path(__file__).resolve().parent
    path = Path(file).resolve()
    around = (package.parent / name for name in ("projects", "tools"))
    return any(path.is_relative_to(folder) for folder in (package, *around))
