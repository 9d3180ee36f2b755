"""Settings of the documentation."""

import re

from lrscape import __version__

project = "lrscape"
author = "The lrscape developers"
release = __version__
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.mathjax",
    "sphinx_gallery.gen_gallery",
]
html_theme = "furo"
exclude_patterns = ["_build", "examples/*.rst", "tutorials/*.rst"]
sphinx_gallery_conf = {
    "examples_dirs": ["tutorials", "examples"],
    "gallery_dirs": ["auto_tutorials", "auto_examples"],
    "filename_pattern": "plot_",
    "ignore_pattern": "trained",
    "abort_on_example_error": True,
    "download_all_examples": False,
    "remove_config_comments": True,
    "image_scrapers": ("matplotlib",),
    "image_srcset": ["2x"],
    "capture_repr": (),
    "nested_sections": False,
}
autodoc_mock_imports = ["lightning", "transformers"]  # optional; their absence must not matter
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_default_options = {"members": True, "show-inheritance": True}
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
nitpicky = False


def escape_norms(app, what, name, obj, options, lines):
    """Keep |x| from being read as a substitution, outside of literals and doctests."""
    for i, line in enumerate(lines):
        if not line.lstrip().startswith((">>>", "...")):
            parts = re.split(r"(``.*?``)", line)
            lines[i] = "".join(part if part.startswith("``") else part.replace("|", r"\|") for part in parts)


def setup(app):
    app.connect("autodoc-process-docstring", escape_norms, priority=900)
