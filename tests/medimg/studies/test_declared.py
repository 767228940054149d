"""Studies that their files declare: each to its end on drawn data, taken up again, cut to a time, mistyped."""

import dataclasses
import html
import json
import math

import pytest

import cli  # noqa: F401 - names the steps of the other rooms
from federated.config import FederateConfig
from medimg.audit.config import AuditConfig
from medimg.config import TrainConfig
from medimg.data.dataset import Dataset
from medimg.errors import InputError
from medimg.evaluation.intervals import Measured
from medimg.studies import budget, measured, running, study
from medimg.studies.config import StudyConfig
from medimg.studies.course import run_cells
from medimg.studies.declared import Cell, PublishedClaim, Study, load, names
from medimg.studies.measured import FAILS, HOLDS, OPEN
from medimg.studies.running import Done, Runner, Scale
from medimg.studies.starts import RANDOM, settle
from medimg.studies.steps import Inputs, Shared, thin
from medimg.validation.config import ValidateConfig
from synthetic.config import SynthesizeConfig
from synthetic.judge.config import JudgeConfig
from tests.command import medimg
from tests.datasets import write_dataset

pytestmark = pytest.mark.final_figures

CONFIGS = {
    "train": TrainConfig,
    "federate": FederateConfig,
    "synthesize": SynthesizeConfig,
    "judge": JudgeConfig,
    "validate": ValidateConfig,
    "audit": AuditConfig,
}
# Two cells of each study, and resamples that its commands allow.
TINY = {
    "architectures": (("baseline CNN",), 20),
    "cross-modality": (("baseline CNN",), 20),
    "imbalance": (("all positives", "class weights"), 20),
    "labels": (("100% / supervised", "30% / pseudo-label"), 20),
    "overheads": (("plain",), 20),
    "federated-toy": (("iid / plain", "iid / GAN rows added"), 20),
    "federated-skin": (("MobileNet",), 20),
    "records": (("record table / plain", "gene expression, drawn / CKKS"), 20),
    "synthetic-heart": (("marginals",), 200),
    "synthetic-xray": (("DCGAN", "DCGAN, perturbed"), 200),
    "mode-collapse": (("1 epoch", "3 epochs"), 200),
}

_FEDERATED = ("--rounds", 1, "--image-size", 32)
TINY_OPTIONS = {
    "synthetic-heart": (),
    "synthetic-xray": ("--epochs", 1),
    "records": ("--rounds", 1),
    **dict.fromkeys(("overheads", "federated-skin"), _FEDERATED),
    "mode-collapse": ("--image-size", 32),
    "federated-toy": ("--rounds", 2, "--epochs", 1),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory, small_table) -> dict[str, Dataset]:
    images = write_dataset(tmp_path_factory.mktemp("studies") / "images", 80)
    return {"images": images, "tables": small_table, "data": small_table}


def run(name: str, data, out, *words):
    folders = [data[need.split()[1]].root for need in load(name).needs]
    return medimg("study", name, *folders, "--out", out, *words)


@pytest.mark.parametrize("name", names())
def test_a_file_declares_what_its_commands_take(name):
    study = load(name)
    labels = [cell.label for cell in study.cells]
    assert len(set(labels)) == len(labels)
    assert study.claimed - {""} <= set(labels)
    assert {*study.figure, *(claim.metric for claim in study.claims)} <= set(study.metrics)
    paths = [where for where in study.metrics.values() if isinstance(where, str)]
    for where in study.metrics.values():
        assert isinstance(where, str) or set(where) <= set(study.metrics)
    for cell in study.cells:
        assert set(cell.votes) <= {other.name for other in study.cells if other.group == cell.group}
        for step, options in cell.steps:
            if step in CONFIGS:
                CONFIGS[step].from_dict({key: v for key, v in options.items() if key != "on"})
            assert {path.split(".")[0] for path in paths} <= {step for step, _ in cell.steps}


