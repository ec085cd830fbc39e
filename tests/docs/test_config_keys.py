import runpy
from pathlib import Path

import pytest
from detectron2.config import CfgNode, get_cfg

from bccd.config import get_bccd_cfg

ROOT = Path(__file__).parents[2]
config_keys = runpy.run_path(str(ROOT / "docs" / "site" / "config_keys.py"))
ENTRIES = [
    entry for path in config_keys["config_files"]() for entry in config_keys["read_entries"](path)
]


def flat(node, prefix=""):
    """Every key of a config by its full name."""
    keys = {}
    for key, value in node.items():
        inside = isinstance(value, CfgNode)
        keys |= flat(value, f"{prefix}{key}.") if inside else {f"{prefix}{key}": value}
    return keys


def read(text, folder):
    path = folder / "config.py"
    path.write_text(f"def add_config(cfg):\n{text}")
    return [(entry.defaults, entry.meaning) for entry in config_keys["read_entries"](path)]


def test_every_key_has_a_meaning():
    assert [key for entry in ENTRIES for key in entry.defaults if not entry.meaning] == []


def test_the_page_has_the_keys_and_defaults_of_the_config():
    detectron2, ours = flat(get_cfg()), flat(get_bccd_cfg())
    written = {key: default for entry in ENTRIES for key, default in entry.defaults.items()}
    assert {key: ours[key] for key in written} == written
    assert {key for key, default in ours.items() if detectron2.get(key, ...) != default} <= set(
        written
    )
    page = config_keys["page"]()
    assert all(f"[`{key}`]" in page for key in written)


@pytest.mark.parametrize(
    ("text", "entries"),
    [
        ("    cfg.A = 1  # one\n", [({"A": 1}, "one")]),
        ("    # above\n    # it\n    cfg.A.B = ()\n", [({"A.B": ()}, "above it")]),
        ("    # above\n    cfg.A = 1  # behind\n", [({"A": 1}, "above behind")]),
        ("    # of A and B\n    cfg.A = 1\n    cfg.B = 2\n", [({"A": 1, "B": 2}, "of A and B")]),
        ("    # of it\n    cfg.A = 1\n    cfg.B = 2\n", [({"A": 1}, "of it"), ({"B": 2}, "")]),
        (
            "    # of A, B\n    cfg.A = 1\n\n    cfg.B = 2\n",
            [({"A": 1}, "of A, B"), ({"B": 2}, "")],
        ),
        ("    # a note\n\n    cfg.A = 1  # one\n", [({}, "a note"), ({"A": 1}, "one")]),
        ("    # both\n    cfg.N = CN({'A': 1, 'B': 2})\n", [({"N.A": 1, "N.B": 2}, "both")]),
        ("    n = cfg.M.N = CN()\n    n.A = 1  # one\n", [({"M.N.A": 1}, "one")]),
        ("    cfg.N = CN()\n    n = cfg.N\n    n.A = 1  # one\n", [({"N.A": 1}, "one")]),
        ("    x = 3  # no key\n    cfg.A = 1  # one\n", [({"A": 1}, "one")]),
    ],
)
def test_a_comment_is_the_meaning_of_the_keys_that_it_stands_at(text, entries, tmp_path):
    assert read(text, tmp_path) == entries


def test_a_comment_is_shown_as_it_is_written():
    assert config_keys["escape"]("{MIN,MAX}_SIZE_TRAIN *") == r"\{MIN,MAX\}\_SIZE\_TRAIN \*"
