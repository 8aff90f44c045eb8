"""Settings of the documentation: `make docs` builds it into build/docs, offline and without a warning."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from generated_pages import write_pages
from sphinx.application import Sphinx

import auformer

project = "auformer"
author = "The auformer contributors"
copyright = "The auformer contributors, Apache-2.0"
release = version = auformer.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_generated"]

myst_enable_extensions = ["deflist"]
myst_heading_anchors = 4

nb_execution_mode = "force"
nb_execution_timeout = 300
nb_execution_raise_on_error = True
nb_execution_in_temp = True
nb_merge_streams = True
nb_output_stderr = "remove"  # progress, and paths of whoever builds

default_role = "code"  # docstrings mark code with single backticks
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
python_maximum_signature_line_length = 100
napoleon_numpy_docstring = False
# lines of a predictions file or a shell are not Python
suppress_warnings = ["misc.highlighting_failure"]

html_theme = "furo"
html_title = f"auformer {release}"
html_show_sourcelink = False
html_copy_source = False


def setup(app: Sphinx) -> None:
    """Write the generated pages before Sphinx looks for pages."""
    app.connect("builder-inited", lambda app: write_pages(Path(app.srcdir)))
