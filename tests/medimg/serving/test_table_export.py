"""Export of a table's Run: parity in a fresh process, warm-up, columns.json, request.json and card."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from medimg.config import TrainConfig
from medimg.data.schema import Feature
from medimg.errors import InputError
from medimg.evaluation.config import EvaluateConfig
from medimg.evaluation.evaluate import evaluate
from medimg.evaluation.prediction import predict
from medimg.serving import export as exporting
from medimg.serving.config import ExportConfig
from medimg.serving.export import COLUMNS, REQUEST, export, serving_commands
from medimg.serving.requests import WARMUP
from medimg.serving.table_columns import inputs_of, served_columns
from medimg.serving.tables import ServedTable
from medimg.tables.preprocessing import Preprocessing
from medimg.training.train import train

pytestmark = pytest.mark.slow

RENAMED = {"age": "Größe", "noise": "AGE", "visits": "a/b", "pain": "chest pain", "stage": "class"}


@pytest.fixture(scope="module")
def run(small_table, tmp_path_factory):
    """A logistic regression on columns whose names TensorFlow does not allow."""
    folder = tmp_path_factory.mktemp("odd")
    dataset = dataclasses.replace(
        small_table,
        root=folder / "data",
        manifest=small_table.manifest.rename(columns=RENAMED),
        features=tuple(Feature(RENAMED.get(f.name, f.name), f.type, f.order) for f in small_table.features),
    )
    dataset.save()
    trained = train(dataset.root, folder / "run", TrainConfig(model="logistic", epochs=8))
    evaluate(trained, EvaluateConfig(bootstrap=20))
    return trained


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory):
    return export(run, tmp_path_factory.mktemp("models") / "small", ExportConfig(samples=6))


@pytest.fixture(scope="module")
def served(exported):
    return tf.saved_model.load(str(exported)).signatures


def test_raw_rows_give_the_runs_probabilities(run, served):
    dataset, description = run.dataset(), run.description()
    preprocessing = Preprocessing.from_dict(description["preprocessing"])
    rows = dataset.manifest.copy()
    rows.loc[0, ["Größe", "chest pain", "class"]] = [np.nan, "", "?"]
    rows.loc[1, ["chest pain", "class", "day"]] = ["never seen", "IV", " NA "]
    expected = predict(run.model(), dataset, rows, description)
    inputs = inputs_of(rows, served_columns(preprocessing))
    assert set(inputs) == {"Gro_e", "AGE", "a_b", "chest_pain", "class_2", "day"}
    answer = served["serving_default"](**{k: tf.constant(v) for k, v in inputs.items()})
    np.testing.assert_allclose(answer["probabilities"], expected, atol=1e-5)
    columns = served["features"](features=tf.constant(preprocessing.transform(rows)))
    np.testing.assert_allclose(columns["probabilities"], expected, atol=1e-5)
    threshold = json.loads((run.root / "metrics.json").read_text())["threshold"]["value"]
    wanted = [b"disease" if p >= np.float32(threshold) else b"healthy" for p in expected[:, 1]]
    assert answer["label"].numpy().tolist() == wanted


def test_columns_and_request_tell_how_to_ask(exported, served, run):
    columns = json.loads((exported / COLUMNS).read_text())
    by_name = {column["column"]: column for column in columns["inputs"]}
    assert by_name["Größe"] == {"column": "Größe", "type": "continuous", "input": "Gro_e", "dtype": "float32"}
    assert by_name["class"]["categories"] == ["I", "II", "III"]
    (instance,) = json.loads((exported / REQUEST).read_text())["instances"]
    # What TF Serving does with a row: a batch of one for each input.
    specs = served["serving_default"].structured_input_signature[1]
    assert set(instance) == set(specs)
    inputs = {k: tf.constant([v], specs[k].dtype) for k, v in instance.items()}
    total = tf.reduce_sum(served["serving_default"](**inputs)["probabilities"])
    assert float(total) == pytest.approx(1.0)


def test_the_warmup_runs_and_holds_no_patient(exported, served, run):
    from tensorflow_serving.apis import prediction_log_pb2

    known = set(np.float32(run.dataset().manifest["AGE"]))
    names = []
    for record in tf.data.TFRecordDataset(str(exported / WARMUP)):
        request = prediction_log_pb2.PredictionLog.FromString(record.numpy()).predict_log.request
        names.append(request.model_spec.signature_name)
        inputs = {key: tf.constant(tf.make_ndarray(value)) for key, value in request.inputs.items()}
        answer = served[request.model_spec.signature_name](**inputs)
        np.testing.assert_allclose(tf.reduce_sum(answer["probabilities"], 1), 1.0, atol=1e-5)
        if "AGE" in inputs:
            assert float(inputs["AGE"][0]) not in known
    assert names == ["serving_default"] * 4 + ["features"]


def test_the_graph_holds_no_python(exported):
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    content = SavedModel.FromString((exported / "saved_model.pb").read_bytes())
    graph = content.meta_graphs[0].graph_def
    operations = {node.op for function in graph.library.function for node in function.node_def}
    assert not operations & {"PyFunc", "EagerPyFunc", "PyFuncStateless"}
    assert b"medimg" not in (exported / "saved_model.pb").read_bytes()


def test_the_card_tells_inputs_preprocessing_and_numbers(exported, run):
    card = (exported / "model_card.md").read_text()
    assert "| chest pain | categorical | `chest_pain` | atypical, none, typical |" in card
    assert "scaled to mean 0 and standard deviation 1" in card
    assert "the median" in card
    assert "not a medical device" in card
    metrics = json.loads((run.root / "metrics.json").read_text())["metrics"]
    assert f"{metrics['auroc']['value']:.3f}" in card
    assert "image" not in card
    assert str(run.root.parent) not in card


def test_the_commands_send_the_request(exported):
    _, curl, _ = serving_commands(exported.parent, "small")
    assert curl == (f"curl -s -d @{exported / REQUEST} http://localhost:8501/v1/models/small:predict")


def test_an_export_without_parity_fails_and_leaves_nothing(run, tmp_path, monkeypatch):
    class Wrong(ServedTable):
        def encoded(self, raw):
            # As if a missing value were served as 0.
            return super().encoded(tf.where(tf.math.is_nan(raw), tf.zeros_like(raw), raw))

    monkeypatch.setattr(exporting, "ServedTable", Wrong)
    with pytest.raises(InputError, match=r"not exported: .* differ by .* on 5 rows"):
        export(run, tmp_path / "saved" / "wrong", ExportConfig(samples=2))
    assert not (tmp_path / "saved" / "wrong").exists()


@pytest.mark.slow
def test_a_wide_table_is_exported_by_position(small_table, tmp_path):
    draw = np.random.default_rng(0)
    values = draw.normal(size=(len(small_table.manifest), 1100))
    names = [f"gene {i}" for i in range(1100)]
    wide = dataclasses.replace(
        small_table,
        root=tmp_path / "data",
        manifest=pd.concat([small_table.manifest, pd.DataFrame(values, columns=names)], axis=1),
        features=(*small_table.features, *(Feature(name, "continuous") for name in names)),
    )
    wide.save()
    run = train(wide.root, tmp_path / "run", TrainConfig(model="logistic", epochs=2))
    folder = export(run, tmp_path / "models" / "wide", ExportConfig(samples=2))
    signature = tf.saved_model.load(str(folder)).signatures["serving_default"]
    shapes = {k: v.shape.as_list() for k, v in signature.structured_input_signature[1].items()}
    assert shapes == {"numbers": [None, 1103], "texts": [None, 3]}
    assert "1066 more are in assets.extra/columns.json" in (folder / "model_card.md").read_text()
