"""The documentation site (Sphinx): `make docs` builds it into build/site.

Its pages are the Markdown files of docs/, some of which include a file from elsewhere in the project.
"""

import re
from pathlib import Path

from sphinx.application import Sphinx

from mvlpt_core import __version__

ROOT = Path(__file__).resolve().parent.parent
# Pages that include a file from elsewhere, by that file.
INCLUDED = {
    "README.md": "index.md",
    "results/README.md": "files.md",
    "CHANGELOG.md": "changes.md",
}
LINK = re.compile(r"(?<!!)\[([^\]]*)\]\((?!https?:|#|mailto:)([^)#\s]+)(#[^)]*)?\)")

project = "mvlpt-transfer"
author = "The mvlpt-transfer authors"
version = release = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc"]
html_theme = "furo"
html_title = f"{project} {version}"
html_show_copyright = False
default_role = "code"  # docstrings mark code with single backticks
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
myst_heading_anchors = 3
suppress_warnings = ["myst.header"]  # an included page may begin at any level


def linked(app: Sphinx, relative: Path, parent: str, content: list[str]) -> None:
    """Links of an included file as they are in the site; those to what is no page become plain text."""
    place = (
        (Path(app.srcdir) / relative).resolve()
        if not Path(relative).is_absolute()
        else Path(relative)
    )

    def link(found: re.Match[str]) -> str:
        target = (place.parent / found[2]).resolve().relative_to(ROOT).as_posix()
        inside = target.removeprefix("docs/") if target.startswith("docs/") else None
        page = INCLUDED.get(target, inside)
        return f"[{found[1]}]({page}{found[3] or ''})" if page else found[1]

    content[0] = LINK.sub(link, content[0])


def setup(app: Sphinx) -> None:
    app.connect("include-read", linked)
