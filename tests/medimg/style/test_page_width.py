"""No page is wider than its window, and what scrolls by itself can be reached by keyboard."""

import re
from pathlib import Path

import pytest

TOP = Path(__file__).parents[3]
PAGES = [path for room in ("medimg", "federated", "synthetic") for path in sorted((TOP / room).rglob("*.html"))]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_no_page_is_wider_than_a_telephone(path):
    """Tables scroll by themselves, grids have no column that is wider than the window, and words break."""
    text = path.read_text()
    tables = [match.start() for match in re.finditer("<table", text)]
    assert all(text[:start].rstrip().endswith('<div class="scroll" tabindex="0">') for start in tables)
    assert all("min(" in width for width in re.findall(r"minmax\(([^;]*)", text))
    style = (TOP / "medimg" / "style" / "style.css").read_text()
    assert ".scroll { overflow-x: auto; }" in style
    assert "p, li, figcaption { overflow-wrap: anywhere; }" in style
    assert "figure img { max-width: 100%" in style
