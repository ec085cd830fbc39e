#!/usr/bin/env python3
"""Draw the packages of the project and the direction of their imports: docs/images/rooms.svg.

    python tools/draw_rooms.py

An arrow points at what is imported, as the import statements of all files say, those inside
functions included; one that follows from others is left out. ``ROOMS`` and ``DATA_ROOMS`` say what
may be imported, and tests/test_imports.py holds it. (Not by import-linter: it sees neither the
detectors, which projects/ holds outside the package, nor tools/, and the figure needs the imports.)
"""

import argparse
import ast
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

ROOT = Path(__file__).resolve().parents[1]
FIGURE = ROOT / "docs" / "images" / "rooms.svg"
FOLDERS = ("bccd", "projects", "tools", "datasets")
SCRIPTS = ("train_net.py", "demo.py", "setup.py")


@dataclass(frozen=True)
class Room:
    """One box of the figure.

    Attributes:
        words: what it is for, below its name.
        column: where it stands in its row of the figure; 0 is the leftmost.
        below: what it may import, and with it all that this may import.
        modules: the modules or packages in it; empty: the package of its own name.
    """

    words: str
    column: float
    below: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()


BASE = (
    "atomic_files",
    "lazy_names",
    "openmp",
    "processes",
    "shared_cores",
    "logs",
    "markdown",
    "detections",
    "magnification",
    "mistakes",
    "model_zoo",
    "suggestions",
    "console",
)
CLI = ("cli", "commands", "__main__")
RECORDS = ("boxes", "bccd_classes", "classes", "records", "record_boxes", "unlabelled", "")
ROOMS = {
    "base": Room("processes, logs, model files", 1, (), BASE),
    "data": Room("files to batches", 1, ("base",)),
    "config": Room("keys; finds the detectors", 2, ("data",), ("config", "projects", "model_card")),
    "modeling": Room("what detectors share", 0, ("data",)),
    "evaluation": Room("accuracy", 1, ("data",)),
    "engine": Room("training, checkpoints", 1, ("modeling", "evaluation", "config")),
    "visualization": Room("drawing", 2, ("evaluation",)),
    "export": Room("a detector as one file", 1, ("engine",)),
    "detectors": Room("projects/*: one folder each", 0, ("modeling", "export")),
    "counting": Room("images to counts", 1, ("export", "visualization")),
    "benchmark": Room("cost", 0, ("study",)),
    "experiments": Room("results, own data", 2, ("bccd",)),
    "study": Room("fields, corrections, reports", 2, ("experiments",)),
    "bccd": Room("the Python API", 1, ("counting",), ("",)),
    "server": Room("the page in the browser", 2, ("study",)),
    "cli": Room("the bccd command", 1, ("server", "benchmark"), CLI),
    "reliability": Room("broken input, kills", 1, ("cli",)),
    "tools": Room("tools/, train_net.py, demo.py", 1, ("reliability",)),
}
DATA_ROOMS = {
    "records": Room("boxes, classes", 0.5, (), RECORDS),
    "synthetic": Room("smears", 0.5, ("records",)),
    "images": Room("one reader of images", 0.5, ("synthetic",)),
    "formats": Room("annotation files", 0, ("images",)),
    "sources": Room("BCCD and other sets", 0, ("formats",)),
    "checks": Room("what is wrong with a set", 0, ("sources",)),
    "transforms": Room("augmentation", 1, ("images",)),
    "loading": Room("batches", 1, ("transforms",)),
}


def source_files() -> dict[str, Path]:
    """Every Python file outside tests/ by the name of its module.

    A detector is ``bccd.projects.<package>``, as it is imported; a script ``tools.<name>``.
    """
    files = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
    names = {}
    for path in [*files, *(ROOT / name for name in SCRIPTS)]:
        parts = list(path.relative_to(ROOT).with_suffix("").parts)
        if parts[0] == "projects":
            parts = ["bccd", "projects", *parts[2:]]
        elif parts[0] != "bccd":
            parts = ["tools", parts[-1]]
        if parts[-1] == "__init__":
            del parts[-1]
        names[".".join(parts)] = path
    return names


