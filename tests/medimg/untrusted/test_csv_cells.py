"""No cell of a CSV that people open is a formula, and each is read back as it was."""

import csv
import io
import random
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from federated.rounds.table import COLUMNS, RoundsTable
from medimg import atomic
from medimg.config import TrainConfig
from medimg.data.dataset import Dataset
from medimg.data.schema import Feature
from medimg.errors import InputError
from medimg.evaluation.config import EvaluateConfig
from medimg.untrusted.csv_cells import quote, quoted, read_csv, unquote

FORMULA = re.compile(r"\s*[=+\-@]|[\t\r\n]")
ODD = [
    "=1+1",
    '=cmd|"/C calc"!A0',
    '=HYPERLINK("http://x/?"&A1,"look")',
    "+49 170",
    "-",
    "-1+1",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "\n=1",
    " =1",
    "\uff1d1",
    "'=1",
    "''=1",
    "'",
    "'a",
    "=",
    "=1,2",
    '="a"',
    "a=1",
    "-3.2e",
    "--1",
    "-x",
    "- 5",
]
NUMBERS = ["-3.2", "+4", "-1e-9", "-.5", "+7.", "-inf", "3", "0"]


def cells(path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def harmless(path) -> bool:
    numbers = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]inf")
    return all(not FORMULA.match(cell) or numbers.fullmatch(cell) for row in cells(path) for cell in row)


@pytest.mark.parametrize("text", ODD)
def test_formulas_are_quoted_and_come_back(text):
    assert unquote(quote(text)) == text
    if FORMULA.match(text):
        assert quote(text) == f"'{text}"


@pytest.mark.parametrize("text", NUMBERS)
def test_numbers_stay(text):
    assert quote(text) == text == unquote(text)


def test_any_text_comes_back():
    drawn = random.Random(0)
    alphabet = "'=+-@\t\r\n \uff1d\uff0b a1.e,\"|;"
    seen = {}
    for _ in range(20_000):
        text = "".join(drawn.choice(alphabet) for _ in range(drawn.randrange(7)))
        cell = quote(text)
        assert unquote(cell) == text
        assert not FORMULA.match(cell) or cell == text
        # Two texts never share a cell.
        assert seen.setdefault(cell, text) == text


def test_a_table_comes_back_with_its_columns(tmp_path):
    drawn = random.Random(1)
    alphabet = "'=+-@\t\n a1"
    for number in range(30):
        names = ["row", "=sum", "'=b", "-3", "plain"]
        columns = {name: ["".join(drawn.choice(alphabet) for _ in range(5)) + "x" for _ in range(20)] for name in names}
        table = pd.DataFrame(columns).assign(n=np.linspace(-1, 1, 20), i=range(-10, 10))
        before = table.copy()
        atomic.write_csv(tmp_path / "t.csv", table)
        pd.testing.assert_frame_equal(table, before)
        assert harmless(tmp_path / "t.csv")
        kinds = dict.fromkeys(names, str)
        again = read_csv(tmp_path / "t.csv", dtype=kinds, keep_default_na=False)
        pd.testing.assert_frame_equal(again, table)
        assert number < 30


def test_categories_missing_cells_and_plain_tables():
    table = pd.DataFrame({"a": pd.Categorical(["=1", "b", "=1"]), "b": ["x", None, "-y"]})
    changed = quoted(table)
    assert changed["a"].tolist() == ["'=1", "b", "'=1"]
    assert changed["b"].tolist() == ["x", None, "'-y"]
    assert table["a"].tolist() == ["=1", "b", "=1"]
    plain = pd.DataFrame({"a": ["b", "-1.5"], "n": [-1.0, 2.0]})
    assert quoted(plain) is plain
    assert quoted(pd.DataFrame()).empty
    twice = pd.DataFrame([["=1", "=2"]], columns=["a", "a"])
    assert quoted(twice).to_numpy().tolist() == [["'=1", "'=2"]]


