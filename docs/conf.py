"""The site, from these pages: `sh scripts/docs` builds it into docs/_build/html.

A page that is not named below still stands in the navigation, under MORE, and a public name that docs/api.md does not
list stands at its end: what is new is seen before somebody has found the place for it.
"""

import re
from pathlib import Path

from docutils import nodes
from sphinx.addnodes import pending_xref

import imbalanced_torch

HERE = Path(__file__).parent

project = "imbalanced-torch"
author = copyright = "The imbalanced-torch developers"
version = release = imbalanced_torch.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "numpydoc", "sphinx_copybutton"]
exclude_patterns = ["_build", "_static", "_templates"]
templates_path = ["_templates"]

# furo: plain HTML and CSS, light and dark, reads well on a phone, and pip's own documentation is built with it.
html_theme = "furo"
html_title = "imbalanced-torch"
html_theme_options = {"navigation_with_keys": True}
html_copy_source = False
html_static_path = ["_static"]
html_css_files = ["site.css"]
copybutton_exclude = ".linenos, .gp, .go"  # prompts and output stay behind

#: Sections of the navigation, and the pages in each, those that exist.
PAGES = {
    "Start": ["install", "first_steps", "which_one", "coming_from", "pitfalls"],
    "Guide": [
        *("strategies", "probabilities", "goals", "default_net", "own_modules", "losses", "extending"),
        *("watching", "comparing", "displays", "explaining", "command_line"),
    ],
    "At work": ["shipping", "onnx", "speed", "large_fits", "scale"],
    "Evidence": ["examples", "strength", "benchmark"],
    "Reference": ["api"],
    "Project": ["changelog", "contributing", "release"],
}
MORE = "More"
#: Where the title of a page is too long for the navigation.
SHORT = {
    "probabilities": "Probabilities",
    "goals": "Goals and guarantees",
    "watching": "Watching a fit",
    "losses": "Losses and schedules",
    "extending": "Your own strategies and losses",
    "strength": "Beside trees and other nets",
    "benchmark": "Strategies on public sets",
}

# Markdown: headings are targets, [text](page.md#heading) is a link.
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]
smartquotes = False  # "balanced" is to be copied

# API: numpydoc's sections say what parameters are, so no types from annotations; each member has its own entry.
autosummary_generate = True
autodoc_typehints = "none"
numpydoc_show_class_members = False
python_maximum_signature_line_length = 88
toc_object_entries_show_parents = "hide"
# Members up to these classes of other packages are shown, not theirs.
autodoc_default_options = {
    "members": True,
    "inherited-members": "_MetadataRequester, BaseEstimator, ClassifierMixin, MetaEstimatorMixin, Module, NeuralNet, "
    "Warning",
    "member-order": "bysource",
}
default_role = "name"  # what stands in single backticks

# -n: a reference to a name of ours that does not exist is a warning; other packages' names are not linked.
nitpick_ignore_regex = [(r"py:.*", r"(?!imbalanced_torch).*")]


def navigation(pages: list[str]) -> dict[str, list[str]]:
    """Return the sections of the navigation for the pages that are there; no page is left out."""
    sections = {title: [page for page in names if page in pages] for title, names in PAGES.items()}
    named = {page for names in sections.values() for page in names}
    rest = {MORE: [page for page in sorted(pages) if page not in named and page != "index"]}
    return {title: names for title, names in {**sections, **rest}.items() if names}


def _entry(page: str) -> str:
    return f"{SHORT[page]} <{page}>" if page in SHORT else page


def toctrees() -> str:
    """Return the navigation of all pages, for the end of index.md."""
    pages = [page.stem for page in HERE.glob("*.md")]
    return "".join(
        "\n".join(["", "```{toctree}", ":hidden:", f":caption: {title}", "", *map(_entry, names), "```", ""])
        for title, names in navigation(pages).items()
    )


def unlisted(text: str, names: list[str] = imbalanced_torch.__all__) -> str:
    """Return a section of the public names that a page of the API does not list."""
    left = [name for name in names if name not in text.split()]
    if not left:
        return ""
    listed = "\n".join(f"   {name}" for name in left)
    return f"\n## {MORE}\n\n```{{eval-rst}}\n.. autosummary::\n   :toctree: api\n\n{listed}\n```\n"


def _complete(app, docname, source):
    if docname == "index":
        source[0] += toctrees()
    if docname == "api":
        source[0] += unlisted(source[0])


def _name(role, rawtext, text, lineno, inliner, options=None, content=None):
    """Show code, with a link where it is one of our public names."""
    code = nodes.literal(rawtext, text, classes=["code"])
    if text not in imbalanced_torch.__all__:
        return [code], []
    link = pending_xref(
        "", code, refdomain="py", reftype="obj", reftarget=f"imbalanced_torch.{text}", refexplicit=True, refwarn=True
    )
    return [link], []


def _skip(app, what, name, member, skip, options):
    """Leave out `set_fit_request` and the like, whose docstrings refer to scikit-learn's pages."""
    return True if re.fullmatch(r"set_\w+_request", name) else None


def setup(app):
    """Add what is above to the build."""
    app.connect("autodoc-skip-member", _skip)
    app.connect("source-read", _complete)
    app.add_role("name", _name)
