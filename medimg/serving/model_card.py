"""The model card of a Run and of its export (Mitchell et al. 2019): what the model is for, how made and how good."""

from dataclasses import dataclass

from medimg.data.dataset import Dataset
from medimg.data.positive import positive_class
from medimg.evaluation import floor
from medimg.evaluation.clinical_use import useful
from medimg.evaluation.metrics import METRICS
from medimg.evaluation.operating_point import NOT_EVALUATED, metrics_of, threshold_statement
from medimg.evaluation.recalibration import calibration_words
from medimg.preparation.decoding import prepared_size
from medimg.privacy.card import privacy_section
from medimg.privacy.recount import promise_of
from medimg.privacy.statement import WITHHELD
from medimg.run import Run
from medimg.serving.table_card import columns_section
from medimg.style.words import interval
from medimg.tables.preprocessing import Preprocessing

_ANSWER = (
    "Answer: `probabilities` in the order of `classes`, `label`, and `error`, which is empty. {unit} that can't be "
    "read fails alone: `error` says why, `label` is empty and every probability is -1. "
)
_SERVER = "`check.py` beside this version asks a server, by REST or gRPC, whether it serves this very model."
# ONNX Runtime alone; what the client does for it has no operators in ONNX.
_ONNX = (
    "`check.py` beside this version asks whether it is this very model, by `onnx_client.py`: it does what ONNX has no "
    "operators for (PNG and JPEG are decoded, text becomes codes of categories, dates become days), and answers as a "
    "server of the SavedModel. `model.onnx` itself takes {inputs} and answers `probabilities`, `decided` (per class) "
    "and, unless the task is multiclass, `threshold`; its metadata `medimg` has the classes and the columns."
)
_PARTS = {"val": "the validation part", None: "no part of the data"}


@dataclass(frozen=True)
class Proof:
    """What the parity proof found.

    Attributes:
        difference: largest difference of probabilities.
        tolerance: the largest that was allowed.
        examples: images or rows that were asked about.
        runtime: what answered: `TensorFlow` or `ONNX Runtime`.
    """

    difference: float
    tolerance: float
    examples: int
    runtime: str = "TensorFlow"


def model_card(run: Run, dataset: Dataset, proof: Proof | None = None) -> str:
    """Markdown.

    Args:
        run: the Run.
        dataset: its Dataset.
        proof: of parity, where it is exported.

    Raises:
        InputError: the Run was trained privately and its privacy.json is gone.
    """
    description, environment = run.description(), run.environment()
    description["prepared_size"] = prepared_size(description, dataset)
    promise = promise_of(run.root, run.config["options"])
    private = promise is not None
    fingerprint = WITHHELD if private else f"`{environment['data_fingerprint']}`"
    sections = [
        f"# Model card: {description['name']} on {dataset.name}",
        "**Research software, not a medical device.** Not for diagnosis or treatment. Before any use on patients the "
        "model must be validated on data of the place where it is to be used.",
        _model(
            run,
            {**description, "is_onnx": proof is not None and proof.runtime != "TensorFlow"},
            private,
            proof is not None,
        ),
        privacy_section(promise, dataset.unit),
        _data(dataset, private),
        _decision(metrics_of(run), description),
        _performance(metrics_of(run), f"{dataset.unit}s"),
        *_worth(metrics_of(run)),
        "## Limits\n\n"
        f"- It knows the classes above and no others: {_anything_else(dataset)} gets one of them all the same.\n"
        f"- {'Laboratories' if dataset.is_table else 'Scanners'}, sites and patients unlike the training data may be "
        "classified worse than measured here.\n"
        "- Probabilities are calibrated as far as is said under Decision, on patients like those of the test part.",
        "## Provenance\n\n"
        f"- Data fingerprint {fingerprint}, seed {environment['seed']}.\n"
        + "".join(f"- {name} {version}\n" for name, version in environment["packages"].items())
        + ("" if proof is None else _exported(proof, dataset, private)),
    ]
    return "\n\n".join(section.rstrip("\n") for section in sections) + "\n"


def _exported(proof: Proof, dataset: Dataset, private: bool) -> str:
    return (
        f"- {_parity(proof, dataset, private)}\n"
        "- The requests in assets.extra are drawn by a fixed seed from the form of the model's inputs alone: none is a "
        f"patient's {dataset.unit}."
    )