@pytest.mark.slow
@pytest.mark.parametrize("name", TINY)
def test_a_study_ends_in_its_files_and_goes_on_with_what_is_left(name, data, tmp_path):
    cells, bootstrap = TINY[name]
    words = ["--seeds", 1, "--bootstrap", bootstrap, *TINY_OPTIONS.get(name, ("--epochs", 1, "--image-size", 32))]
    words += [word for cell in cells for word in ("--cell", cell)]
    result = run(name, data, tmp_path, *words)
    assert result.exit_code == 0, result.output
    content = json.loads((tmp_path / "study.json").read_text())
    assert {row["label"] for row in content["rows"]} == set(cells)
    assert all(row["metrics"][load(name).figure[0]]["value"] is not None for row in content["rows"])
    page = html.unescape((tmp_path / "study.html").read_text())
    for text in (*(cell.split(" / ")[-1] for cell in cells), content["question"], "Does the source's claim hold here?"):
        assert text in page
    assert "http" not in page.replace("http://www.w3.org", "")
    assert all(f"| {cell} |" in (tmp_path / "study.md").read_text() for cell in cells)
    assert (tmp_path / "study.png").stat().st_size > 5000

    # As a kill leaves it: the last step was not over, and the study has no page.
    results = sorted((tmp_path / "work").glob("*/result.json"), key=lambda path: path.stat().st_mtime_ns)
    before = {path: path.stat().st_mtime_ns for path in results}
    results[-1].unlink()
    (tmp_path / "study.html").unlink()
    assert run(name, data, tmp_path, *words).exit_code == 0
    again = json.loads((tmp_path / "study.json").read_text())
    assert [path for path, was in before.items() if path.stat().st_mtime_ns != was] == results[-1:]
    assert [row["metrics"] for row in again["rows"]] == [row["metrics"] for row in content["rows"]]


@pytest.mark.slow
def test_what_a_budget_cuts_is_said(data, tmp_path):
    words = ["--cell", "baseline CNN", "--cell", "MobileNet", "--image-size", 32, "--bootstrap", 20, "--seeds", 2]
    # Whatever weights are kept on this machine.
    result = run("architectures", data, tmp_path, *words, "--weights", "none", "--budget", "0.001")
    assert result.exit_code == 0, result.output
    content = json.loads((tmp_path / "study.json").read_text())
    cuts = "; ".join(content["cuts"])
    for text in (
        "fewer seeds than 2: baseline CNN 1",
        "left out: MobileNet",
        "30% of the epochs",
        "25% of the training",
    ):
        assert text in cuts, cuts
    assert [row["label"] for row in content["rows"]] == ["baseline CNN"]
    assert "left out: MobileNet" in (tmp_path / "study.html").read_text()
    # Nothing that is not measured is decided.
    assert {one["verdict"] for one in content["claims"] if "0.924" in one["claim"]["says"]} == {OPEN}


def test_epochs_are_cut_before_rows_and_claimed_cells_are_kept():
    cells = tuple(Cell("", name, (("train", {"epochs": 10}),)) for name in ("a", "b", "c"))
    claims = (PublishedClaim("", "m", "a", less="c", at_least=0.0),)
    study = Study("s", "", "", (), 3, cells, {"m": ""}, ("m",), claims)
    cost = budget.Cost(fixed=10, trained=100)
    # Of the two cells that the claim needs: 20 s are fixed, 200 s are of epochs.
    assert budget.scale_for(study, cost, 220) == Scale()
    assert budget.scale_for(study, cost, 120) == Scale(0.5, 1.0)
    assert budget.scale_for(study, cost, 50) == Scale(0.3, pytest.approx(0.5))
    # At 30% and 25% they take 35 s; with 20 s the costlier waits.
    assert budget.scale_for(study, cost, 20) == Scale(0.3, pytest.approx(1 / 3))
    # Where neither fits it is the cheapest of all that is run, and the costliest last.
    costs = {"a": 9, "b": 1, "c": 8}
    dear = tuple(dataclasses.replace(cell, cost=costs[cell.name]) for cell in cells)
    dear = dataclasses.replace(study, cells=dear)
    assert budget.scale_for(dear, cost, 40) == Scale(0.3, pytest.approx(1.0))
    assert [cell.name for cell in budget.order(dear, cost, Scale(0.3), 40)] == ["b", "c", "a"]
    assert [cell.name for cell in budget.order(dear, cost, Scale(0.3), 400)] == ["a", "c", "b"]
    assert [cell.name for cell in budget.order(dear, None, Scale(), 0)] == ["a", "c", "b"]
    # Without claims all are asked for, the last to be left out: 2 s a unit at 30% and 25%, ten units.
    asked = dataclasses.replace(dear, claims=())
    short = budget.Cost(fixed=0.5, trained=20)
    assert budget.scale_for(asked, short, 40) == Scale(0.3, pytest.approx((40 - 9) / (18 * 20 * 0.3)))
    assert budget.scale_for(asked, short, 21) == Scale(0.3, pytest.approx((21 - 5) / (10 * 20 * 0.3)))
    assert budget.scale_for(asked, short, 5) == Scale(0.3, 0.25)
    # Two cells of 110 s each took 400: what was cut is said with its reason.
    done = {"a": [Done({}, {}, {}, "")], "b": [], "c": [Done({}, {}, {}, "")]}
    finished = [(cells[0], 200.0), (cells[2], 200.0)]
    first = budget.cuts(study, 3, cost, 600, Scale(), done, finished)[0]
    slower = "(cells took 1.8 times what was predicted)"
    assert first == f"the whole was predicted to take 16 min 30 s {slower}, and 10 min 0 s were given"
    finished = [(cells[0], 120.0), (cells[2], 120.0)]
    assert "times what" not in budget.cuts(study, 3, cost, 600, Scale(), done, finished)[0]
    assert dataclasses.replace(study, claims=(PublishedClaim("", "m", at_most=0.01),)).claimed == {"a", "b", "c"}
    assert Scale(0.5).applied(cells[0]).steps == (("train", {"epochs": 5}),)
    assert Scale(1.0, 0.5).applied(cells[0]).steps[0] == ("thin", {"fraction": 0.5})


