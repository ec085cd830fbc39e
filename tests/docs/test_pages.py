import pkgutil
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = "bccd|projects|tools|tests|configs|docs|datasets|models|results"
# Made by a command, or by the reader.
MADE = ("docs/generated", "datasets/BCCD", "models/<")


def prose():
    """(page, text) of every page without its blocks of code."""
    listed = subprocess.run(
        ["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in listed.stdout.split():
        if (ROOT / name).exists():
            yield name, re.sub(r"```.*?```", "", (ROOT / name).read_text(), flags=re.DOTALL)


def exists(path):
    """Whether the repository has ``path``; ``*``, ``{a,b}``, ``<name>``, NAME stand for several."""
    path = re.sub(r"\{[^}]*\}|<[^>]*>|(?<=/)[A-Z]+$", "*", path)
    return any(ROOT.glob(path.rstrip("/.")))


def test_pages_name_files_that_there_are():
    missing = [
        (page, path)
        for page, text in prose()
        for path in re.findall(rf"(?<![\w/.$-])((?:{FOLDERS})/[\w.*/{{}}<>,-]*\w)", text)
        if not path.startswith(MADE) and not exists(path)
    ]
    assert missing == []


def test_pages_name_modules_and_functions_that_there_are():
    missing = []
    for page, text in prose():
        for name in re.findall(r"`(bccd(?:\.\w+)+)(?:\(\))?`", text):
            try:
                pkgutil.resolve_name(name)
            except (ImportError, AttributeError):
                missing.append((page, name))
    assert missing == []