def _parity(proof: Proof, dataset: Dataset, private: bool) -> str:
    """Of a private training no number that patients' own images or rows have made."""
    begin = f"Parity: reloaded in a fresh process with {proof.runtime} alone, probabilities on"
    if private:
        return (
            f"{begin} real {dataset.unit}s differ from the Run's by at most {proof.tolerance:g} (how many and by how "
            f"much is {WITHHELD})."
        )
    return f"{begin} {proof.examples} {dataset.unit}s differ from the Run's by at most {proof.difference:.1e}."


def _anything_else(dataset: Dataset) -> str:
    return "a patient with none of them" if dataset.is_table else "an image of anything else"


def _model(run: Run, description: dict, private: bool, served: bool) -> str:
    options = run.config["options"]
    task = f"- Task: {description['task']}; classes: {', '.join(description['classes'])}."
    if "preprocessing" in description:
        preprocessing = Preprocessing.from_dict(description["preprocessing"])
        arguments = ", ".join(f"{k}={v}" for k, v in description["model_arg"].items())
        name = f"`{description['name']}`" + (f" ({arguments})" if arguments else "")
        begin = f"## Model\n\n- {name} on a table's columns.\n{task}"
        inputs = columns_section(preprocessing, options, private, description["is_onnx"])
        answer = f"\n- {_ANSWER.format(unit='A row')}{_how_to_ask(description)}" if served else ""
        return f"{begin}{answer}\n\n{inputs}" if served else begin
    begin = (
        "## Model\n\n"
        f"- `{description['name']}`, {description['image_size']} px, {description['channels']} channel(s), "
        f"{_made_of(description, options)}.\n"
        f"{task}"
    )
    if not served:
        return begin
    return (
        f"{begin}\n"
        f"- {'`onnx_client.py`' if description['is_onnx'] else '`serving_default`'} takes encoded PNG or JPEG bytes "
        "(`image_bytes`), turned upright by their EXIF; `pixels` takes float32 pixels 0..255. BMP, TIFF, WebP, GIF, "
        "JPEG 2000 and PNM, which `medimg data prepare` reads, are not served: "
        "convert them to PNG. DICOM is decoded by the client: `check.py` and `dicom_pixels.py`"
        f"{_look(description.get('dicom'))}.\n"
        f"{_size(description['prepared_size'])}- 16-bit values: {_white(description.get('white'))}.\n"
        f"- {_ANSWER.format(unit='An image')}{_how_to_ask(description)}" + _columns_beside(description, options)
    )


def _how_to_ask(description: dict) -> str:
    if not description["is_onnx"]:
        return _SERVER
    pixels = "`pixels` float32 (B, S, S, C), as `prepare.onnx` makes them of a decoded image,"
    columns = "`columns` float64 (B, columns): numbers, codes, days, NaN for missing,"
    has = (
        ("image_size" in description, pixels),
        ("preprocessing" in description or "metadata" in description, columns),
    )
    return _ONNX.format(inputs=" and ".join(words for there, words in has if there))


def _look(look: dict | None) -> str:
    """How training looked at DICOM files; '' where it saw none, or looked as the client does of itself."""
    return f", as in training ({', '.join(f'{name}: {value}' for name, value in look.items())})" if look else ""


def _size(prepared: int | None) -> str:
    if prepared is None:
        return ""
    return f"- Images are stretched to {prepared} px, as those of training were prepared, then to the model's size.\n"


def _columns_beside(description: dict, options: dict) -> str:
    if "metadata" not in description:
        return ""
    text = "" if description["is_onnx"] else "`serving_default` takes the columns below, and `pixels` takes `features`."
    preprocessing = Preprocessing.from_dict(description["metadata"])
    text = f"\n- Beside the image {text or 'the client takes the columns below.'}"
    return f"{text}\n\n{columns_section(preprocessing, options, False, description['is_onnx'])}"


def _made_of(description: dict, options: dict) -> str:
    if "members" in description:
        each = ", ".join(f"`{member['name']}` {member['weight']:.2f}" for member in description["members"])
        return f"the mean of its members' probabilities, weighted: {each}"
    norm = f"{description['norm']} normalisation, " if "norm" in description else ""
    return f"{norm}initial weights: {_without_folders(options.get('weights'))}"


