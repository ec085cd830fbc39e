import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
rooms = runpy.run_path(str(ROOT / "tools" / "draw_rooms.py"))
FILES = rooms["source_files"]()
IMPORTS = list(rooms["imports"](FILES))


def test_imports_run_one_way():
    assert rooms["against"](rooms["ROOMS"]) == []


def test_imports_inside_data_run_one_way():
    assert rooms["against"](rooms["DATA_ROOMS"], "bccd.data") == []


def test_an_import_against_the_direction_is_found(monkeypatch, tmp_path):
    path = tmp_path / "losses.py"
    path.write_text("def lazily():\n    from bccd.engine.trainer import Trainer\n")
    monkeypatch.setitem(
        rooms["edges"].__globals__, "source_files", lambda: {"bccd.modeling.losses": path}
    )
    assert rooms["against"](rooms["ROOMS"]) == ["bccd.modeling.losses: bccd.engine.trainer"]


@pytest.mark.parametrize(
    ("source", "name", "found"),
    [
        ("import bccd.data, os", "imports.py", ["bccd.data", "os"]),
        ("from bccd.data import boxes", "imports.py", ["bccd.data"]),
        ("from . import other", "imports.py", ["bccd.room.other"]),
        ("from . import other", "__init__.py", ["bccd.room.other"]),
        ("from ..engine import hooks", "imports.py", ["bccd.engine"]),
        ("def f():\n    from .other import x", "imports.py", ["bccd.room.other"]),
    ],
)
def test_imports_are_read_in_every_form(source, name, found, tmp_path):
    path = tmp_path / name
    path.write_text(source)
    (tmp_path / "other.py").touch()
    module = "bccd.room" if name == "__init__.py" else "bccd.room.imports"
    read = rooms["imports"]({"bccd.room.other": tmp_path / "other.py", module: path})
    assert [imported for importing, imported in read if importing == module] == found


def test_no_module_names_a_detector_of_another_folder():
    for importing, imported in IMPORTS:
        if imported.startswith("bccd.projects."):
            detector = ".".join(imported.split(".")[:3])
            assert importing.startswith(detector), f"{importing} imports {imported}"


def test_no_module_outside_tests_imports_from_tests():
    tests = {path.stem for path in (ROOT / "tests").rglob("*.py")} | {"tests"}
    wrong = [pair for pair in IMPORTS if pair[1].split(".")[0] in tests]
    assert wrong == []


def test_the_figure_is_of_these_imports():
    assert rooms["FIGURE"].read_text() == rooms["draw"](), "run python tools/draw_rooms.py"
