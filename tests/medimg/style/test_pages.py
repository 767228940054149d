"""The pages' skeleton and style: put into every page, and shipped with the package."""

import configparser
import re
from fnmatch import fnmatch
from pathlib import Path

import pytest
from jinja2 import Environment

from medimg.style.pages import inlined, template

TOP = Path(__file__).parents[3]
PACKAGES = ("medimg", "federated", "synthetic", "explain")
SHARED = TOP / "medimg" / "style"
# What begins with _ is a part of a page; what is served to readers is no page that is written.
SERVED = TOP / "explain" / "review"
FOUND = [path for package in PACKAGES for path in sorted((TOP / package).rglob("[!_]*.html"))]
PAGES = [path for path in FOUND if path.parent not in (SHARED, SERVED)]


def test_every_page_is_found():
    assert len(PAGES) == 9


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_a_page_has_the_shared_style_and_its_own_blocks(path):
    package, *room = path.parent.relative_to(TOP).parts
    page = template("/".join(room) or ".", path.name, package)
    # Styles take no values, so that they can be put together without any; a page may have none of its own.
    own = page.blocks.get("style", lambda context: "")
    style = "".join(own(page.new_context()))
    assert not re.search(r"url\(|@import|<", style)
    assert path.read_text().startswith('{% extends "page.html" %}')
    assert "<style" not in path.read_text()
    assert "<link" not in path.read_text()


def test_the_skeleton_holds_the_style_inside():
    loader = template("style", "page.html").environment.loader
    child = '{% extends "page.html" %}{% block title %}a{{ x }}{% endblock %}{% block body %}b{% endblock %}'
    text = Environment(loader=loader, autoescape=True).from_string(child).render(x="<")
    assert (SHARED / "style.css").read_text().strip() in text
    assert "<title>a&lt;</title>" in text
    assert not re.search(r"href|src=|url\(|@import", text)


def test_a_figure_is_inside_the_page(tmp_path):
    (tmp_path / "a.png").write_bytes(b"\x89PNG")
    assert inlined(tmp_path / "a.png") == "data:image/png;base64,iVBORw=="


def test_the_packages_ship_their_templates_and_styles():
    config = configparser.ConfigParser()
    config.read(TOP / "setup.cfg")
    shipped = dict(config["options.package_data"])
    for package in PACKAGES:
        patterns = [text.strip() for text in shipped.get(package, "").split(",")]
        for path in (p for kind in ("html", "css") for p in (TOP / package).rglob(f"*.{kind}")):
            name = str(path.relative_to(TOP / package))
            depth = name.count("/")
            fitting = [p for p in patterns if fnmatch(name, p) and p.count("/") == depth]
            assert fitting, f"setup.cfg does not ship {package}/{name}"


def test_a_template_is_compiled_once():
    assert template("report", "report.html") is template("report", "report.html")
    assert template("report", "report.html") is not template("audit", "audit.html")
