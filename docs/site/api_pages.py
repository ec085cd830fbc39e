"""The pages of the Python API: one for each package, filled from the docstrings by autodoc."""

import importlib
import inspect
import pkgutil
from collections.abc import Iterator

INTRODUCTION = """\
# Python API

Every public function and class, from its docstring; [Design](../../design.md) shows how the
packages depend on each other. Letters of shapes: `N` images, `P` proposals, `M` ground-truth boxes,
`K` classes, `D` channels. [Config keys](../config_keys.md) set what a detector is built from."""


def packages(name: str = "bccd") -> Iterator[str]:
    """``name`` and every package below it that has a module with something to document."""
    yield name
    for module in pkgutil.iter_modules(importlib.import_module(name).__path__):
        if module.ispkg:
            yield from packages(f"{name}.{module.name}")


def modules(package: str) -> list[str]:
    """The package, then its modules, sorted; without packages and names with an underscore."""
    found = pkgutil.iter_modules(importlib.import_module(package).__path__)
    names = [m.name for m in found if not m.ispkg and not m.name.startswith("_")]
    return [package, *(f"{package}.{name}" for name in sorted(names))]


def summary(name: str) -> str:
    """The first paragraph of the docstring of a module, on one line."""
    text = inspect.getdoc(importlib.import_module(name)) or ""
    return " ".join(text.split("\n\n")[0].split())


def pages() -> dict[str, str]:
    """Markdown of each page by its name; "index" lists the others."""
    found = {package: _page(package) for package in packages()}
    listed = [f"- [{name}]({name}.md): {summary(name)}" for name in found]
    toc = ["```{toctree}", ":hidden:", "", *found, "```"]
    return {"index": "\n".join([INTRODUCTION, "", *listed, "", *toc, ""]), **found}


def _page(package):
    lines = [f"# {package}", ""]
    for name in modules(package):
        if name != package:
            lines += [f"## {name.rpartition('.')[2]}", ""]
        lines += ["```{eval-rst}", f".. automodule:: {name}", "```", ""]
    return "\n".join(lines)
