"""What random command lines name: small Datasets and Runs, and files and folders that are broken in every way."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class World:
    """What command lines name.

    Attributes:
        root: a folder for all of it.
        right: kind of thing -> a good one: `images`, `tables`, `run`, `table run`, `federated run`, `films`, `csv`.
        wrong: paths of all kinds that are nothing good.
    """

    root: Path
    right: dict[str, str]
    wrong: tuple[str, ...]


def made(root: Path) -> World:
    """Small Datasets, Runs of them, and what is broken."""
    from federated.config import FederateConfig
    from federated.federate import federate
    from medimg.config import PrepareConfig, TrainConfig
    from medimg.evaluation.config import EvaluateConfig
    from medimg.evaluation.evaluate import evaluate
    from medimg.phantom.config import PhantomConfig
    from medimg.preparation.prepare import prepare
    from medimg.training.train import train
    from synthetic.config import SynthesizeConfig
    from synthetic.synthesize import synthesize

    drawing = PhantomConfig(patients=60, phantom_size=32, opacity_size=0.2, images_per_patient=1)
    images = prepare("phantom", None, root / "images", PrepareConfig(), drawing).root
    draw = random.Random(0)
    ages = [(draw.randrange(2), draw.gauss(60, 10), draw.choice("abc")) for _ in range(120)]
    cells = "".join(f"{label},p{i},{age + 9 * label:.1f},{pain}\n" for i, (label, age, pain) in enumerate(ages))
    (root / "rows.csv").write_text("label,patient,age,pain\n" + cells)
    rows = prepare("table", root / "rows.csv", root / "tables", PrepareConfig()).root
    small = {"image_size": 32, "model_arg": {"width": "4", "stages": "2"}}
    evaluate(train(images, root / "run", TrainConfig(**small, epochs=1)), EvaluateConfig(bootstrap=20))
    evaluate(train(rows, root / "table run", TrainConfig(model="mlp", epochs=1)), EvaluateConfig(bootstrap=20))
    config = FederateConfig(**small, rounds=1, comparison=False, partition="iid", clients=2)
    evaluate(federate(images, root / "federated run", config), EvaluateConfig(bootstrap=20))
    films = root / "films"
    for number, file in enumerate(sorted((images / "images").iterdir())[:24]):
        folder = films / ("normal", "pneumonia")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / file.name).write_bytes(file.read_bytes())
    synthesize(rows, root / "synthetic", SynthesizeConfig(model="marginals"))
    names = ("images", "tables", "run", "table run", "federated run", "films", "synthetic")
    right = {name: str(root / name) for name in names}
    right |= {"csv": str(root / "rows.csv"), "yaml": str(_written(root / "good.yaml", b"seed: 1\n"))}
    return World(root, right, tuple(map(str, _broken(root))))


def _broken(root: Path) -> Iterator[Path]:
    yield from (Path("nowhere"), root / "no" / "where", Path("/dev/null"), root / "run" / "model.keras" / "x")
    for name in ("folder.csv", "folder.npz", "folder.yaml", "empty"):
        (root / name).mkdir()
        yield root / name
    model = (root / "run" / "model.keras").read_bytes()
    yield _written(root / "truncated.keras", model[: len(model) // 2])
    yield _written(root / "truncated.npz", model[:100])
    yield _written(root / "truncated.csv", (root / "rows.csv").read_bytes()[:-3] + b'"')
    yield _written(root / "bytes.csv", bytes(range(256)) * 4)
    yield _written(root / "header.csv", b"label,image\n")
    yield _written(root / "empty.png", b"")
    yield _written(root / "broken.yaml", b"a: [\n\t- }")
    yield _written(root / "list.yaml", b"- 1\n- 2\n")
    yield _written(root / "strange.yaml", b"epochs: {a: [1, {}]}\nseed: 1e999\n")
    secret = _written(root / "unreadable.csv", b"label\n")
    secret.chmod(0)
    yield secret
    # Whole folders with one file that is broken.
    for name, file, content in (
        ("images", "dataset.yaml", b"name: [\n"),
        ("images", "manifest.csv", b"image,label\n"),
        ("run", "config.yaml", b"options: 3\n"),
        ("run", "model.json", b"{"),
        ("table run", "model.keras", b"PK\x03\x04"),
        ("federated run", "audit.jsonl", b"{}\n"),
    ):
        copy = root / f"{name} with broken {file}"
        copy.mkdir()
        for path in (root / name).iterdir():
            (copy / path.name).symlink_to(path)
        (copy / file).unlink()
        (copy / file).write_bytes(content)
        yield copy


def _written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path
