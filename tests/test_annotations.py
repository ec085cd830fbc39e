"""Public functions and methods state the types of what they take and return."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("bccd", "projects", "tools", "datasets", "docs")
SCRIPTS = ("demo.py", "setup.py", "train_net.py")


def public_functions(body, in_class=False):
    """(definition, whether it is a method) of the public functions, special methods included."""
    for node in body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from public_functions(node.body, in_class=True)
        elif isinstance(node, ast.FunctionDef):
            special = in_class and node.name.startswith("__")
            if special or not node.name.startswith("_"):
                yield node, in_class


def missing_annotations(node, is_method):
    arguments = node.args.posonlyargs + node.args.args
    if is_method and arguments and arguments[0].arg in ("self", "cls"):
        arguments = arguments[1:]
    arguments += node.args.kwonlyargs + [a for a in (node.args.vararg, node.args.kwarg) if a]
    missing = [argument.arg for argument in arguments if argument.annotation is None]
    return missing + ["return"] * (node.returns is None)


def unannotated(source):
    return {
        node.name: missing
        for node, is_method in public_functions(ast.parse(source).body)
        if (missing := missing_annotations(node, is_method))
    }


def test_what_is_missing_is_found():
    source = "class A:\n def f(self, a, *, b: int): ...\n def _g(self, c): ...\ndef h(*d): ...\n"
    assert unannotated(source) == {"f": ["a", "return"], "h": ["d", "return"]}


@pytest.mark.parametrize("room", ROOMS)
def test_public_functions_are_annotated(room):
    _check(sorted((ROOT / room).rglob("*.py")))


def test_public_functions_of_scripts_are_annotated():
    _check([ROOT / name for name in SCRIPTS])


def _check(files):
    found = {str(file.relative_to(ROOT)): unannotated(file.read_text()) for file in files}
    assert found and not {file: names for file, names in found.items() if names}