@pytest.mark.parametrize("name", names())
def test_a_budget_cuts_what_is_compared_alike(name):
    """Else a cell would lose to another by the time that was given, and the page would say that both were cut."""
    for cell in load(name).cells:
        shorter = Scale(0.3).applied(cell)
        before, after = (
            [its[key] for _, its in one.steps for key in ("epochs", "pretrain_epochs") if key in its]
            for one in (cell, shorter)
        )
        assert after == [min(epochs, max(1, round(0.3 * epochs))) for epochs in before]
        assert all("epochs" in its for _, its in cell.steps if its.get("references"))


@pytest.mark.parametrize(
    ("low", "high", "verdict"), [(0.5, 0.6, HOLDS), (0.3, 0.4, FAILS), (0.4, 0.6, OPEN), (None, None, OPEN)]
)
def test_an_interval_decides(low, high, verdict):
    cells = {"a": {"m": [Measured(0.5, low, high)]}}
    assert measured.judge(PublishedClaim("", "m", "a", at_least=0.45), cells).verdict == verdict
    flipped = {HOLDS: FAILS, FAILS: HOLDS, OPEN: OPEN}
    assert measured.judge(PublishedClaim("", "m", "a", at_most=0.45), cells).verdict == flipped[verdict]


def test_differences_and_seeds():
    (gap,) = measured.differences([Measured(0.9, 0.87, 0.92)], [Measured(0.8, 0.77, 0.84)])
    assert gap == pytest.approx((0.1, 0.1 - 0.05, 0.1 + math.hypot(0.02, 0.03)))
    # Two seeds tell nothing of others; the wider of both ends counts with three.
    assert measured.over_seeds([Measured(0.8, 0.7, 0.9), Measured(0.9, 0.8, 1.0)]) == pytest.approx((0.85, 0.75, 0.95))
    wide = measured.over_seeds([Measured(v, v - 0.01, v + 0.01) for v in (0.7, 0.8, 0.9)])
    assert wide.low < 0.6
    assert measured.over_seeds([Measured(0.8, 0.7, 0.9)] * 3) == pytest.approx((0.8, 0.7, 0.9))
    spread = {name: {"m": [Measured(v) for v in values]} for name, values in {"a": (0.1, 0.2), "b": (0.8, 0.9)}.items()}
    assert measured.judge(PublishedClaim("", "m", at_most=0.05), spread).verdict == HOLDS
    # Whose members are compared already is no group of its own.
    assert measured.judge(PublishedClaim("", "m", at_most=0.05), spread, votes=("b",)).verdict == OPEN


def test_what_is_kept_is_of_the_same_pixels_weights_and_code(tmp_path, monkeypatch):
    """`thin` stands for all steps: which folder a step has does not depend on what it does."""
    images, weights = write_dataset(tmp_path / "images", 24), tmp_path / "weights.h5"
    weights.write_bytes(b"first")
    cell = Cell("", "a", (("thin", {"fraction": 0.5, "weights": str(weights)}),))

    def folder():
        with Shared() as shared:
            return Runner([images.root], tmp_path / "out", 20, shared).run(cell, 0).folders["thin"]

    folders = [folder()]
    assert folder() == folders[0]
    weights.write_bytes(b"second")
    folders.append(folder())
    path = images.paths(images.rows("test"))[0]
    path.write_bytes(images.paths(images.rows("test"))[1].read_bytes())
    folders.append(folder())
    monkeypatch.setattr(running, "__version__", "another")
    folders.append(folder())
    assert len(set(folders)) == 4


