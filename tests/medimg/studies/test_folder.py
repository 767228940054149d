"""A study's folder is of one question, one Dataset and one set of options."""

import pytest

from medimg.errors import InputError
from medimg.studies.folder import claim


def test_a_folder_belongs_to_one_study(small_table, tmp_path):
    claim(tmp_path, "imbalance", small_table, {"rounds": 5, "rates": (1, 2)})
    claim(tmp_path, "imbalance", small_table, {"rounds": 5, "rates": (1, 2)})
    with pytest.raises(InputError, match="options"):
        claim(tmp_path, "imbalance", small_table, {"rounds": 6, "rates": (1, 2)})
    with pytest.raises(InputError, match="another folder"):
        claim(tmp_path, "labels", small_table, {"rounds": 5, "rates": (1, 2)})
    (tmp_path / "study.json").write_text("{")
    with pytest.raises(InputError, match="not readable as JSON"):
        claim(tmp_path, "imbalance", small_table, {})
