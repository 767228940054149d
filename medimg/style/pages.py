"""What all HTML pages share: the template language's settings, skeleton and style, and figures inside the page."""

import base64
from functools import cache
from pathlib import Path

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined, Template


# Templates are files of the program; to compile one takes longer than to fill it.
@cache
def template(room: str, name: str, package: str = "medimg") -> Template:
    """The template `name` of the folder <package>/<room>; text is escaped, an unknown name is an error.

    It extends `page.html` of this folder, which puts the shared style in, and fills the blocks `title`, `style` (what
    this page has beyond `style.css`) and `body`. Nothing is left outside the page.

    Args:
        room: folder inside the package; `.` is the package itself.
        name: file in it.
        package: that holds the room.
    """
    return Environment(
        loader=ChoiceLoader([PackageLoader(package, room), PackageLoader("medimg", "style")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    ).get_template(name)


def inlined(path: Path) -> str:
    """A PNG as the `src` of an image: the page needs no other file."""
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode("ascii")
