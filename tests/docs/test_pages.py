import pkgutil
import re
from pathlib import Path

from bccd.config import get_bccd_cfg, merge_yaml

ROOT = Path(__file__).parents[2]
FOLDERS = "bccd|projects|tools|tests|configs|docs|datasets|models|results"
PATTERNS = ("*.md", "docs/*.md", "docs/start/*.md", "docs/detectors/*.md", "configs/*.md")
PATTERNS += ("datasets/README.md", "projects/*/*.md", "models/*.md", "results/**/*.md")
# Made by a command, or by the reader.
MADE = ("docs/generated", "datasets/BCCD", "models/<", "projects/Toy", "configs/Toy")
TOY = "bccd.projects.toy"  # what docs/adding_a_detector.md adds


def pages():
    """(page, text) of every page."""
    for pattern in PATTERNS:
        for path in sorted(ROOT.glob(pattern)):
            yield path.relative_to(ROOT).as_posix(), path.read_text()


def prose():
    """(page, text) of every page without its blocks of code."""
    for name, text in pages():
        yield name, re.sub(r"```.*?```", "", text, flags=re.DOTALL)


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
            if name.startswith(TOY):
                continue
            try:
                pkgutil.resolve_name(name)
            except (ImportError, AttributeError):
                missing.append((page, name))
    assert missing == []


def test_the_code_names_pages_that_there_are():
    files = [p for name in ("bccd", "projects", "tools") for p in (ROOT / name).rglob("*.py")]
    missing = [
        (path.name, page)
        for path in files
        for page in re.findall(rf"\b((?:{FOLDERS})/[\w/]+\.md)\b", path.read_text())
        if not (ROOT / page).exists()
    ]
    assert files and missing == []


def test_config_files_in_pages_can_be_read(tmp_path):
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    blocks = [b for _, text in pages() for b in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)]
    for block in blocks:
        (tmp_path / "config.yaml").write_text(block)
        merge_yaml(get_bccd_cfg(), str(tmp_path / "config.yaml"))
    assert blocks
