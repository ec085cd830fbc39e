"""The page of config keys, from the assignments and the comments of the files that add them."""

import ast
import io
import tokenize
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Entry:
    """Keys that share a meaning.

    Attributes:
        defaults: full name of each key to its default; empty for a comment of no key.
        meaning: the comment above them and those behind them.
    """

    defaults: dict[str, object] = field(default_factory=dict)
    meaning: str = ""


def config_files() -> list[Path]:
    """The files that add config keys: the shared ones first, then those of every detector."""
    return [ROOT / "bccd/config.py", *sorted((ROOT / "projects").glob("*/*/config.py"))]


def read_entries(path: Path) -> list[Entry]:
    """The keys that a file assigns, in its order, with their meaning.

    A comment belongs to the assignment below it or on its line, and also to the assignments that
    follow without a gap where it names their key. A comment above a gap is an entry without keys.
    """
    text = path.read_text(encoding="utf-8")
    above, behind = _comments(text)
    entries: list[Entry] = []
    names = {"cfg": ""}
    last_line = 0
    statements = {node.lineno: node for node in ast.walk(ast.parse(text)) if _assigns(node)}
    for line in sorted(statements.keys() | above.keys()):
        if line in above and above[line][0] + 1 not in statements:
            entries.append(Entry(meaning=above[line][1]))
        if line not in statements:
            continue
        node = statements[line]
        defaults = _defaults(node, names)
        if defaults is None:
            continue
        comment = next((words for end, words in above.values() if end == line - 1), "")
        meaning = " ".join(filter(None, [comment, behind.get(node.end_lineno, "")]))
        follows = not meaning and line == last_line + 1 and entries
        if defaults and follows and all(_named(key, entries[-1].meaning) for key in defaults):
            entries[-1].defaults |= defaults
        elif defaults or meaning:
            entries.append(Entry(defaults, meaning))
        last_line = node.end_lineno
    return entries


def _named(key, meaning):
    return key.rpartition(".")[2] in meaning


def _comments(text):
    """{first line: (last line, words)} of comments on lines of their own; {line: words} behind."""
    above, behind = {}, {}
    start = end = 0
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type != tokenize.COMMENT:
            continue
        line, words = token.start[0], token.string.lstrip("# ")
        if token.line[: token.start[1]].strip():
            behind[line] = words
        elif line == end + 1:
            above[start] = (line, f"{above[start][1]} {words}")
            end = line
        else:
            start = end = line
            above[line] = (line, words)
    return above, behind


def _assigns(node):
    return isinstance(node, ast.Assign) and node.col_offset > 0


def _defaults(node, names):
    """The keys of an assignment with their defaults; None where it is not to a config node.

    Takes note of names that stand for config nodes.
    """
    prefix = None
    for target in node.targets:
        if isinstance(target, ast.Attribute):
            prefix = _path(target, names)
    if prefix is None:  # ``node = cfg.MODEL.SparseRCNN``
        prefix = _path(node.value, names)
        names |= {target.id: prefix for target in node.targets if prefix is not None}
        return None
    names |= {target.id: prefix for target in node.targets if isinstance(target, ast.Name)}
    if isinstance(node.value, ast.Call):  # CN() or CN({...})
        values = ast.literal_eval(node.value.args[0]) if node.value.args else {}
        return {f"{prefix}.{key}": value for key, value in values.items()}
    return {prefix: ast.literal_eval(node.value)}


def _path(node, names):
    """``MODEL.SSD`` of the expression ``cfg.MODEL.SSD``; None of one that is no config node."""
    parts = []
    while isinstance(node, ast.Attribute):
        parts.insert(0, node.attr)
        node = node.value
    if not isinstance(node, ast.Name) or node.id not in names:
        return None
    return ".".join(filter(None, [names[node.id], *parts]))


def page() -> str:
    """The page as Markdown."""
    lines = [
        "# Config keys",
        "",
        "Every key that this project adds to Detectron2's or gives another default, with that "
        "default: from `bccd/config.py` and the `config.py` of each detector. A yaml sets them, "
        "and so do `KEY VALUE` pairs behind the flags of `train_net.py` and the tools, or behind "
        "`--opts`. Detectron2's other keys are in its own documentation and mean here what they "
        "mean there.",
    ]
    for path in config_files():
        lines += _section(path)
    return "\n".join([*lines, ""])


def _section(path):
    relative = path.relative_to(ROOT)
    title = "Shared by all detectors" if relative.parts[0] == "bccd" else relative.parts[1]
    yield from ("", f"## {title.removesuffix('_BCCD')}", "")
    node = ""
    for entry in read_entries(path):
        found = next(iter(entry.defaults), None)
        if found and (new := _heading(found)) != node:
            node = new
            yield from (f"### {node}", "")
        keys = [
            f"[`{key}`]{{#{key.replace('.', '-')}}} = `{default!r}`"
            for key, default in entry.defaults.items()
        ]
        meaning = escape(entry.meaning[:1].upper() + entry.meaning[1:])
        yield from ([", ".join(keys), f":   {meaning}", ""] if keys else [meaning, ""])


def _heading(key):
    parts = key.split(".")
    return ".".join(parts[: 2 if parts[0] == "MODEL" and len(parts) > 2 else 1])


def escape(comment: str) -> str:
    """A comment as Markdown that shows the same characters."""
    return "".join(f"\\{c}" if c in r"\`*_{}[]<>#|" else c for c in comment)
