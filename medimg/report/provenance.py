"""Where a Run comes from: options, command, environment, privacy, sites, synthetic rows, seeds, other hospitals."""

import shlex
from dataclasses import fields

from medimg.config import TrainConfig
from medimg.data.dataset import Dataset
from medimg.options import flag, of_data
from medimg.privacy.ledger import is_private
from medimg.privacy.recount import promised
from medimg.privacy.statement import NO_PRIVACY, WITHHELD, summary
from medimg.report.missing import missing
from medimg.report.population import protected
from medimg.run import Run
from medimg.untrusted.json_file import read_json

# Whoever has it can take the noise off.
_SECRET = "dp_seed"
_PATHS = ("weights", "extra", "adapt", "member", "weights_patients", "link", "site")


def applying(config: dict, is_table: bool) -> dict:
    """Of a Run's options (its config.yaml) those that its training read, `acting` where its command wrote that down."""
    options, of_training = config["options"], {field.name for field in fields(TrainConfig)}
    acting = config.get("acting")
    if acting is None:
        train = TrainConfig.from_dict({name: options[name] for name in of_training & options.keys()})
        acting = {*train.acting(of_data(is_table)), *(options.keys() - of_training)}
    return {k: v for k, v in options.items() if k in acting and v not in (None, [], {})}


def training(run: Run, metrics: dict, is_table: bool) -> dict:
    """`training` of report.json: options, the commands that make the Run again, and the environment."""
    options = {k: v for k, v in applying(run.config, is_table).items() if k != _SECRET}
    return {
        "options": options,
        "commands": [_train_command(run, options, is_table), _evaluate_command(metrics)],
        "environment": _environment(run),
    }


def _train_command(run: Run, options: dict, is_table: bool) -> str:
    command = run.config.get("command", "train")
    usual = TrainConfig().resolved("row" if is_table else "image").to_dict() if command == "train" else {}
    settings = {name: value for name, value in options.items() if name not in usual or usual[name] != value}
    settings = {"model": options["model"], **settings} if "model" in options else settings
    data = str(run.config["data"]).rstrip("/").rpartition("/")[2]
    return " ".join(["medimg", command, shlex.quote(data), *_flags(settings), "--out", "RUN"])


def _evaluate_command(metrics: dict) -> str:
    return " ".join(["medimg", "evaluate", "RUN", *_flags(metrics.get("options", {}))])


def _flags(options: dict) -> list[str]:
    words = []
    for name, value in options.items():
        if isinstance(value, bool):
            words.append(flag(name) if value else f"--no-{name.replace('_', '-')}")
            continue
        each = [f"{k}={v}" for k, v in value.items()] if isinstance(value, dict) else value
        for one in each if isinstance(each, list | tuple) else [each]:
            text = str(one).rstrip("/").rpartition("/")[2] if name in _PATHS else str(one)
            words += [flag(name), shlex.quote(text)]
    return words


def _environment(run: Run) -> dict:
    path = run.root / "environment.json"
    environment = read_json(path) if path.is_file() else {}
    if protected(run) and "data_fingerprint" in environment:
        # By a hash of the manifest a guess at a patient's row can be checked.
        environment["data_fingerprint"] = WITHHELD
    packages = environment.pop("packages", {})
    plain = {k: v for k, v in environment.items() if v is not None and not isinstance(v, dict | list)}
    return {**plain, **packages}


def privacy(run: Run, unit: str) -> dict:
    """`privacy` of report.json: the promise, its ledger, and what attacks have found."""
    content, path = promised(run.root), run.root / "audit.json"
    if content is not None:
        result = {"private": True, "statement": summary(content, unit), "assumptions": content["assumptions"]}
        result |= {name: content[name] for name in ("unit", "epsilon", "delta", "accountant") if name in content}
        result["events"] = [
            {"phase": one["phase"], "steps": sum(b - a for a, b in one["ranges"]), **one["mechanism"]}
            for one in content["events"]
        ]
    elif is_private(run.config["options"]):
        result = {"private": True, "statement": "privacy.json is gone: the promise of this training is not known."}
    else:
        result = {"private": False, "statement": NO_PRIVACY}
    if not path.is_file():
        return {**result, "audit": missing("the Run was not attacked; 'medimg audit RUN' does it")}
    audit = read_json(path)
    keys = ["attacks", "epsilon_lower_bound", "claimed_epsilon", "verdict", "allowed"]
    if not result["private"]:
        keys += ["members", "non_members"]
    return {**result, "audit": {name: audit[name] for name in keys if name in audit}}


def federation(run: Run) -> dict:
    """`federation` of report.json: who trained together and how; what it was worth is in federation.html."""
    path = run.root / "federation.json"
    if not path.is_file():
        return missing("one place had all training rows: no sites trained together")
    content = read_json(path)
    names = ("strategy", "partition", "engine", "rounds", "kept_round", "stopped", "local", "aggregation", "clients")
    described = {name: content[name] for name in names if name in content}
    gain = (content.get("comparison") or {}).get("gain") or {}
    return {
        **described,
        "secure": (content.get("secure") or {}).get("kind", "none"),
        "bytes": content.get("bytes"),
        "metric": gain.get("metric"),
        "models": gain.get("models", []),
        "places": [{name: one[name] for name in ("name", "n", "values")} for one in gain.get("places", [])],
        "sentences": gain.get("sentences", []),
    }


def synthetic(run: Run) -> dict:
    """`synthetic` of report.json."""
    path = run.root / "environment.json"
    extra = run.environment().get("extra") if path.is_file() else None
    if not extra:
        return missing("no synthetic rows were used")
    return {"dataset": extra["data"].rstrip("/").rpartition("/")[2], **{k: extra[k] for k in ("rows", "fingerprint")}}


def spread(run: Run, metrics: dict) -> dict:
    """`spread` of report.json: over folds, or over the members that differ in their seed."""
    if "folds" in metrics:
        return {"over": "folds", "count": metrics["n_folds"], "metrics": metrics["folds"]}
    values = []
    for number in range(1, int(run.config["options"].get("seeds") or 0) + 1):
        folder = run.root / f"member-{number}"
        history = Run(folder, run.config).history() if folder.is_dir() else None
        if history is not None and "val_auroc" in history:
            values.append(float(history.loc[history["val_loss"].idxmin(), "val_auroc"]))
    if len(values) > 1:
        mean = sum(values) / len(values)
        sd = (sum((value - mean) ** 2 for value in values) / (len(values) - 1)) ** 0.5
        return {"over": "seeds", "count": len(values), "val_auroc": {"values": values, "mean": mean, "sd": sd}}
    seed = run.config["options"].get("seed")
    return missing(f"one training, of seed {seed}; '--seeds N' or 'medimg compare' of several Runs tells what seeds do")


def validations(run: Run) -> dict:
    """`validations` of report.json: what `medimg validate` has found at other hospitals."""
    entries = []
    for path in sorted(run.root.glob("validations/*/validation.json")):
        one = read_json(path)
        keys = ("dataset", "n", "patients", "auroc", "drop", "verdict", "reasons")
        entries.append({name: one.get(name) for name in keys})
    if not entries:
        return missing("no other hospital's patients were tried; 'medimg validate RUN DATA2' does it")
    return {"of": entries}


def modality(dataset: Dataset | None, is_table: bool) -> str:
    """Of the images, or that they are rows of a table."""
    if dataset is not None and dataset.modality:
        return dataset.modality
    return "rows of a table" if is_table else "images"
