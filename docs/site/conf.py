"""Settings of Sphinx for the documentation site: ``make docs``.

Sphinx with MyST reads the Markdown pages as they are in the repository, where they are read, too,
and autodoc the docstrings. Furo has light and dark colours, and nothing in its pages comes from
another place; the search works from files, without a server. (MkDocs has had no release since 2024,
and its successors, ProperDocs and Zensical, are young; all need more packages for docstrings.)
"""

import sys
from pathlib import Path

import bccd

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "docs" / "site"))

project = html_title = "BCCD on Detectron2"
version = release = bccd.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "site_pages"]
root_doc = "docs/README"
include_patterns = ["README.md", "docs/**.md", "datasets/README.md", "projects/*/README.md"]
include_patterns += ["results/**.md", "models/*.md", "configs/*.md"]

myst_enable_extensions = ["deflist", "attrs_inline"]
myst_heading_anchors = 4
autodoc_default_options = {"members": True, "special-members": "__call__"}
autodoc_member_order = "bysource"
napoleon_numpy_docstring = False
napoleon_use_ivar = True  # as attributes of their own they would be described twice
smartquotes = False  # they make a dash of the two hyphens of a flag
suppress_warnings = ["ref.python"]  # napoleon takes the "scores: ..." of a result for a class

html_theme = "furo"
html_extra_path = ["index.html"]
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_copyright = False
