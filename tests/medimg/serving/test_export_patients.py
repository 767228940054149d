"""An exported folder holds nothing of a patient, and its card says what the Run promises, in the Run's own numbers."""

import dataclasses
import html
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import psutil
import pytest
import tensorflow as tf

from medimg.config import TrainConfig
from medimg.data.dataset import Dataset
from medimg.data.imaging import read_image
from medimg.data.schema import Feature
from medimg.errors import InputError
from medimg.evaluation.config import EvaluateConfig
from medimg.evaluation.evaluate import evaluate
from medimg.lock import content
from medimg.privacy.statement import NO_PRIVACY, WITHHELD, summary
from medimg.report.write import write
from medimg.run import Run
from medimg.serving.config import ExportConfig
from medimg.serving.drawn_images import FORMS, drawn_images, drawn_pixels
from medimg.serving.export import COLUMNS, REQUEST, export
from medimg.serving.requests import WARMUP, raw_requests, warmup_requests, write_warmup
from medimg.training.train import train
from tests.command import medimg
from tests.datasets import write_dataset, write_table
from tests.forks import forked, typed
from tests.medimg.serving.patient_traces import requests, traces

CNN = {
    "model": "baseline_cnn",
    "norm": "group",
    "image_size": 32,
    "model_arg": {"width": "4", "stages": "1"},
    "epochs": 1,
    "batch_size": 8,
}
LOGISTIC = {"model": "logistic", "epochs": 2, "batch_size": 8}
PRIVATE = {"dp_epsilon": 2.0, "dp_delta": 1e-3}
NINE = tuple(f"tissue-{letter}" for letter in "abcdefghi")


def images(root, **options) -> Dataset:
    dataset = write_dataset(root, **options)
    names = [f"patient-{i:04d}-zq" for i in range(len(dataset.manifest))]
    named = dataclasses.replace(dataset, manifest=dataset.manifest.assign(patient=names))
    named.save()
    return named


def rows(root) -> Dataset:
    dataset = write_table(root, n=100)
    marked = dataset.manifest.copy()
    for column in ("row", "patient", "mrn"):
        marked[column] = [f"{column}-{value}-zq" for value in marked[column]]
    marked["ward"] = 3.0
    features = (*dataset.features, Feature("ward", "integer", bound=(0.0, 9.0)))
    named = dataclasses.replace(dataset, manifest=marked, features=features)
    named.save()
    return named


class Case(NamedTuple):
    """A kind of Run: how its data are made, how it is trained, and whether it is evaluated."""

    data: Callable
    options: dict
    evaluated: bool


CASES = {
    "images": Case(lambda root: images(root, n=48), CNN, False),
    "images-private": Case(lambda root: images(root, n=48), {**CNN, **PRIVATE}, True),
    "nine-classes-private": Case(
        lambda root: images(root, n=72, task="multiclass", classes=NINE), {**CNN, **PRIVATE}, True
    ),
    "several-labels": Case(lambda root: images(root, n=48, task="multilabel", classes=("a", "b", "c")), CNN, True),
    "table": Case(rows, LOGISTIC, True),
    "table-private": Case(rows, {**LOGISTIC, **PRIVATE}, True),
}


