"""Two Datasets that differ in one patient, as far as the public statements allow, and what private paths make of them.

The others are as quiet as can be (numbers in the middle of their range, flat grey images), so that the one
patient's part is not lost among theirs; the patient has many rows, all extreme. Steps take half the
patients on average, and both Datasets have as many steps a pass.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from medimg.data.dataset import Dataset
from medimg.data.imaging import read_image, write_png
from medimg.data.schema import Feature
from medimg.privacy.ledger import read

CLASSES = ("dark", "bright")
LOUD = CLASSES[1]
NUMBERS, CATEGORIES = 8, 4
ROWS_OF_TARGET = 12
SIZE = 16
MIDDLE, WHITE = 128, 255
# One in so many of the others is of the target's class.
RARE = 7


@dataclass(frozen=True)
class PrivatePath:
    """A way from patients to something released.

    Attributes:
        data: (folder, whether the patient is there) -> Dataset.
        release: (Dataset folder, output folder, privacy options) -> what an attacker sees of it, float (D,).
        clip: for `--dp-clip`: above the others' norms, so that they stay quiet beside the patient.
        unit: who is protected.
        options: more privacy options.
        slow: a training takes seconds, and there are fewer of them.
    """

    data: Callable[[Path, bool], Dataset]
    release: Callable[[Path, Path, dict], np.ndarray]
    clip: float = 1.0
    unit: str = "patient"
    options: dict = field(default_factory=dict)
    slow: bool = False


def claimed(out: Path) -> float:
    """Epsilon by a finished training's own ledger: the largest of its units'."""
    epsilon = read(out)["epsilon"]
    return float(epsilon["pld"])


def table(root: Path, present: bool, others: int = 7, sites: int = 1, of_target: int = ROWS_OF_TARGET) -> Dataset:
    """Numbers within [-1, 1] and categories `a`, `b`; `others` patients at each site, the target at the first one."""
    rows = [
        _row(f"s{site}p{i:02d}", f"s{site}", CLASSES[i % RARE == 1]) for site in range(sites) for i in range(others)
    ]
    rows += [_row("target", "s0", LOUD, loud=True)] * (of_target if present else 0)
    return _saved_table(root, rows, sites)


def table_of_counts(root: Path, present: bool, others: int = 150) -> Dataset:
    """For counts: a sixth of the others has what the target has, so that noisy counts stay above 0."""
    rows = [_row(f"p{i:02d}", "s0", LOUD, loud=i % 6 == 0) for i in range(others)]
    rows += [_row("target", "s0", LOUD, loud=True)] * (ROWS_OF_TARGET if present else 0)
    return _saved_table(root, rows, 1)


def table_of_generators(root: Path, present: bool) -> Dataset:
    """For networks that make rows, which need more patients: the target has rows enough to be heard among them."""
    return table(root, present, others=11, of_target=60)


def table_of_clients(root: Path, present: bool, clients: int = 5) -> Dataset:
    """Clients whose updates are exactly nothing (both classes alike, no inputs), the first replaced by the target.

    A client whose update is nothing is an absent one: how many clients there are is public.
    """
    rows = []
    for site in range(clients):
        target = present and site == 0
        rows += [_row(f"s{site}p{i}", f"s{site}", LOUD if target else CLASSES[i % 2], loud=target) for i in range(8)]
    return _saved_table(root, rows, clients)


def _row(patient: str, site: str, label: str, loud: bool = False, split: str = "train") -> dict:
    numbers = {f"x{j}": float(loud) for j in range(NUMBERS)}
    categories = {f"c{j}": "b" if loud else "a" for j in range(CATEGORIES)}
    roles = {"label": label, "patient": patient, "site": site, "split": split}
    return roles | numbers | categories


def _saved_table(root: Path, rows: list[dict], sites: int) -> Dataset:
    """With validation and test patients of both classes at each site."""
    rows = rows + [
        _row(f"s{site}{split}{i}", f"s{site}", CLASSES[i % 2], bool(i % 2), split)
        for site in range(sites)
        for split in ("val", "test")
        for i in range(2)
    ]
    manifest = pd.DataFrame(rows)
    manifest.insert(0, "row", [f"r{i:04d}" for i in range(len(manifest))])
    features = (
        *(Feature(f"x{j}", "continuous", bound=(-1.0, 1.0)) for j in range(NUMBERS)),
        *(Feature(f"c{j}", "categorical", categories=("a", "b")) for j in range(CATEGORIES)),
    )
    return _saved(root, manifest, features)


def images(root: Path, present: bool, others: int = 7, each: int = 1, rare: int = RARE) -> Dataset:
    """Flat grey images, `each` of a patient, one in `rare` patients in the target's class; the target's are stripes."""
    names = [(f"p{i:02d}", CLASSES[i % rare == 1]) for i in range(others)]
    rows = [(name, label, "train") for name, label in names for _ in range(each)]
    rows += [("target", LOUD, "train")] * (ROWS_OF_TARGET if present else 0)
    rows += [(f"{split}{i}", CLASSES[i % 2], split) for split in ("val", "test") for i in range(2)]
    manifest = pd.DataFrame(rows, columns=["patient", "label", "split"]).assign(site="")
    manifest.insert(0, "image", [f"images/{i:03d}.png" for i in range(len(rows))])
    (root / "images").mkdir(parents=True)
    for number, (name, patient) in enumerate(zip(manifest["image"], manifest["patient"], strict=True)):
        pixels = _stripes() if patient == "target" else np.full((SIZE, SIZE), MIDDLE, np.uint8)
        # One grey level apart: identical images of two patients are refused as a leak.
        place = divmod(number, SIZE)
        pixels[place] += 1 if pixels[place] < WHITE else -1
        write_png(root / name, pixels)
    return _saved(root, manifest)


def _stripes() -> np.ndarray:
    """The target's image: columns of white and black."""
    return np.tile(np.array([WHITE, 0], np.uint8), (SIZE, SIZE // 2))


def _saved(root: Path, manifest: pd.DataFrame, features: tuple = ()) -> Dataset:
    root.mkdir(parents=True, exist_ok=True)
    Dataset(root, "neighbours", "binary", CLASSES, manifest, features=features).save()
    return Dataset.load(root, joins_copies=False)


def by_train(**options) -> Callable:
    """Weights of `medimg train`."""

    def release(data: Path, out: Path, privacy: dict) -> np.ndarray:
        from medimg.config import TrainConfig
        from medimg.training.train import train

        return weights(train(data, out, TrainConfig(**options, **privacy)))

    return release


def by_federate(**options) -> Callable:
    """Weights of `medimg federate`."""

    def release(data: Path, out: Path, privacy: dict) -> np.ndarray:
        from federated.config import FederateConfig
        from federated.federate import federate

        config = FederateConfig(**options, comparison=False, **privacy)
        return weights(federate(data, out, config, execution=_execution()))

    return release


def by_synthesize(**options) -> Callable:
    """Means of what `medimg synthesize` makes, by class."""

    def release(data: Path, out: Path, privacy: dict) -> np.ndarray:
        from synthetic.config import SynthesizeConfig
        from synthetic.synthesize import synthesize

        synthesize(data, out, SynthesizeConfig(**options, **privacy))
        synthetic = Dataset.load(out, joins_copies=False)
        return np.concatenate([_means(synthetic, name) for name in CLASSES])

    return release


def weights(run) -> np.ndarray:
    """All of a Run's model."""
    return np.concatenate([np.ravel(w) for w in run.model().get_weights()]).astype(np.float64)


def _means(dataset: Dataset, label: str) -> np.ndarray:
    """Frequency of a class, and its mean columns or likeness to the target's image, nothing where it has none."""
    rows = dataset.manifest[dataset.manifest["label"] == label]
    if dataset.is_table:
        numbers = rows[[f"x{j}" for j in range(NUMBERS)]].astype(float).to_numpy()
        missing, numbers = np.isnan(numbers), np.nan_to_num(numbers)
        categories = (rows[[f"c{j}" for j in range(CATEGORIES)]] == "b").to_numpy(float)
        statistics = np.hstack([numbers, numbers**2, missing, categories])
    else:
        pixels = np.array([read_image(dataset.root / name).ravel() for name in rows["image"]], float)
        likeness = (pixels.reshape(-1, SIZE * SIZE) / WHITE - 0.5) @ (_stripes().ravel() / WHITE - 0.5) / SIZE**2
        statistics = np.stack([likeness, likeness**2], axis=1)
    share = len(rows) / len(dataset.manifest)
    return np.append(statistics.mean(axis=0) * share if share else np.zeros(statistics.shape[1]), share)


_KEPT: list = []


def _execution():
    """TFF's worker is started once."""
    if not _KEPT:
        from federated.tff.execution import Execution

        _KEPT.append(Execution())
    return _KEPT[0]


_SMALL_MLP = {"model": "mlp", "model_arg": {"width": "8", "layers": "1"}, "dropout": 0.5}
# Rates so low that the model hardly moves: the patient's gradient then points the same way in every step.
_STEPS = {"batch_size": 4, "epochs": 6, "optimizer": "sgd", "learning_rate": 1e-3}
_ROUNDS = {"batch_size": 4, "client_optimizer": "sgd", "partition": "site"}
_GAN = {"image_size": SIZE, "channels": 1, "filters": 4, "latent_size": 4}

PATHS = {
    "train, table": PrivatePath(table, by_train(**_SMALL_MLP, **_STEPS), clip=5.0),
    "train, images": PrivatePath(
        images,
        by_train(
            model="baseline_cnn",
            model_arg={"width": "4", "stages": "1"},
            norm="group",
            image_size=SIZE,
            augment="standard",
            dropout=0.5,
            **_STEPS,
        ),
        clip=5.0,
        slow=True,
    ),
    "federate, patient": PrivatePath(
        lambda root, present: table(root, present, sites=2),
        by_federate(**_SMALL_MLP, **_ROUNDS, learning_rate=1e-3, rounds=2),
        clip=5.0,
        options={"dp": "patient"},
        slow=True,
    ),
    "federate, client": PrivatePath(
        table_of_clients,
        by_federate(**{**_SMALL_MLP, "dropout": 0.0}, **_ROUNDS, learning_rate=1.0, rounds=2),
        clip=0.01,
        unit="client",
        options={"dp": "client"},
        slow=True,
    ),
    "synthesize, marginals": PrivatePath(table_of_counts, by_synthesize(model="marginals", count=20000)),
    "synthesize, ctgan": PrivatePath(
        table_of_generators, by_synthesize(model="ctgan", count=1000, batch_size=6, epochs=60), clip=50.0
    ),
    "synthesize, tvae": PrivatePath(
        table_of_generators, by_synthesize(model="tvae", count=1000, batch_size=6, epochs=60), clip=50.0
    ),
    "synthesize, dcgan": PrivatePath(
        lambda root, present: images(root, present, others=16, each=2, rare=16),
        by_synthesize(model="dcgan", count=64, batch_size=8, epochs=60, class_mix="equal", **_GAN),
        clip=50.0,
        slow=True,
    ),
}
