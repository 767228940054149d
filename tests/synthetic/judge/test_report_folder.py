"""Where the report lies: nothing of a real patient gets into the folder that is to be shared."""

import json
from dataclasses import replace
from hashlib import sha256

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from medimg.data.imaging import read_image
from medimg.errors import InputError
from synthetic.commands import judge as command
from synthetic.judge import report_folder
from synthetic.judge.config import JudgeConfig
from synthetic.judge.judge import judge
from tests.synthetic.judge.conftest import as_real, as_synthetic, as_synthetic_images, mixed_rows

QUICK = JudgeConfig(train_with=("decision-tree",), bootstrap=200)


def contents(root):
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def ward(tmp_path_factory):
    return as_real(mixed_rows(150, 5), tmp_path_factory.mktemp("folder") / "ward", (90, 20, 40))


@pytest.fixture(scope="module")
def shared(ward, tmp_path_factory):
    """A judged table, two of whose rows are patients', and its files before it was judged."""
    rows = pd.concat([ward.rows("train").iloc[:2], mixed_rows(60, 7)])
    made = as_synthetic(ward, rows, tmp_path_factory.mktemp("shared") / "made")
    before = contents(made.root)
    judge(made.root, ward.root, QUICK)
    return made, before


@pytest.mark.slow
def test_nothing_is_written_into_the_shared_table(ward, shared):
    made, before = shared
    after = contents(made.root)
    assert after == before
    # The two copies are its own rows; who they are is nowhere.
    text = b"\n".join(after.values()).decode()
    for name in [*ward.manifest["patient"], *ward.manifest["row"]]:
        assert name not in text
    keys = [f.name for f in ward.inputs]
    fresh = ward.manifest.merge(made.manifest[2:], on=[*keys, "label"])
    assert fresh.empty


def test_the_judgement_names_synthetic_rows_alone_and_the_page_both(ward, shared):
    folder = report_folder.beside(shared[0].root)
    assert folder.name == "made-judgement"
    told = (folder / "judgement.json").read_text(encoding="utf-8")
    assert [row["synthetic"] for row in json.loads(told)["privacy"]["copies"]["pairs"]] == [
        "synthetic-0",
        "synthetic-1",
    ]
    for name in [*ward.manifest["patient"], *ward.manifest["row"]]:
        assert name not in told
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "synthetic-0 = record-patient-00000" in page
    assert "Keep it and the folder around it inside" in page


@pytest.mark.slow
def test_no_byte_of_a_real_image_is_in_the_shared_folder(films, tmp_path):
    made = as_synthetic_images(films, films.rows("val"), tmp_path / "made", 20)
    before = contents(made.root)
    judge(made.root, films.root, replace(QUICK, features="dct"))
    after = contents(made.root)
    assert after == before
    files = {sha256(path.read_bytes()).hexdigest() for path in films.paths(films.manifest)}
    assert not files & {sha256(content).hexdigest() for content in after.values()}
    pixels = {read_image(path).tobytes() for path in films.paths(films.manifest)}
    assert not any(read_image(path).tobytes() in pixels for path in made.root.rglob("*") if path.suffix == ".png")
    figures = report_folder.beside(made.root) / "figures"
    assert (figures / "samples.png").is_file()


@pytest.mark.slow
def test_the_folder_is_the_one_that_is_given_and_printed(ward, shared, tmp_path):
    place = tmp_path / "kept" / "inside"
    options = ["--train-with", "decision-tree", "--bootstrap", "200", "--report", str(place)]
    given = [str(shared[0].root), "--real", str(ward.root), *options]
    result = CliRunner().invoke(command, given)
    assert result.exit_code == 0, result.output
    assert {path.name for path in place.iterdir()} == {"report.html", "judgement.json", "figures"}
    assert str(place / "report.html") in " ".join(result.output.split())
    assert f"keep {place} inside" in result.output.replace("\n", " ")
    assert contents(shared[0].root) == shared[1]


@pytest.mark.parametrize("inside", [".", "report", "a/b", "../made/report"])
def test_a_report_in_the_shared_folder_is_refused(ward, shared, inside):
    made, before = shared
    with pytest.raises(InputError, match=r"lies in .* which is to be shared"):
        judge(made.root, ward.root, QUICK, report=made.root / inside)
    assert contents(made.root) == before


def test_a_link_into_the_shared_folder_is_seen_through(ward, shared, tmp_path):
    (tmp_path / "link").symlink_to(shared[0].root, target_is_directory=True)
    with pytest.raises(InputError, match="to be shared"):
        report_folder.checked(shared[0].root, ward.root, tmp_path / "link" / "report")


def test_other_files_are_not_written_among(ward, shared, tmp_path):
    (tmp_path / "report.html").write_text("of a Run")
    (tmp_path / "metrics.json").write_text("{}")
    with pytest.raises(InputError, match=r"holds other files \(metrics.json\)"):
        report_folder.checked(shared[0].root, ward.root, tmp_path)
    with pytest.raises(InputError, match="is a file"):
        report_folder.checked(shared[0].root, ward.root, tmp_path / "metrics.json")
    with pytest.raises(InputError, match="--report"):
        report_folder.checked(shared[0].root, ward.root, ward.root)


@pytest.mark.slow
def test_what_earlier_versions_left_in_the_shared_folder_goes(ward, tmp_path):
    made = as_synthetic(ward, mixed_rows(60, 7), tmp_path / "made")
    before = contents(made.root)
    (made.root / "judgement" / "figures").mkdir(parents=True)
    (made.root / "judgement" / "figures" / "samples.png").write_bytes(b"a patient")
    (made.root / "report.html").write_text("a patient")
    (made.root / "judgement.json").write_text(json.dumps({"verdict": "share"}))
    judge(made.root, ward.root, QUICK)
    assert contents(made.root) == before
    assert not (made.root / "judgement").exists()


def test_files_that_are_no_judgement_stay(tmp_path):
    (tmp_path / "report.html").write_text("mine")
    (tmp_path / "judgement.json").write_text(json.dumps(np.arange(3).tolist()))
    report_folder.clear_earlier(tmp_path)
    assert (tmp_path / "report.html").is_file()