class Exported(NamedTuple):
    """A Run and its export."""

    name: str
    run: Run
    dataset: Dataset
    folder: object
    printed: str

    @property
    def card(self) -> str:
        return (self.folder / "model_card.md").read_text(encoding="utf-8")

    def read(self, name: str) -> dict:
        return json.loads((self.run.root / name).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    """(name of a case) -> Exported, each made once."""
    made = {}

    def of(name: str) -> Exported:
        if name not in made:
            folder, case = tmp_path_factory.mktemp(name), CASES[name]
            dataset = case.data(folder / "data")
            run = train(dataset.root, folder / "run", TrainConfig(**case.options))
            if case.evaluated:
                evaluate(run, EvaluateConfig(bootstrap=20))
                write(run)
            words = ["export", str(run.root), "--out", str(folder / "served"), "--samples", "7"]
            result = medimg(*words)
            assert result.exit_code == 0, result.output
            made[name] = Exported(name, run, dataset, folder / "served" / "1", result.output)
        return made[name]

    return of


@pytest.fixture(params=CASES)
def exported(request, known) -> Exported:
    return known(request.param)


@pytest.mark.slow
def test_no_file_holds_anything_of_a_patient(exported):
    assert len([path for path in exported.folder.rglob("*") if path.is_file()]) >= 5
    assert traces(exported.folder, exported.dataset, exported.run.description()) == []


@pytest.mark.slow
def test_the_search_finds_what_is_there(known, tmp_path):
    for name in ("images", "table"):
        one = known(name)
        description = one.run.description()
        folder = tmp_path / name
        shutil.copytree(one.folder, folder)
        real = list(raw_requests(one.dataset, one.dataset.manifest.tail(1), description))
        write_warmup(folder, "served", [*real, *warmup_requests(description, 2)])
        assert any("request 0" in found for found in traces(folder, one.dataset, description))
        (folder / "notes.txt").write_text(f"seen: {one.dataset.manifest['patient'].iloc[3]}")
        assert any("notes.txt: patient" in t for t in traces(folder, one.dataset, description))
    # A picture that was resized and recoded is still the patient's.
    one = known("images")
    picture = cv2.imread(str(one.dataset.paths(one.dataset.manifest)[5]))
    recoded = cv2.imencode(".jpg", cv2.resize(picture, (40, 40)))[1].tobytes()
    sent = list(raw_requests(one.dataset, one.dataset.manifest.tail(1), one.run.description()))
    folder = tmp_path / "recoded"
    (folder / WARMUP.parent).mkdir(parents=True)
    write_warmup(folder, "served", [sent[0]._replace(inputs={"image_bytes": [recoded]})])
    assert "request 0 shows 0005.png" in traces(folder, one.dataset, one.run.description())


@pytest.mark.slow
def test_the_warmup_drives_every_signature(exported):
    served = tf.saved_model.load(str(exported.folder)).signatures
    asked = []
    for request, inputs in requests(exported.folder / WARMUP):
        asked.append(request.model_spec.signature_name)
        answer = served[asked[-1]](**{k: tf.constant(v) for k, v in inputs.items()})
        probabilities = answer["probabilities"].numpy()
        assert probabilities.shape[1] == len(exported.dataset.classes)
        assert np.isfinite(probabilities).all()
    other = ["serving_default"] * 4 + ["features"]
    assert asked == (other if exported.dataset.is_table else ["serving_default"] * 7 + ["pixels"])
    assert set(asked) == set(served)


@pytest.mark.slow
def test_other_patients_make_the_same_requests(known, tmp_path):
    """What is asked is decided by the form of the inputs, so it can't depend on who was trained on."""
    for private, other in (("images", "images-private"),):
        first, second = known(private), known(other)
        asked = [(one.folder / WARMUP).read_bytes() for one in (first, second)]
        assert asked[0] == asked[1]
    one = known("table")
    moved = one.dataset.manifest.assign(age=lambda m: m["age"] + 7.5, visits=lambda m: m["visits"] + 3)
    dataset = dataclasses.replace(one.dataset, root=tmp_path / "data", manifest=moved)
    dataset.save()
    run = train(dataset.root, tmp_path / "run", TrainConfig(**LOGISTIC))
    folder = export(run, tmp_path / "served", ExportConfig(samples=1))
    for file in (WARMUP, REQUEST):
        assert (folder / file).read_bytes() == (one.folder / file).read_bytes()


def test_drawn_images_have_the_forms_that_are_served():
    encoded = drawn_images(2 * len(FORMS), 24)
    shown = []
    for data, (kind, dtype, planes) in zip(encoded, [*FORMS, *FORMS], strict=True):
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        assert data.startswith(b"\x89PNG" if kind == "png" else b"\xff\xd8")
        assert image.dtype == dtype
        assert (1 if image.ndim == 2 else 3) == planes
        shown.append(image.shape[:2])
    assert (24, 24) in shown
    assert len(set(shown)) == 4
    assert drawn_images(3, 24) == encoded[:3]
    assert drawn_images(3, 24, seed=1) != encoded[:3]
    for channels in (1, 3):
        pixels = drawn_pixels(2, 24, channels)
        assert pixels.shape == (2, 24, 24, channels)
        assert pixels.dtype == np.float32
        assert pixels.min() == 0.0
        assert pixels.max() == 255.0
        assert not np.array_equal(pixels[0], pixels[1])


def test_drawn_images_are_read_as_any_other(tmp_path):
    for number, data in enumerate(drawn_images(len(FORMS), 16)):
        path = tmp_path / str(number)
        path.write_bytes(data)
        assert read_image(path).shape[0] >= 8


@pytest.mark.slow
def test_the_card_states_the_promise_of_privacy_json(exported):
    section = exported.card.split("## Privacy")[1].split("\n## ")[0]
    if "private" not in exported.name:
        assert NO_PRIVACY in section
        assert "epsilon" not in exported.card.lower()
        return
    told = exported.read("privacy.json")
    epsilon = told["epsilon"]
    assert f"- Epsilon: {epsilon['pld']}, by privacy loss distributions" in section
    assert f"- Epsilon: {epsilon['rdp']}, by Renyi" in section
    assert f"- Epsilon: {epsilon['pld_without_amplification']}, had the samples" in section
    assert f"- Delta: {told['delta']}." in section
    assert told["delta"] == 1e-3
    assert f"- Unit: one {told['unit']} of the training part" in section
    assert told["accountant"] in section
    assert "the ledger is complete" in section
    (event,) = told["events"]
    ((first, last),) = event["ranges"]
    mechanism = event["mechanism"]
    assert (
        f"| {event['phase']} | {last - first} | {mechanism['sampling']} | {mechanism['sampling_probability']} | "
        f"{mechanism['steps_per_pass']} | {mechanism['noise_multiplier']} |" in section
    )
    for text in told["assumptions"]:
        assert f"- {text}" in section
    assert "Not covered: (1) patients of the validation and test parts; (2)" in section
    assert told["draw"] not in exported.card if "draw" in told else event["draw"] not in exported.card


@pytest.mark.slow
def test_a_private_card_withholds_counts_and_the_manifests_hash(exported):
    fingerprint = exported.dataset.fingerprint()
    counts = re.findall(r"^- (?:train|val|test): .*$", exported.card, re.MULTILINE)
    if "private" not in exported.name:
        assert f"Data fingerprint `{fingerprint}`" in exported.card
        assert len(counts) == 3
        return
    holding = [
        path.name
        for path in exported.folder.rglob("*")
        if path.is_file() and fingerprint[:16].encode() in path.read_bytes()
    ]
    assert holding == []
    assert counts == []
    assert f"- Data fingerprint {WITHHELD}, seed" in exported.card
    assert f"patients of each part and class: {WITHHELD}." in exported.card
    shares = exported.dataset.rows("train")["label"].value_counts()
    assert not [f"{name} {count}" for name, count in shares.items() if f"{name} {count}" in exported.card]
    # A number that the proof drew from real images would be one more release.
    assert "differ from the Run's by at most 1e-05 (how many and by how much is withheld" in exported.card


@pytest.mark.slow
def test_no_column_of_a_private_model_is_left_out_for_what_its_rows_hold(known):
    reason = "the same in every training row"
    for name, left_out in (("table", {"ward": reason}), ("table-private", {})):
        one = known(name)
        columns = json.loads((one.folder / COLUMNS).read_text(encoding="utf-8"))
        assert columns["left_out"] == left_out
        assert (f"- Left out: ward ({reason})." in one.card) == bool(left_out)


@pytest.mark.slow
def test_the_card_states_the_decision_of_metrics_json(exported):
    classes = exported.dataset.classes
    section = exported.card.split("## Decision")[1].split("\n## ")[0]
    if not (exported.run.root / "metrics.json").is_file():
        assert "chosen on no data: the Run has not been evaluated" in section
        assert f"| {classes[1]} | 0.5 | none | no part of the data |" in section
        assert "Not evaluated" in exported.card
        return
    metrics = exported.read("metrics.json")
    threshold = metrics["threshold"]
    if exported.dataset.task == "multiclass":
        assert "the most probable class is predicted" in section
        assert "No class is the positive one" in section
        return
    part = {"val": "the validation part", None: "no part of the data"}[threshold["chosen_on"]]
    values = threshold["value"]
    positive = classes if isinstance(values, dict) else (metrics["positive_class"],)
    assert threshold["rule"] == "youden"
    assert threshold["chosen_on"] == "val"
    for name in positive:
        value = values[name] if isinstance(values, dict) else values
        assert f"| {name} | {value} | youden | {part} |" in section
    label = "classes, each a finding of its own" if len(positive) > 1 else "class"
    assert f"- Positive {label}: {', '.join(positive)}." in section


@pytest.mark.slow
def test_report_command_and_card_say_the_same(exported):
    told = exported.read("privacy.json") if "private" in exported.name else None
    promise = summary(told, exported.dataset.unit) if told else NO_PRIVACY
    decision = re.search(r"^- (Decision: .*)$", exported.card, re.MULTILINE).group(1)
    assert promise in exported.card
    assert promise in exported.printed
    assert decision in exported.printed
    report = exported.run.root / "report.html"
    if report.is_file():
        page = html.unescape(report.read_text(encoding="utf-8"))
        assert decision in page
        assert told is None or promise in page
        fingerprint = exported.dataset.fingerprint()
        assert (fingerprint in page) == (told is None)
        assert (WITHHELD in page) == (told is not None)


@pytest.mark.slow
def test_a_private_run_without_its_ledger_is_not_exported(known, tmp_path):
    shutil.copytree(known("images-private").run.root, tmp_path / "run")
    (tmp_path / "run" / "privacy.json").unlink()
    with pytest.raises(InputError, match=r"privacy\.json: missing.*restore it"):
        export(Run.load(tmp_path / "run"), tmp_path / "served", ExportConfig(samples=1))
    assert not (tmp_path / "served").exists()


@pytest.mark.slow
def test_a_killed_proof_leaves_nothing_of_a_patient_behind(known, tmp_path):
    one, scratch = known("images"), tmp_path / "scratch"
    scratch.mkdir()
    words = ["export", one.run.root, "--out", tmp_path / "served", "--samples", "8"]
    process = forked(typed_with_scratch, scratch, list(map(str, words)))
    asked = _proof_of(psutil.Process(process.pid))
    # It is loading TensorFlow, so the first question at least lies before it.
    time.sleep(0.3)
    process.kill()
    process.join()
    assert psutil.wait_procs([asked], timeout=60)[1] == []
    (leftover,) = content(tmp_path / "served")
    assert leftover.name.startswith(".exporting-")
    assert (leftover / "saved_model.pb").is_file()
    # What TensorFlow has made of functions is code.
    files = [path.name for path in scratch.rglob("*") if path.is_file()]
    assert [name for name in files if not name.startswith("__autograph_generated")] == []
    for folder in (scratch, tmp_path / "served"):
        assert traces(folder, one.dataset, one.run.description()) == []


def typed_with_scratch(scratch: Path, words: list[str]) -> None:
    os.environ["TMPDIR"], tempfile.tempdir = str(scratch), None
    typed(words)


def _proof_of(parent: psutil.Process) -> psutil.Process:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        for child in parent.children(recursive=True):
            if any("saved_model.load" in word for word in child.cmdline()):
                return child
        time.sleep(0.02)
    raise AssertionError("no proof was begun")