def test_a_manifest_comes_back(tmp_path):
    texts = [text for text in ODD if text == text.strip()]
    manifest = pd.DataFrame(
        {
            "image": [f"images/{i}.png" for i in range(len(texts))],
            "label": ["=a", "-b"] * (len(texts) // 2) + ["=a"] * (len(texts) % 2),
            "patient": texts,
            "site": texts[::-1],
            "split": "train",
            "note": [*texts[1:], "z"],
            "dose": [-1.5, 2.0] * (len(texts) // 2) + [-1.5] * (len(texts) % 2),
        }
    )
    dataset = Dataset(tmp_path, "x", "binary", ("-b", "=a"), manifest)
    dataset.save()
    assert harmless(tmp_path / "manifest.csv")
    loaded = Dataset.load(tmp_path)
    pd.testing.assert_frame_equal(loaded.manifest, manifest)
    assert loaded.fingerprint() == dataset.fingerprint()
    loaded.save()
    pd.testing.assert_frame_equal(Dataset.load(tmp_path).manifest, manifest)


def test_a_table_with_such_columns_comes_back(tmp_path):
    features = (Feature("=dose", "continuous"), Feature("-sex", "categorical"), Feature("@n", "integer"))
    rows = pd.DataFrame(
        {
            "row": ["=1", "+2", "-", "4"],
            "label": ["a", "b", "a", "b"],
            "patient": ["@1", "2", "'=3", "4"],
            "site": "",
            "split": ["train", "train", "val", "test"],
            "=dose": [-1.5, np.nan, 0.1, 3.0],
            "-sex": ["=f", "", "-5", "m"],
            "@n": [-1.0, 2.0, np.nan, 3.0],
        }
    )
    dataset = Dataset(tmp_path, "x", "binary", ("a", "b"), rows, features=features)
    dataset.save()
    assert harmless(tmp_path / "manifest.csv")
    pd.testing.assert_frame_equal(Dataset.load(tmp_path).manifest, rows)


def test_folders_of_before_still_load(tmp_path):
    rows = [("images/a.png", "x", "=1", "train"), ("images/b.png", "y", "-2", "test")]
    table = pd.DataFrame(rows, columns=["image", "label", "patient", "split"])
    Dataset(tmp_path, "x", "binary", ("x", "y"), table).save()
    table.to_csv(tmp_path / "manifest.csv", index=False)
    assert Dataset.load(tmp_path).manifest["patient"].tolist() == ["=1", "-2"]


def test_rounds_are_quoted_and_resumed(tmp_path):
    table = RoundsTable(tmp_path / "rounds.csv")
    table.cut(0)
    row = dict.fromkeys(COLUMNS, 1) | {"client": "=1+1", "status": "lost: @x\n-y", "loss": -0.5}
    table.add([{**row, "round": 1}, {**row, "round": 2}])
    table.cut(1)
    table.add([{**row, "round": 2}])
    assert harmless(tmp_path / "rounds.csv")
    again = read_csv(tmp_path / "rounds.csv")
    assert again["client"].tolist() == ["=1+1"] * 2
    assert again["loss"].tolist() == [-0.5] * 2
    assert cells(tmp_path / "rounds.csv")[1][1] == "'=1+1"


@pytest.mark.slow
def test_names_of_strangers_through_the_commands(tmp_path):
    """A Dataset whose classes, patients and sites are formulas: trained, evaluated, compared, judged."""
    from medimg.comparison.compare import compare
    from medimg.comparison.config import CompareConfig
    from medimg.evaluation.evaluate import evaluate
    from medimg.training.train import train
    from tests.datasets import write_table

    made = write_table(tmp_path / "made", n=160)
    first, second = made.classes
    names = {first: f"={first}", second: f"-{second}"}
    manifest = made.manifest.assign(
        label=made.manifest["label"].map(names),
        patient="=" + made.manifest["patient"],
        site="@" + made.manifest["site"],
        row="+" + made.manifest["row"].astype(str) + "x",
    )
    dataset = replace(made, root=tmp_path / "data", manifest=manifest, classes=tuple(names.values()))
    dataset.save()
    runs = []
    for name in ("logistic", "mlp"):
        config = TrainConfig(model=name, epochs=2)
        run = train(dataset.root, tmp_path / f"run-{name}", config)
        evaluate(run, EvaluateConfig(bootstrap=10))
        runs.append(run)
    compare(runs, tmp_path / "comparison", CompareConfig(bootstrap=10, baseline=("none",)))
    written = list(tmp_path.rglob("*.csv"))
    assert {"predictions.csv", "history.csv", "comparison.csv"} <= {path.name for path in written}
    made_by_us = [path for path in written if "made" not in path.parts]
    assert all(harmless(path) for path in made_by_us)
    assert any("'=" in path.read_text() for path in made_by_us if path.name == "predictions.csv")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("label,patient,label\na,b,c\n", "column 'label' stands there twice"),
        ("a,b\n1,2,3,4\n1,2,3\n", "not readable as CSV"),
        ('a,b\n1,"2\n', "not readable as CSV"),
        ("", "not readable as CSV"),
        (b"a,b\n\xff,1\n", "not readable as CSV"),
    ],
    ids=["a column twice", "more cells", "an open quote", "empty", "no text"],
)
def test_what_is_no_csv_of_ours_is_refused(tmp_path, content, told):
    path = tmp_path / "x.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=f"x.csv: {told}"):
        read_csv(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(InputError, match=r"x\.csv: can't be read \(Is a directory\)"):
        read_csv(path)


def test_an_open_file_is_read_from_its_beginning(tmp_path):
    with pytest.raises(InputError, match="'a' stands there twice"):
        read_csv(io.StringIO("a,a\n1,2\n"))
    assert read_csv(io.StringIO("a,b\n1,2\n")).to_dict("list") == {"a": [1], "b": [2]}


def test_a_header_without_end_is_refused(tmp_path):
    with (tmp_path / "x.csv").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(InputError, match=r"x\.csv: its first line is longer than 32 MB"):
        read_csv(tmp_path / "x.csv")