def test_what_a_cell_is_predicted_to_take_is_its_own(data, tmp_path):
    """Of whichever cell the pilot was: the first that was asked for may be the costliest."""
    costly = Cell("", "costly", (("train", {"epochs": 10}),), cost=4.0)
    done = Done({"train": {"times": 2, "seconds_each": 6.0}}, {}, {"train": 20.0}, "")

    class Piloted(Runner):
        def run(self, cell, seed, members=()):
            return done

    with Shared() as shared:
        cost = budget.pilot(Piloted([data["images"].root], tmp_path, 20, shared), costly)
    assert cost.of(costly, Scale()) == pytest.approx(8 + 60)
    assert cost.of(Cell("", "cheap", ()), Scale()) == pytest.approx((8 + 60) / 4)


def test_what_judges_is_predicted_for_all_rows(data, tmp_path, monkeypatch):
    """A training's start-up is as long on a part of the rows as on all."""
    monkeypatch.setattr(budget, "PILOT_ROWS", len(data["images"].rows("train")) / 4)
    took = {"thin": 0.0, "train": 20.0, "audit": 3.0}
    done = Done({"thin": {}, "train": {"times": 2, "seconds_each": 6.0}, "audit": {}}, {}, took, "")

    class Piloted(Runner):
        def run(self, cell, seed, members=()):
            return done

    cell = Cell("", "a", (("train", {"epochs": 10}), ("audit", {})))
    with Shared() as shared:
        cost = budget.pilot(Piloted([data["images"].root], tmp_path, 20, shared), cell)
    # Eight seconds of start-up, the attack on four times as many rows, ten epochs of four times as many.
    assert cost.of(cell, Scale()) == pytest.approx(8 + 4 * 3 + 4 * 60)


def test_models_that_are_asked_for_begin_as_the_study_has_them():
    cells = study._chosen_cells(load("architectures"), StudyConfig(model=("resnet50", "densenet121", "baseline_cnn")))
    assert [cell.label for cell in cells] == ["ResNet50", "densenet121", "baseline CNN"]
    options = [dict(cell.steps)["train"] for cell in cells]
    assert [one["weights"] for one in options] == ["imagenet", "imagenet", "none"]
    assert [one["model"] for one in options] == ["resnet50", "densenet121", "baseline_cnn"]
    # Whose last cell starts from no weights: another backbone is as the one that does, and no cell has another's name.
    cells = study._chosen_cells(load("cross-modality"), StudyConfig(model=("densenet121", "baseline_cnn")))
    assert [cell.label for cell in cells] == ["densenet121", "baseline CNN"]
    assert dict(cells[0].steps)["train"]["weights"] == "imagenet"


@pytest.mark.parametrize("name", names())
def test_no_cell_has_the_name_of_a_model_that_another_option_gave_it(name):
    """Where cells differ in their model they are a cell a model, or --model is refused."""
    declared = load(name)
    if len({model for cell in declared.cells for model in study._models(cell)}) > 1 and not declared.by_model:
        with pytest.raises(InputError, match="differ in"):
            study._chosen_cells(declared, StudyConfig(model=("mlp",)))


def test_models_of_some_cells_are_given_to_those_alone():
    config = StudyConfig(model=("mlp",), cell=("record table / plain",))
    (cell,) = study._chosen_cells(load("records"), config)
    assert dict(cell.steps)["federate"]["model"] == "mlp"


def test_where_weights_start_is_said_as_far_as_it_is_known(tmp_path):
    unknown = tmp_path / "mine.h5"
    unknown.write_bytes(b"weights")
    cells = [Cell("", "a", (("train", {"model": "vgg19", "weights": "imagenet", "freeze": "none"}),))]
    (cell,), starts = settle(cells, [str(unknown)])
    assert starts == {"a": "mine.h5, not known by its hash, all trained"}
    assert dict(cell.steps)["train"]["weights"] == str(unknown)
    assert settle(cells, ["none"])[1] == {"a": RANDOM}
    # Whose backbone was to be frozen takes longer without weights; that of one that is trained anyhow does not.
    frozen = [Cell("", "a", (("train", {"model": "vgg19", "weights": "imagenet", "freeze": "backbone"}),))]
    assert settle(frozen, ["none"])[0][0].cost > 1 == settle(cells, ["none"])[0][0].cost
    assert settle(cells, ["imagenet"])[1] == {"a": "ImageNet weights (vgg19), all trained"}


