"""How the site is built: `tox run -e docs` with the gallery, `tox run -e pages` without."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import delve

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS / "_ext"))

project = "Delve"
author = "the authors of Delve"
project_copyright = "the authors of Delve"
version = release = delve.__version__
language = "en"

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx_click",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
    "built_links",
    "registered",
    "repository_pages",
]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["build", "gallery/*.py.md5", "gallery/sg_execution_times.rst"]
nitpicky = True
# What annotations name and the reference does not show: aliases, and types behind the public ones.
_ALIASES = (
    *("Axes", "Axis", "Every", "Include", "LayerFilter", "Modules", "Path", "Run", "Scale"),
    *("KeyStyle", "Spectrum", "Style", "np.ndarray"),
)
nitpick_ignore = [("py:class", name) for name in (*_ALIASES, "pd.DataFrame")]
nitpick_ignore.append(("py:exc", "DamagedFileError"))
nitpick_ignore_regex = [("py:class", r"delve\.\w+\.\w+\.\w+")]
suppress_warnings = ["config.cache"]

myst_enable_extensions = ["dollarmath", "fieldlist"]
myst_heading_anchors = 3

autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True  # as written: `os.environ`, not what it holds on this machine
autodoc_class_signature = "mixed"
autosummary_generate = True
toc_object_entries_show_parents = "hide"  # beside the page there is room for a name alone
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_attr_annotations = True

# The names that our pages point to, as lists in the repository: the build needs no network.
intersphinx_mapping = {
    name: (address, str(DOCS / "inventories" / f"{name}.inv"))
    for name, address in {
        "python": "https://docs.python.org/3",
        "torch": "https://docs.pytorch.org/docs/stable",
        "numpy": "https://numpy.org/doc/stable",
        "pandas": "https://pandas.pydata.org/docs",
        "matplotlib": "https://matplotlib.org/stable",
        "mlflow": "https://mlflow.org/docs/latest/api_reference",
    }.items()
}

sphinx_gallery_conf = {
    "examples_dirs": ["../examples/gallery"],
    "gallery_dirs": ["gallery"],
    "filename_pattern": r"/plot_",
    "plot_gallery": os.environ.get("DELVE_GALLERY", "run") == "run",
    "abort_on_example_error": True,
    "remove_config_comments": True,
    "capture_repr": (),
    "show_memory": False,
    "show_signature": False,
    "download_all_examples": False,
    "within_subsection_order": "FileNameSortKey",
    "min_reported_time": 1,
    "reset_modules": ("matplotlib",),
}

html_theme = "pydata_sphinx_theme"
html_title = "Delve"
html_show_sphinx = False
html_static_path = ["_static"]
html_css_files = ["delve.css"]
html_theme_options = {
    "show_prev_next": True,
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
    "show_nav_level": 2,
    "header_links_before_dropdown": 8,
}
html_sidebars = {"index": []}