def imports(files: Mapping[str, Path]) -> Iterator[tuple[str, str]]:
    """(module, what it imports) of every import statement of ``files``, at any depth of a file.

    What ``from package import name`` imports is the module of that name if there is one.
    """
    for name, path in files.items():
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from ((name, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                parts = [*(above if node.level else []), *filter(None, [node.module])]
                base = ".".join(parts)
                for alias in node.names:
                    full = f"{base}.{alias.name}"
                    yield name, full if full in files else base


def room_of(module: str, rooms: Mapping[str, Room], package: str = "bccd") -> str | None:
    """The one of ``rooms`` that holds ``module``; None where it is not in ``package``.

    Raises:
        ValueError: it is in the package and in none of the rooms.
    """
    if package == "bccd":
        if module.split(".")[0] == "tools":
            return "tools"
        if module.startswith("bccd.projects."):
            return "detectors"
    if module != package and not module.startswith(f"{package}."):
        return None
    part = module.removeprefix(package).lstrip(".").split(".")[0]
    for name, room in rooms.items():
        if part in (room.modules or (name,)):
            return name
    raise ValueError(f"{module} has no place in the rooms of tools/draw_rooms.py. Give it one.")


def edges(rooms: Mapping[str, Room], package: str = "bccd") -> dict[tuple[str, str], list[str]]:
    """Imports from room to room: (importing, imported) to the statements, as "module: imported"."""
    found: dict[tuple[str, str], list[str]] = {}
    for module, imported in imports(source_files()):
        pair = room_of(module, rooms, package), room_of(imported, rooms, package)
        if None not in pair and pair[0] != pair[1]:
            found.setdefault(pair, []).append(f"{module}: {imported}")
    return found


def reachable(graph: Mapping[str, tuple[str, ...] | set[str]], start: str) -> set[str]:
    """All that can be reached from ``start`` in one step or more."""
    found: set[str] = set()
    ahead = list(graph.get(start, ()))
    while ahead:
        node = ahead.pop()
        if node not in found:
            found.add(node)
            ahead += graph.get(node, ())
    return found


def against(rooms: Mapping[str, Room], package: str = "bccd") -> list[str]:
    """The import statements that run against the direction of ``rooms``."""
    below = {name: room.below for name, room in rooms.items()}
    pairs = edges(rooms, package)
    wrong = [pair for pair in pairs if pair[1] not in reachable(below, pair[0])]
    return [statement for pair in wrong for statement in pairs[pair]]


WIDTH, HEIGHT, GAP_X, GAP_Y, MARGIN = 178, 42, 20, 30, 22
STYLE = (
    "text{font-family:system-ui,'DejaVu Sans',sans-serif;text-anchor:middle;fill:#1f2328}"
    ".name{font-size:14px;font-weight:600}.words{font-size:11px}"
    ".room{fill:#fff;stroke:#8c5a2b}.inside{fill:#fff;stroke:#2b6a8c}"
    ".arrow{fill:none;stroke:#57606a;marker-end:url(#head)}"
)


def draw() -> str:
    """The figure as SVG. It has a light ground of its own, and is read on a dark page, too."""
    house, size = _panel(ROOMS, "bccd", "room", MARGIN)
    data, end = _panel(DATA_ROOMS, "bccd.data", "inside", size[0] + GAP_X)
    width, height = end[0] + MARGIN, max(size[1], end[1]) + MARGIN
    head = (
        '<marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        'orient="auto"><path d="M0 0L8 4L0 8z" fill="#57606a"/></marker>'
    )
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" '
        f'width="{width:g}" height="{height:g}" role="img">',
        "<title>Packages of the project; an arrow points at what is imported</title>",
        f"<defs>{head}<style>{STYLE}</style></defs>",
        f'<rect width="{width:g}" height="{height:g}" rx="8" fill="#f6f4f1"/>',
    ]
    return "\n".join([*lines, *house, *data, "</svg>", ""])


def _panel(rooms, package, style, left):
    """Lines of SVG for one package, and the right and lower end of what they draw."""
    actual = {name: set() for name in rooms}
    for importing, imported in edges(rooms, package):
        actual[importing].add(imported)
    used = {name for name in rooms if actual[name] or any(name in to for to in actual.values())}
    below = {name: room.below for name, room in rooms.items()}
    depth = {name: _depth(below, name) for name in used}
    rows = sorted(set(depth.values()), reverse=True)
    place = {
        name: (
            left + rooms[name].column * (WIDTH + GAP_X),
            MARGIN + 24 + rows.index(depth[name]) * (HEIGHT + GAP_Y),
        )
        for name in used
    }
    right = max(x for x, _ in place.values()) + WIDTH
    title = f'<text class="name" x="{(left + right) / 2:g}" y="{MARGIN + 4}">{package}</text>'
    arrows = [
        _arrow(place[name], place[other])
        for name in sorted(used)
        for other in sorted(actual[name])
        if not any(other in reachable(actual, between) for between in actual[name] - {other})
    ]
    boxes = [_box(name, rooms[name].words, style, *place[name]) for name in sorted(used)]
    return [title, *arrows, *boxes], (right, max(y for _, y in place.values()) + HEIGHT)


def _depth(below, name):
    return 1 + max((_depth(below, other) for other in below[name]), default=0)


def _arrow(start, end):
    x1, y1, x2, y2 = start[0] + WIDTH / 2, start[1] + HEIGHT, end[0] + WIDTH / 2, end[1]
    x1 += (x2 - x1) / 6  # arrows of one box leave and enter at places of their own
    x2 -= (x2 - x1) / 6
    bend = GAP_Y * 0.8
    return (
        f'<path class="arrow" d="M{x1:.1f} {y1:g}C{x1:.1f} {y1 + bend:g} {x2:.1f} {y2 - bend:g} '
        f'{x2:.1f} {y2:g}"/>'
    )


def _box(name, words, style, x, y):
    middle = x + WIDTH / 2
    return (
        f'<rect class="{style}" x="{x:g}" y="{y:g}" width="{WIDTH}" height="{HEIGHT}" rx="5"/>'
        f'<text class="name" x="{middle:g}" y="{y + 18:g}">{name}</text>'
        f'<text class="words" x="{middle:g}" y="{y + 33:g}">{escape(words)}</text>'
    )


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=FIGURE)
    args = parser.parse_args(argv)
    args.output.write_text(draw(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
