"""How sphinx builds these pages."""

from importlib import metadata

project = "sigil-actors"
author = "The sigil-actors authors"
project_copyright = "The sigil-actors authors"
release = version = metadata.version("sigil-actors")

extensions = ["myst_parser"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]
nitpicky = True

html_theme = "furo"
html_title = f"{project} {release}"
html_copy_source = False
