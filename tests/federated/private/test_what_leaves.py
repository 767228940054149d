"""What a private federation leaves behind tells nothing of a patient but by its noise, as of `medimg train`.

Two Datasets differ in one patient who has everything that gives a patient away, and whom no site's step happens to
draw: then the weights are the same, and whatever else differs in any file that is left has come another way.
"""

import json
import re
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from federated.config import FederateConfig
from federated.report.printed import printed
from medimg.config import PrepareConfig
from medimg.data.dataset import Dataset
from medimg.errors import InputError
from medimg.evaluation.config import EvaluateConfig
from medimg.preparation.prepare import prepare
from medimg.run import Run
from medimg.serving.config import ExportConfig

# Every pixel that is left is compared.
pytestmark = [pytest.mark.slow, pytest.mark.final_figures, pytest.mark.usefixtures("few_resamples")]

ODD = "the odd one"
# Not of a patient: who ran it when, random names of Runs, and hashes that these are part of.
NAMES = ("run", "created", "date", "trace", "audit", "at", "previous", "hash")
WORDS = ("lighthouse", "104.7", ODD)
SITES = ("north", "south")


def table(root: Path, odd: bool) -> Dataset:
    """A CSV of eighty patients at two sites; the odd one has a category, an extreme and a missing value alone."""
    draw = np.random.default_rng(0)
    number = np.arange(80)
    rows = pd.DataFrame(
        {
            "patient": [f"p{i:02d}" for i in number],
            "site": np.array(SITES)[number % 2],
            "split": np.repeat(["train", "val", "test"], [46, 18, 16]),
            "label": np.array(["ill", "well"])[number // 2 % 2],
            "age": draw.normal(50, 10, 80).round(1),
            "job": draw.choice(["nurse", "clerk"], 80),
            "marker": draw.normal(0, 1, 80).round(2),
        }
    )
    if odd:
        rows.loc[80] = [ODD, "south", "train", "ill", 104.7, "lighthouse keeper", np.nan]
    root.mkdir(parents=True, exist_ok=True)
    rows.to_csv(root / "rows.csv", index=False)
    made = prepare("table", root / "rows.csv", root / "data", PrepareConfig(split="official"))
    if odd:
        # In the middle: everybody behind is at another place, under the same name.
        order = [*range(20), 80, *range(20, 80)]
        replace(made, manifest=made.manifest.iloc[order].reset_index(drop=True)).save()
    return Dataset.load(made.root)


def images(root: Path, odd: bool) -> Dataset:
    """Small grey images; the odd patient has five, large, of colour and sixteen bits."""
    draw = np.random.default_rng(0)
    (root / "data/images").mkdir(parents=True)
    rows = []
    for i in range(48):
        name = f"images/{i:02d}.png"
        cv2.imwrite(str(root / "data" / name), draw.integers(0, 255, (16, 16), np.uint8))
        split = "train" if i < 28 else "val" if i < 38 else "test"
        rows.append((name, ("ill", "well")[i // 2 % 2], f"p{i:02d}", SITES[i % 2], split))
    for i in range(5 if odd else 0):
        name = f"images/odd-{i}.png"
        cv2.imwrite(str(root / "data" / name), draw.integers(0, 2**16, (24, 30, 3), np.uint16))
        rows.insert(10, (name, "ill", ODD, "south", "train"))
    manifest = pd.DataFrame(rows, columns=["image", "label", "patient", "site", "split"])
    Dataset(root / "data", "scan", "binary", ("ill", "well"), manifest).save()
    return Dataset.load(root / "data")


PRIVATE = FederateConfig(dp="patient", dp_epsilon=4.0, dp_delta=1e-3, rounds=2, local_steps=1, dp_seed=0)
TABLE = replace(
    PRIVATE,
    model="logistic",
    # So few of a site's two dozen that by most seeds the odd one is in no step.
    batch_size=2,
    bound={"age": "18:110", "marker": "-4:4"},
    categories={"job": "nurse,clerk"},
)
IMAGES = replace(PRIVATE, model="baseline_cnn", model_arg={"width": "4", "stages": "2"}, image_size=16, batch_size=4)
CASES = {
    "table": (table, TABLE),
    "masking": (table, replace(TABLE, secure="masking", client_dropout=0.2)),
    # By this seed the odd patient is not among those held out.
    "held out": (table, replace(TABLE, audit_holdout=0.4, seed=4)),
    "images": (images, IMAGES),
    "scaffold of drawn clients": (
        images,
        replace(
            IMAGES,
            strategy="scaffold",
            learning_rate=0.01,
            partition="dirichlet",
            clients=2,
            alpha=5.0,
            # By this seed the odd patient adds no step to the pass of a client: these are public.
            seed=2,
        ),
    ),
}


def trained(make, odd: bool, config: FederateConfig, root: Path, execution) -> Run:
    from federated.federate import federate
    from medimg.listener import Listener

    told = []
    run = federate(make(root, odd).root, root / "run", config, listener=Listener(note=told.append), execution=execution)
    tables = printed(json.loads((run.root / "federation.json").read_text()))
    (root / "run" / "printed.txt").write_text(f"{told}{tables}")
    return run


def everything(run: Run, root: Path) -> dict[str, bytes]:
    """Every file of the Run, evaluated once more, and of its export."""
    from medimg.evaluation.evaluate import evaluate
    from medimg.serving.export import export

    evaluate(Run.load(run.root), EvaluateConfig(bootstrap=20))
    export(Run.load(run.root), root / "saved", ExportConfig(samples=2))
    files = [path for name in ("run", "saved") for path in sorted((root / name).rglob("*")) if path.is_file()]
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


def comparable(name: str, content: bytes, root: Path) -> bytes:
    """Without times, random names, and where the Run lies."""
    content = content.replace(str(root).encode(), b"ROOT")
    if name.endswith("audit_head.json"):
        return b""
    if name.endswith((".json", ".jsonl")):
        lines = content.splitlines() if name.endswith(".jsonl") else [content]
        return json.dumps([_scrubbed(json.loads(line)) for line in lines], sort_keys=True).encode()
    if name.endswith((".html", ".md")):
        content = re.sub(rb"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}[:\d.+]*", b"TIME", content)
        return re.sub(rb"\n[0-9a-f]{64}\. Noted", b"HEAD", content)
    return content


def _scrubbed(value):
    if isinstance(value, dict):
        value = {k: _scrubbed(v) for k, v in value.items() if k not in NAMES}
        if value.get("event") == "end":
            # An archive with dates in it, a Run's random name, and a digest of both; their contents are compared.
            for name in ("model.keras", "privacy.json", "federation.json"):
                del value["files"][name]
        return value
    return [_scrubbed(v) for v in value] if isinstance(value, list) else value


def equal(one: Run, other: Run) -> bool:
    return all(map(np.array_equal, one.model().get_weights(), other.model().get_weights()))


@pytest.mark.parametrize("case", CASES)
def test_a_patient_whom_no_step_draws_leaves_no_trace(case, tmp_path, execution):
    make, config = CASES[case]
    for seed in range(6):
        roots = {odd: tmp_path / f"{seed}-{odd}" for odd in (False, True)}
        given = replace(config, dp_seed=seed)
        runs = {odd: trained(make, odd, given, root, execution) for odd, root in roots.items()}
        # One who is drawn is in the weights; one who is in few of the steps is left out by the first seed or two.
        if equal(*runs.values()):
            break
    else:
        raise AssertionError("the odd patient is in the weights whatever the seed")
    files = {odd: everything(runs[odd], root) for odd, root in roots.items()}
    assert set(files[False]) == set(files[True])
    # With dates or unused generators inside: their weights were compared above, and the export proves them.
    archives = ("model.keras", "saved_model.pb", "variables.data-00000-of-00001", "variables.index", "fingerprint.pb")
    different = [
        name
        for name in files[False]
        if not name.endswith(archives)
        and comparable(name, files[False][name], roots[False]) != comparable(name, files[True][name], roots[True])
    ]
    assert different == []
    told = b"".join(files[True].values())
    assert not [word for word in WORDS if word.encode() in told]
    # The patient really is there, and is trained on.
    assert ODD in set(runs[True].dataset().rows("train")["patient"])


def test_drawn_they_are_in_the_weights(tmp_path, execution):
    """Else the test above would find no difference whatever was written."""
    config = replace(TABLE, batch_size=80)
    runs = [trained(table, odd, config, tmp_path / str(odd), execution) for odd in (False, True)]
    assert not equal(*runs)


def test_a_changed_dataset_is_not_gone_on_with(tmp_path, execution):
    """Though its fingerprint is in no file that is left."""
    from federated.federate import federate
    from medimg.listener import Listener

    data = table(tmp_path, odd=True)

    def stopped(row):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        federate(data.root, tmp_path / "run", TABLE, listener=Listener(round=stopped), execution=execution)
    whole = data.manifest
    replace(data, manifest=whole[whole["patient"] != ODD]).save()
    with pytest.raises(InputError, match="has changed since this Run began"):
        federate(data.root, tmp_path / "run", TABLE, resume=True, execution=execution)
    data.save()
    kept = tmp_path / "run" / "checkpoints" / "data.sha256"
    digest = kept.read_text()
    kept.unlink()
    with pytest.raises(InputError, match=r"data\.sha256: is gone"):
        federate(data.root, tmp_path / "run", TABLE, resume=True, execution=execution)
    kept.write_text(digest)
    run = federate(data.root, tmp_path / "run", TABLE, resume=True, execution=execution)
    fingerprint = data.fingerprint().encode()
    assert not any(fingerprint in f.read_bytes() for f in run.root.rglob("*") if f.is_file())
    assert run.environment()["data_fingerprint"] is None
