"""What all HTML pages share: the template language's settings, and figures inside the page."""

import base64
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined, Template


def template(room: str, name: str, package: str = "medimg") -> Template:
    """The template `name` of the folder <package>/<room>; text is escaped, an unknown name is an error."""
    return Environment(
        loader=PackageLoader(package, room),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    ).get_template(name)


def inlined(path: Path) -> str:
    """A PNG as the `src` of an image: the page needs no other file."""
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode("ascii")