def test_a_thinned_dataset_keeps_validation_and_test(data, tmp_path):
    images = data["images"]
    inputs = Inputs(images.root, (images.root,), {}, (), 20, Shared())
    told = thin.run(inputs, tmp_path / "rare", {"negatives": 10, "seed": 0})
    assert told["classes"] == {"dark": 20, "bright": 2}
    thin.run(inputs, tmp_path / "few", {"fraction": 0.5, "seed": 0})
    for name, rows in (("rare", 22), ("few", 20)):
        made = Dataset.load(tmp_path / name)
        assert len(made.rows("train")) == rows
        for part in ("val", "test"):
            assert made.rows(part)["image"].tolist() == images.rows(part)["image"].tolist()
        assert all(path.is_file() for path in made.paths(made.manifest))


MISTYPED = (
    ("imbalance {images} {images}", "study imbalance: needs 1 DATA (binary images), and 2 were given"),
    ("imbalance {tables}", "needs binary images, and this is tables of a binary task"),
    ("synthetic-heart {images}", "needs any tables"),
    ("cross-modality {images}", "needs 2 DATA"),
    ("overheads {images} --cell plian", "--cell plian: overheads has plain"),
    ("architectures {images} --weights nowhere.h5", "--weights nowhere.h5"),
    ("architectures {images} --budget 0", "--budget 0"),
    ("synthetic-heart {tables} --image-size 32", "--image-size: is for studies that set it"),
    ("synthetic-heart {tables} --model mlp", "--model: is for studies that train a classifier"),
    ("overheads {images} --weights none", "--weights: is for studies whose backbones start from ImageNet"),
    ("architectures {images} --model baseline_cnn --model resnet51", "--model resnet51: not known"),
    ("records {tables} {images} --model mlp", "--model: is what cells of records differ in"),
    ("interpretability {images} --model baseline_cnn --method saliency", "--method saliency: choose one of"),
    ("synthetic-xray {images} --image-size 32", "--image-size: synthetic-xray does not set it of 'DCGAN' and"),
    ("mode-collapse {images} --epochs 5", "--epochs: is what cells of mode-collapse differ in"),
    ("imbalance nowhere", "nowhere"),
)


@pytest.mark.parametrize(("words", "told"), MISTYPED)
def test_what_does_not_fit_is_one_line(words, told, data, tmp_path):
    line = words.format(images=data["images"].root, tables=data["tables"].root)
    result = medimg("study", *line.split(), "--out", tmp_path / "out")
    assert result.exit_code == 2, result.output
    assert told in result.output
    assert len(result.output.splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_cells_that_share_their_steps_are_run_within_any_budget(data, tmp_path):
    """What is done for the first costs no more, and is counted once."""
    thinned = ("thin", {"fraction": 0.5})
    cells = (
        Cell("", "first", (thinned, ("train", {"model": "baseline_cnn", "epochs": 1, "image_size": 32}))),
        Cell("", "shared", (thinned, ("train", {"model": "baseline_cnn", "epochs": 1, "image_size": 32})), cost=0.0),
        Cell("", "own", (thinned, ("train", {"model": "baseline_cnn", "epochs": 20, "image_size": 32}))),
        Cell("", "its", (thinned, ("train", {"model": "baseline_cnn", "epochs": 20, "image_size": 32})), cost=0.0),
    )
    declared = Study("s", "", "", (), 1, cells, {"AUROC": "train.metrics.auroc"}, ("AUROC",))
    with Shared() as shared:
        runner = Runner([data["images"].root], tmp_path, 20, shared)
        went = run_cells(declared, runner, 1, 0.1, None)
    # What shares the steps of one that was left out would have to do them all.
    assert {label: len(its) for label, its in went.done.items()} == {"first": 1, "shared": 1, "own": 0, "its": 0}
    assert "left out: own, its" in "; ".join(went.cuts)
    assert went.done["first"][0].folders == went.done["shared"][0].folders
