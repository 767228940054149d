"""JSON of strangers: what it has not, or says twice, is refused in a line, whichever file holds it."""

import pytest

from medimg.errors import InputError
from medimg.untrusted.json_file import parse_json, read_json

REFUSED = {
    '{"a": NaN}': "NaN is no number",
    "[-Infinity]": "-Infinity is no number",
    '{"a": 1e400}': "1e400 is too large",
    "[" + "9" * 400 + "]": "a number of 400 digits",
    "9" * 5000: "5000 digits",
    "[" * 100_000: "nested too deep",
    '{"a":' * 100_000: "nested too deep",
    '{"a": 1, "b": {"c": 1, "c": 2}}': "'c' stands there twice",
    '{"a": 1} x': "Extra data",
    "": "Expecting value",
}


@pytest.mark.parametrize("text", REFUSED, ids=[text[:20] for text in REFUSED])
def test_refused(text, tmp_path):
    with pytest.raises(ValueError, match=REFUSED[text]):
        parse_json(text)
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(InputError, match=rf"x\.json: not readable as JSON \(.*{REFUSED[text]}"):
        read_json(tmp_path / "x.json")


def test_what_is_json_is_read():
    text = '{"a": [1, -2.5e-3, true, null, "\\u00e9"], "b": {}, "n": 12345678901234567890, "z": 1e-400}'
    assert parse_json(text) == {"a": [1, -0.0025, True, None, "é"], "b": {}, "n": 12345678901234567890, "z": 0.0}
    assert parse_json(text.encode()) == parse_json(text)


def test_a_file_larger_than_any_of_ours_is_refused_unread(tmp_path):
    with (tmp_path / "x.json").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(InputError, match=r"x\.json: not readable as JSON \(it is larger than 32 MB\)"):
        read_json(tmp_path / "x.json")
