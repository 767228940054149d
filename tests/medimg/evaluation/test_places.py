"""A result of other options never takes the place of an earlier one."""

import json
import shutil
from pathlib import Path

import pytest

from explain.config import ExplainConfig
from explain.explain import explain
from medimg import atomic
from medimg.errors import InputError
from medimg.evaluation.config import EvaluateConfig
from medimg.evaluation.evaluate import evaluate
from medimg.evaluation.places import beside
from medimg.report.write import write
from medimg.run import Run
from medimg.serving.config import ExportConfig
from medimg.serving.export import export
from tests.command import medimg

PLAIN = EvaluateConfig(bootstrap=0)


@pytest.fixture
def run(phantom_run, tmp_path) -> Run:
    return Run.load(shutil.copytree(phantom_run.root, tmp_path / "run"))


def content(folder: Path) -> dict[str, bytes]:
    """Of all files but those of other evaluations and explanations."""
    files = {path.relative_to(folder): path for path in folder.rglob("*") if path.is_file()}
    return {name.as_posix(): path.read_bytes() for name, path in files.items() if "evaluations" not in name.parts}


@pytest.mark.slow
def test_another_threshold_leaves_what_is_there(run):
    evaluate(run, PLAIN)
    before = content(run.root)
    other = EvaluateConfig(bootstrap=0, threshold="0.25")
    told = evaluate(run, other)
    folder = run.root / "evaluations" / f"{told['dataset']}-test-bootstrap-0-threshold-0.25"
    assert told["report"] == str(folder / "report.html")
    assert content(run.root) == before
    stored = json.loads((folder / "metrics.json").read_text())
    assert stored["threshold"]["value"] == 0.25
    # The same replaces the same, and nothing else.
    evaluate(run, other)
    assert [path.name for path in (run.root / "evaluations").iterdir()] == [folder.name]
    assert evaluate(run, PLAIN)["report"] == str(run.root / "report.html")
    assert content(run.root) == before


@pytest.mark.slow
def test_the_default_takes_its_place_and_what_was_there_moves(run):
    evaluate(run, EvaluateConfig(bootstrap=0, threshold="0.25"))
    write(run)
    before = {name: data for name, data in content(run.root).items() if name.startswith(("metrics", "pred", "report"))}
    told = evaluate(run, EvaluateConfig())
    assert not (run.root / "report.html").exists()
    assert told["report"] == str(run.root / "report.html")
    assert json.loads((run.root / "metrics.json").read_text())["threshold"]["rule"] == "youden"
    (moved,) = (run.root / "evaluations").iterdir()
    assert before.items() <= content(moved).items()
    assert (moved / "figures" / "roc.png").is_file()
    evaluate(run, EvaluateConfig(bootstrap=0, threshold="0.25"))
    assert [path.name for path in (run.root / "evaluations").iterdir()] == [moved.name]


@pytest.mark.slow
def test_an_evaluation_of_before_options_were_kept_is_not_lost(run):
    evaluate(run, PLAIN)
    metrics = json.loads((run.root / "metrics.json").read_text())
    del metrics["options"]
    atomic.write_json(run.root / "metrics.json", metrics)
    evaluate(run, EvaluateConfig())
    assert (run.root / "evaluations" / f"{metrics['dataset']}-test-earlier" / "metrics.json").is_file()


@pytest.mark.slow
def test_two_data_sets_of_one_name_do_not_replace_each_other(run, phantom_data, tmp_path):
    for name in ("one", "two"):
        shutil.copytree(phantom_data.root, tmp_path / name)
        evaluate(run, EvaluateConfig(data=str(tmp_path / name), bootstrap=0))
    folders = sorted(path for path in (run.root / "evaluations").iterdir())
    held = [json.loads((folder / "metrics.json").read_text())["data"] for folder in folders]
    assert sorted(held) == [str(tmp_path / "one"), str(tmp_path / "two")]


def test_evaluate_prints_the_report_that_it_wrote(run, phantom_data, tmp_path):
    shutil.copytree(phantom_data.root, tmp_path / "external")
    told = medimg("evaluate", run.root, "--data", tmp_path / "external", "--bootstrap", 0)
    assert told.exit_code == 0, told.output
    report = run.root / "evaluations" / f"{phantom_data.name}-test" / "report.html"
    assert told.output.splitlines()[-1] == f"report: {report}"
    assert report.is_file()


def test_names_are_those_of_files(tmp_path):
    asked = {"options": {"threshold": "sensitivity=0.9"}}
    held = {}
    for name, safe in (("a/b..", "a-b"), ("ü" * 300, "ü" * 55), ("...", "data")):
        place = beside(tmp_path, name, asked, held.get)
        assert place == tmp_path / safe
        place.mkdir()
        held[place] = {"options": {}}
        place = beside(tmp_path, name, asked, held.get)
        assert place.name.endswith("-threshold-sensitivity-0.9")
        place.mkdir()
        held[place] = {"options": {}}
        assert beside(tmp_path, name, asked, held.get).name.endswith("-0.9-2")


@pytest.mark.slow
def test_images_and_options_of_explanations_have_folders_of_their_own(run, phantom_data):
    quick = {"score_count": 0, "appearance_count": 0}
    first = explain(run, ExplainConfig(count=2, **quick))["folder"]
    before = content(run.root)
    images = [str(path) for path in phantom_data.paths(phantom_data.rows("test"))[:2]]
    folders = {explain(run, ExplainConfig(image=(image,)))["folder"] for image in images}
    folders |= {explain(run, ExplainConfig(count=3, **quick))["folder"]}
    folders |= {explain(run, ExplainConfig(split="val", count=2, **quick))["folder"]}
    assert len(folders) == 4
    assert all(folder.parent == run.root / "explanations" for folder in folders)
    after = content(run.root)
    assert before.items() <= after.items()
    # Again: each replaces its own; another method lies beside the first.
    explain(run, ExplainConfig(image=(images[0],), method=("smoothgrad",)))
    assert {file.parent for file in (run.root / "explanations").glob("*/options.json")} == folders | {first}


@pytest.mark.slow
def test_a_moved_dataset_is_found_by_data_and_another_is_refused(run, phantom_data, noise, tmp_path):
    place = shutil.copytree(phantom_data.root, tmp_path / "moved")
    lost = {**run.config, "data": str(tmp_path / "gone")}
    atomic.write_json(run.root / "config.yaml", lost)
    run = Run.load(run.root)
    with pytest.raises(InputError, match=r"gone: the Dataset of .* is not there; .* --data"):
        export(run, tmp_path / "served", ExportConfig())
    assert export(run, tmp_path / "served", ExportConfig(data=str(place))).is_dir()
    assert explain(run, ExplainConfig(data=str(place), count=1, score_count=0, appearance_count=0))["images"]
    with pytest.raises(InputError, match="is not the Dataset that"):
        export(run, tmp_path / "served", ExportConfig(data=str(noise.root)))
    assert not (tmp_path / "served" / "2").exists()
