"""The model card of an export (Mitchell et al. 2019): what the model is for, how it was made and how good it is."""

import json

from medimg.console import interval
from medimg.dataset import Dataset
from medimg.evaluation.metrics import METRICS
from medimg.run import Run
from medimg.tables.card import columns_section
from medimg.tables.preprocessing import Preprocessing


def model_card(run: Run, dataset: Dataset, difference: float, examples: int) -> str:
    """Markdown.

    Args:
        run: the Run that is exported.
        dataset: its Dataset.
        difference: largest difference of probabilities found by the parity proof.
        examples: images or rows in that proof.
    """
    description, environment = run.description(), run.environment()
    sections = [
        f"# Model card: {description['name']} on {dataset.name}",
        "**Research software, not a medical device.** Not for diagnosis or treatment. Before any use on patients the "
        "model must be validated on data of the place where it is to be used.",
        _model(run, description),
        _data(dataset),
        _performance(run, description, f"{dataset.unit}s"),
        "## Limits\n\n"
        f"- It knows the classes above and no others: {_anything_else(dataset)} gets one of them all the same.\n"
        f"- {'Laboratories' if dataset.is_table else 'Scanners'}, sites and patients unlike the training data may be "
        "classified worse than measured here.\n"
        "- Probabilities are calibrated only as far as the Brier score and the calibration error say.",
        "## Provenance\n\n"
        f"- Data fingerprint `{environment['data_fingerprint']}`, seed {environment['seed']}.\n"
        + "".join(f"- {name} {version}\n" for name, version in environment["packages"].items())
        + f"- Parity: reloaded in a fresh process with TensorFlow alone, probabilities on {examples} "
        f"{dataset.unit}s differ from the Run's by at most {difference:.1e}.",
    ]
    return "\n\n".join(sections) + "\n"


def _anything_else(dataset: Dataset) -> str:
    return "a patient with none of them" if dataset.is_table else "an image of anything else"


def _model(run: Run, description: dict) -> str:
    options = run.config["options"]
    task = f"- Task: {description['task']}; classes: {', '.join(description['classes'])}."
    if "preprocessing" in description:
        preprocessing = Preprocessing.from_dict(description["preprocessing"])
        arguments = ", ".join(f"{k}={v}" for k, v in description["model_arg"].items())
        name = f"`{description['name']}`" + (f" ({arguments})" if arguments else "")
        inputs = columns_section(preprocessing, options)
        return f"## Model\n\n- {name} on a table's columns.\n{task}\n\n{inputs}"
    return (
        "## Model\n\n"
        f"- `{description['name']}`, {description['image_size']} px, {description['channels']} channel(s), "
        f"{description['norm']} normalisation, initial weights: {_without_folders(options.get('weights'))}.\n"
        f"{task}\n"
        "- `serving_default` takes encoded PNG or JPEG bytes (`image_bytes`), `pixels` takes float32 pixels 0..255."
    )


def _without_folders(weights) -> str:
    """The last part of a path: a card that travels should not tell where its maker keeps files."""
    return str(weights).rstrip("/").rpartition("/")[2]


def _data(dataset: Dataset) -> str:
    kind = dataset.modality or f"{dataset.unit}s"
    lines = [f"## Data\n\n- {dataset.name}: {kind}; licence: {dataset.licence or 'not stated'}."]
    if dataset.citation:
        lines.append(f"- Cite: {dataset.citation}")
    for split in ("train", "val", "test"):
        rows = dataset.rows(split)
        labels = rows["label"].str.split("|").explode().value_counts()
        counts = ", ".join(f"{name or 'unlabelled'} {count}" for name, count in labels.items())
        lines.append(
            f"- {split}: {len(rows)} {dataset.unit}s of {rows['patient'].nunique()} patients ({counts})."
        )
    return "\n".join(lines)


def _performance(run: Run, description: dict, units: str) -> str:
    path = run.root / "metrics.json"
    if not path.is_file():
        return "## Performance\n\nNot evaluated (`medimg evaluate`, then export again). The label uses 0.5."
    content = json.loads(path.read_text(encoding="utf-8"))
    rows = ["| class | " + " | ".join(METRICS) + " |", "|" + "---|" * (len(METRICS) + 1)]
    parts = {"all": content["metrics"], **content["per_class"]}
    for name, values in parts.items():
        rows.append(
            f"| {name} | " + " | ".join(interval(values.get(metric)) for metric in METRICS) + " |"
        )
    note = content["threshold"].get("note") or f"threshold {content['threshold']['value']}"
    return (
        f"## Performance\n\n{content['split']} part, {content['n']} {units}, 95% bootstrap intervals.\n\n"
        + "\n".join(rows)
        + f"\n\nThreshold: {note}"
    )
