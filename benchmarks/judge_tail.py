"""The judge's tail: honest rows that it suspects, and near copies that it finds, by how much they were changed.

Real patients of no part stand for synthetic ones: every verdict but "share" is a false alarm. Then 5% near copies, and
3 and 1 in all, are put among them. `SPLITS=N` and `SETS="cleveland ward"` shorten it.
"""

import os
import tempfile
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from benchmarks.material import table
from medimg.config import PrepareConfig
from medimg.data.dataset import Dataset
from medimg.data.imaging import write_png
from medimg.preparation.prepare import prepare
from synthetic.judge import tail, tail_parts, thumbnails
from synthetic.judge.config import JudgeConfig
from synthetic.judge.copies import row_keys
from synthetic.judge.judge import measures
from synthetic.judge.rows import load
from synthetic.judge.tail_findings import tail_findings
from synthetic.judge.verdict import judge
from tests.synthetic.judge.conftest import as_real, as_synthetic, mixed_rows, off_by_one

DATA = Path(os.environ.get("MEDIMG_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
SPLITS = int(os.environ.get("SPLITS", "20"))
SETS = os.environ.get("SETS", "cleveland heart ward pneumonia").split()
QUICK = JudgeConfig(train_with=("logistic-regression", "k-nn"), features="dct", bootstrap=200, most_rows=1000)
HEART = ("age", "trestbps", "chol", "thalach", "oldpeak", "ca")
WARD = tuple(f"lab{number}" for number in range(12))


def whole(name: str, root: Path) -> tuple[Dataset, tuple[str, ...]]:
    """All distinct patients, and the columns of numbers that near copies change, in this order."""
    if name == "ward":
        return as_real(mixed_rows(700, 5), root / name, (400, 0, 300)), WARD
    kind, path = ("medmnist", DATA / "medmnist" / "pneumoniamnist.npz")
    config = PrepareConfig(on_duplicates="drop")
    if name == "pneumonia":
        return prepare(kind, path, root / name, config), ()
    heart = prepare("heart", DATA / "heart_disease", root / name, PrepareConfig())
    rows = heart.manifest
    if name == "cleveland":
        rows = rows[rows["site"] == "cleveland"]
    distinct = ~pd.Series(list(row_keys(rows, heart.inputs))).duplicated().to_numpy()
    return _with(heart, rows[distinct], root / f"{name}-distinct"), HEART


def _with(dataset: Dataset, rows: pd.DataFrame, root: Path) -> Dataset:
    from dataclasses import replace

    root.mkdir(parents=True)
    if not dataset.is_table:
        (root / "images").symlink_to(dataset.root / "images")
    replace(dataset, root=root, manifest=rows.reset_index(drop=True)).save()
    return Dataset.load(root)


def dealt(dataset: Dataset, root: Path, seed: int) -> tuple[Dataset, pd.DataFrame]:
    """40% train, 30% test, and rows of nobody in either, dealt by seed."""
    draw = np.random.default_rng(seed)
    rows = dataset.manifest.iloc[draw.permutation(len(dataset.manifest))]
    first, second = int(0.4 * len(rows)), int(0.7 * len(rows))
    split = np.repeat(["train", "test"], [first, second - first])
    return _with(dataset, rows.iloc[:second].assign(split=split), root), rows.iloc[second:]


def imitation(real: Dataset, rows: pd.DataFrame, pictures: list | None, root: Path) -> Dataset:
    if real.is_table:
        return as_synthetic(real, rows, root)
    names = [f"made-{number:05d}.png" for number in range(len(rows))]
    for name, picture in zip(names, pictures, strict=True):
        write_png(root / name, picture)
    manifest = pd.DataFrame({"image": names, "label": rows["label"].to_numpy(), "patient": names})
    manifest = manifest.assign(site="", split="train")
    return _saved(real, manifest, root)


def _saved(real: Dataset, manifest: pd.DataFrame, root: Path) -> Dataset:
    from dataclasses import replace

    replace(real, root=root, manifest=manifest, preparation={"synthetic": True}).save()
    return Dataset.load(root)


def pixels(real: Dataset, rows: pd.DataFrame) -> list[np.ndarray]:
    return [cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in real.paths(rows)]


def false_alarms(dataset: Dataset, root: Path) -> list:
    """How often privacy, and the whole verdict, are other than they should be."""
    alarms, verdicts, reasons = 0, 0, []
    for seed in range(SPLITS):
        real, rest = dealt(dataset, root / f"real{seed}", seed)
        pictures = None if real.is_table else pixels(dataset, rest)
        synthetic = imitation(real, rest, pictures, root / f"made{seed}")
        judgement = judge(measures(load(synthetic.root, real.root), QUICK)[0], "none")
        alarms += judgement["grades"]["privacy"] != "pass"
        verdicts += judgement["verdict"] != "share"
        reasons += judgement["reasons"][:1] if judgement["verdict"] != "share" else []
    print(*reasons, sep="\n")
    return [f"{alarms} of {SPLITS}", f"{verdicts} of {SPLITS}"]


def changes(columns: tuple[str, ...], spread: pd.Series) -> dict:
    """Name -> what makes near copies of rows, from a seed."""

    def noisy(share):
        def change(rows, seed):
            draw, rows = np.random.default_rng(seed), rows.copy()
            for name in columns:
                moved = rows[name] + draw.normal(0, share * spread[name], len(rows))
                # Vessels are counted in whole numbers.
                rows[name] = moved.round() if name == "ca" else moved
            return rows

        return change

    makers = {"none": lambda rows, seed: rows}
    for count in (2, 4, 6, 8):
        if count <= len(columns):
            changed = columns[:count]
            makers[f"±1 in {count}"] = lambda rows, seed, c=changed: off_by_one(rows, c, seed)
    return {**makers, "1%": noisy(0.01), "5%": noisy(0.05), "10%": noisy(0.1)}


def image_changes() -> dict:
    def noise(levels):
        def change(image, draw):
            return np.clip(image + draw.normal(0, levels, image.shape), 0, 255).astype(np.uint8)

        return change

    def jpeg(image, draw):
        return cv2.imdecode(cv2.imencode(".jpg", image, [1, 40])[1], cv2.IMREAD_GRAYSCALE)

    return {
        "none": lambda image, draw: image,
        **{f"noise {levels}": noise(levels) for levels in (2, 5, 10, 20)},
        "JPEG 40": jpeg,
        "brighter": lambda image, draw: (image * 0.9 + 20).astype(np.uint8),
        "mirrored": lambda image, draw: image[:, ::-1].copy(),
        "moved 1 px": lambda image, draw: np.roll(image, 1, 1),
    }


def detected(dataset: Dataset, columns: tuple[str, ...], root: Path, count: float, splits: int):
    """Kind of change -> [share of near copies called so, grades of privacy's tail]."""
    kinds = changes(columns, dataset.manifest[list(columns)].std()) if dataset.is_table else image_changes()
    for number, (name, change) in enumerate(kinds.items()):
        shares_called, grades = [], []
        for seed in range(splits):
            place = root / f"{number}-{seed}-{count}"
            real, rest = dealt(dataset, place / "real", seed)
            copied = max(1, round(count * len(rest))) if count < 1 else int(count)
            victims = real.rows("train").iloc[:copied]
            pictures, rows = None, pd.concat([victims, rest.iloc[copied:]])
            if real.is_table:
                rows = pd.concat([change(victims, seed), rest.iloc[copied:]])
            else:
                draw = np.random.default_rng(seed)
                near = [change(image, draw) for image in pixels(dataset, victims)]
                pictures = near + pixels(dataset, rest.iloc[copied:])
            subject = load(imitation(real, rows, pictures, place / "made").root, real.root)
            tail_measures = tail.measure(_parts(subject))
            count_called = tail_measures["near"]["count"] + tail_measures.get("equal", {"count": 0})["count"]
            shares_called.append(min(1.0, count_called / copied))
            worst = {finding.grade for finding in tail_findings(tail_measures, not real.is_table)}
            grades.append(next((g for g in ("fail", "care") if g in worst), "pass"))
        shares = [f"{grades.count(grade)}" for grade in ("fail", "care", "pass")]
        yield name, [f"{100 * np.mean(shares_called):.0f}%", *shares]


def _parts(subject):
    if subject.real.is_table:
        return tail_parts.of_table(subject, 0)
    positions = tail_parts.some(len(subject.train), 0)
    small = thumbnails.load(subject, 28, 1, positions, lambda *done: None)
    return tail_parts.of_images(subject, small, 0)


def main() -> None:
    alarms, detections = [], []
    for name in SETS:
        with tempfile.TemporaryDirectory() as folder:
            dataset, columns = whole(name, Path(folder))
            print(name, len(dataset.manifest), flush=True)
            splits = max(3, SPLITS // 4)
            for count, words in ((0.05, "5%"), (3, "3"), (1, "1")):
                for kind, cells in detected(dataset, columns, Path(folder), count, splits):
                    detections.append([name, words, kind, *cells])
                    print(*detections[-1], flush=True)
            alarms.append([name, *false_alarms(dataset, Path(folder) / "alarms")])
            print(*alarms[-1], flush=True)
    print("Honest rows suspected:")
    table(["set", "privacy", "any part"], alarms)
    print("Near copies:")
    table(["set", "copied", "changed", "called", "do-not-share", "with care", "passed"], detections)


if __name__ == "__main__":
    main()
