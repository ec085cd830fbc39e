"""Extension of Sphinx: the generated pages, the tables of contents, and what links lead to."""

import re
from pathlib import Path
from typing import Any

import api_pages
import command_help
import config_keys
from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parents[2]
GENERATED = ROOT / "docs" / "generated"

# The pages of each part, in the order of reading. A page of docs/ in no part is a how-to page.
PARTS = {
    "Start here": [
        *("README", "docs/start/laboratory", "docs/start/engineer", "docs/start/researcher"),
    ],
    "How to": [
        "docs/installing",
        *("docs/counting", "docs/calibrate", "docs/slides", "docs/many_images", "docs/python"),
        *("datasets/README", "docs/own_data", "docs/training", "docs/adding_a_detector"),
        *("docs/deployment", "docs/offline"),
    ],
    "Detectors": ["projects/*/README", "docs/detectors/*"],
    "Reference": [
        *("docs/generated/api/index", "docs/generated/config_keys", "configs/README"),
        "docs/generated/commands",
    ],
    "Results": [
        *("docs/results", "results/README", "models/README", "docs/performance", "docs/benchmark"),
        "docs/reliability",
    ],
    "Design": ["docs/design"],
}
# Pages that stand below another one.
BELOW = {
    "results/README": ["results/ablations/*", "results/searches/*", "results/*/errors"],
    "models/README": ["models/*"],
}


def write_generated_pages(app: Sphinx) -> None:
    """Write the reference pages into docs/generated/, which git ignores."""
    (GENERATED / "api").mkdir(parents=True, exist_ok=True)
    pages = {"config_keys": config_keys.page(), "commands": command_help.page()}
    pages |= {f"api/{name}": text for name, text in api_pages.pages().items()}
    for old in GENERATED.rglob("*.md"):
        old.unlink()
    for name, text in pages.items():
        (GENERATED / f"{name}.md").write_text(text, encoding="utf-8")


def complete_source(app: Sphinx, docname: str, source: list[str]) -> None:
    """Add the tables of contents, which the pages do not have for those who read them in git."""
    if docname == app.config.root_doc:
        named = {page for pages in PARTS.values() for page in pages}
        others = {f"docs/{path.stem}" for path in (ROOT / "docs").glob("*.md")} - named - {docname}
        parts = {**PARTS, "How to": [*PARTS["How to"], *sorted(others)]}
        trees = [_toctree(pages, caption) for caption, pages in parts.items()]
        source[0] += "\n\n" + "\n\n".join(trees)
    elif docname in BELOW:
        source[0] += "\n\n" + _toctree(BELOW[docname])
    elif docname.startswith(("results/ablations/", "results/searches/")):  # a table alone
        kind = "Ablation" if "ablations" in docname else "Search"
        source[0] = f"# {kind}: {Path(docname).name}\n\n{source[0]}"


def _toctree(pages, caption=""):
    found = [f"/{page}" for page in pages if "*" in page or _exists(page)]
    options = [":hidden:", ":glob:", *([f":caption: {caption}"] if caption else [])]
    return "\n".join(["```{toctree}", *options, "", *found, "```"])


def _exists(page):
    return (ROOT / f"{page}.md").exists()


def link_to_folders(app: Sphinx, doctree: nodes.document) -> None:
    """Lead a link to a folder to its README.md; where there is none, the words are no link."""
    here = app.env.docname
    for link in list(doctree.findall(addnodes.pending_xref)):
        folder = (ROOT / here).parent / link["reftarget"]
        if not folder.is_dir():
            continue
        page = (folder.resolve() / "README").relative_to(ROOT).as_posix()
        words = link.children
        if _exists(page):
            address = app.builder.get_relative_uri(here, page)
            words = [nodes.reference("", "", *words, internal=True, refuri=address)]
        link.replace_self(words)


def leave_out_libraries(
    app: Sphinx, what: str, name: str, obj: Any, skip: bool, options: Any
) -> bool:
    """Leave out what a module takes from a library to offer it beside its own."""
    return skip or not (getattr(obj, "__module__", None) or "bccd").startswith("bccd")


def to_restructured_text(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]
) -> None:
    """Show the docstring of a module as its author has laid it out.

    Lines ````name``  what it is for`` become a list, indented lines a block as they are.
    """
    if what != "module" or any(line.startswith("===") for line in lines):
        return
    shown = []
    in_list = verbatim = False
    for line in lines:
        if found := re.match(r"(``.+?``)  +(?=\S)", line):
            shown.append(f"* {found[1]}: {line[found.end() :]}")
            in_list = True
        elif in_list and line.startswith(" "):
            shown.append(f"  {line.strip()}")
        elif line.startswith(" ") and not verbatim and shown and not shown[-1]:
            shown += ["::", "", line]
            verbatim = True
        else:
            shown += ["", line] if in_list else [line]
            in_list = False
            verbatim = line.endswith("::") or (verbatim and not line.strip(" "))
            verbatim = verbatim or line.startswith(" ")
    lines[:] = shown


def setup(app: Sphinx) -> None:
    """Connect the above to Sphinx."""
    app.connect("builder-inited", write_generated_pages)
    app.connect("source-read", complete_source)
    app.connect("doctree-read", link_to_folders)
    app.connect("autodoc-skip-member", leave_out_libraries)
    app.connect("autodoc-process-docstring", to_restructured_text)