def _white(white: int | None) -> str:
    if white is None:
        return "65535 is white"
    if white == 0:
        return "each image's own maximum is white, also of 8-bit images, as in training"
    return (
        f"the training images used {white} of 65535, and {white} was made white; so it is in an image that has no "
        "value above, and 65535 in any other"
    )


def _without_folders(weights) -> str:
    """The last part of a path: a card that travels should not tell where its maker keeps files."""
    return str(weights).rstrip("/").rpartition("/")[2]


def _data(dataset: Dataset, private: bool) -> str:
    kind = dataset.modality or f"{dataset.unit}s"
    lines = [f"## Data\n\n- {dataset.name}: {kind}; licence: {dataset.licence or 'not stated'}."]
    if dataset.citation:
        lines.append(f"- Cite: {dataset.citation}")
    if private:
        return "\n".join([*lines, f"- {dataset.unit.capitalize()}s and patients of each part and class: {WITHHELD}."])
    for split in ("train", "val", "test"):
        rows = dataset.rows(split)
        labels = rows["label"].str.split("|").explode().value_counts()
        counts = ", ".join(f"{name or 'unlabelled'} {count}" for name, count in labels.items())
        lines.append(f"- {split}: {len(rows)} {dataset.unit}s of {rows['patient'].nunique()} patients ({counts}).")
    return "\n".join(lines)


def _decision(metrics: dict | None, description: dict) -> str:
    """The positive class, and the threshold: its number in full, its rule and the part that it was chosen on."""
    task, classes = description["task"], description["classes"]
    head = f"## Decision\n\n- {threshold_statement(metrics, description)}\n- {_calibration(metrics, description)}"
    if task == "multiclass":
        return f"{head}\n- No class is the positive one; each is measured against the rest."
    positive = [positive_class(task, classes)] if task == "binary" else classes
    threshold = metrics["threshold"] if metrics else NOT_EVALUATED
    values = threshold["value"]
    each = values if isinstance(values, dict) else dict.fromkeys(positive, values)
    part = _PARTS.get(threshold["chosen_on"], threshold["chosen_on"])
    lines = ["| positive class | threshold | rule | chosen on |", "|---|---|---|---|"]
    lines += [f"| {name} | {each[name]} | {threshold['rule']} | {part} |" for name in positive]
    name = "class" if len(positive) == 1 else "classes, each a finding of its own"
    listed = ", ".join(positive)
    also = "`positive_class`, `positive_probability` and `threshold`" if task == "binary" else "`threshold`, per class"
    return f"{head}\n- Positive {name}: {listed}.\n- Answers also have {also}.\n\n" + "\n".join(lines)


def _calibration(metrics: dict | None, description: dict) -> str:
    if metrics and "calibration" in metrics:
        return calibration_words(metrics["calibration"])
    return f"Calibration ({description.get('calibrator', {}).get('method', 'none')}): not measured."


def _worth(content: dict | None) -> list[str]:
    """What floors reach, and at which thresholds a decision is of use."""
    lines = [f"- {sentence}." for sentence in floor.words(content or {})]
    curves = (content or {}).get("decision_curve", {})
    lines += [f"- Net benefit: {useful(name, curve)}" for name, curve in curves.items()]
    return ["## What to know of these numbers\n\n" + "\n".join(lines)] if lines else []


def _performance(content: dict | None, units: str) -> str:
    if content is None:
        return "## Performance\n\nNot evaluated (`medimg evaluate`, then export again)."
    rows = ["| class | " + " | ".join(METRICS) + " |", "|" + "---|" * (len(METRICS) + 1)]
    # Of two classes the metrics are the positive one's, which has a row of its own.
    together = {} if content.get("task") == "binary" else {"all classes": content["metrics"]}
    parts = {**together, **content["per_class"]}
    for name, values in parts.items():
        rows.append(f"| {name} | " + " | ".join(interval(values.get(metric)) for metric in METRICS) + " |")
    drawn = "95% bootstrap intervals" if content.get("bootstrap", {}).get("resamples", 1) else "without intervals"
    return f"## Performance\n\n{content['split']} part, {content['n']} {units}, {drawn}.\n\n" + "\n".join(rows)
