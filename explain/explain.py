"""explain(): maps of a Run's images, drawn, kept as numbers, and judged where the findings are known.

What explains a table is in `explain.table`.
"""

import dataclasses
from collections.abc import Callable
from itertools import groupby
from pathlib import Path

from explain.config import ExplainConfig
from explain.explainer import DEFAULT, Explainer
from explain.methods.catalogue import require_known
from explain.scored import maps_to_score, score
from explain.selection import classes_in_turn, mistaken, split_rows
from medimg import atomic
from medimg.data.dataset import Dataset
from medimg.errors import InputError
from medimg.evaluation.places import beside
from medimg.lock import writes
from medimg.options import of_data
from medimg.prediction.inputs import Image, dicom_images, holds_dicom
from medimg.privacy.release import require_unprotected
from medimg.run import Run
from medimg.sources.dicom_files import find
from medimg.sources.dicom_images import Look
from medimg.untrusted.json_file import read_json

# Of a folder of explanations: what was asked.
_OPTIONS = "options.json"


@writes("run")
def explain(run: Run, config: ExplainConfig, progress: Callable[[int, int], None] | None = None) -> dict:
    """Write `RUN/explanations/NAME/<method>/`: a PNG and an npz per image and a contact sheet.

    NAME is the split, `image-...` of files, or either with its options where another is there already
    (`medimg.evaluation.places`). Of a binary model the maps show evidence for the positive class, otherwise for the
    class that is predicted. Of a split the methods are scored, and the first one's maps looked at for shortcuts
    (`explain.scored`); the answers are shared out to brightness, texture and shape (`explain.appearance`). A Run of a
    table: see `explain.table`.

    Returns:
        `folder`: where it is; `images`: per method the explained images; `scores`: per method; `shortcuts`;
        `appearance`. Of a table `rows`: per method the explained rows.

    Raises:
        InputError: an unknown method, an image that can't be read, an empty split.
    """
    require_known(config.method)
    is_table = "preprocessing" in run.description()
    config.require_effect(of_data(is_table))
    run = run.with_data_at(config.data)
    if is_table:
        from explain.table import explain_table

        folder = _folder(run, config)
        result = explain_table(run, config, folder, progress)
        atomic.write_json(folder / _OPTIONS, _identity(config))
        _update(folder / "explanations.json", result["rows"])
        return {**result, "folder": folder}
    return _explain_images(run, dataclasses.replace(config, method=config.method or DEFAULT), progress)


def _explain_images(run: Run, config: ExplainConfig, progress) -> dict:
    explainer = Explainer(run, config)
    if config.image and explainer.columns:
        names = ", ".join(explainer.columns.inputs)
        raise InputError(f"--image: the model takes {names} beside pixels, which a file has not; explain a --split")
    if not config.image:
        require_unprotected(run.config["options"], config.split)
    dataset = None if config.image else run.dataset()
    subjects = _files(config, explainer.reader.look) if dataset is None else _rows(run, dataset, config)
    root, done = _folder(run, config), 0

    def step(maps: int) -> None:
        nonlocal done
        done += maps
        if progress:
            progress(done, max(total, done))

    total = len(config.method) * len(subjects) * (1 + len(explainer.members))
    explainer.step = step
    result: dict = {"images": {}, "scores": {}, "shortcuts": {}}
    for method in config.method:
        for ending, explaining in (("", explainer), *explainer.each_member()):
            folder = root / (method.replace("+", "p") + ending)
            result["images"][method + ending] = explaining.draw_all(method, subjects, dataset, folder)
    atomic.write_json(root / _OPTIONS, _identity(config))
    _update(root / "explanations.json", result["images"])
    if dataset is not None and config.score_count:
        total, done = maps_to_score(dataset, config), 0
        result |= score(explainer, dataset, config, root)
        _update(root / "scores.json", result["scores"])
        atomic.write_json(root / "shortcuts.json", result["shortcuts"])
    if dataset is not None and config.appearance_count:
        from explain.appearance.split import appearance

        result["appearance"] = appearance(explainer, dataset, config.split, config.appearance_count, config.seed)
        atomic.write_json(root / "appearance.json", result["appearance"])
    return {**result, "folder": root}


def _folder(run: Run, config: ExplainConfig) -> Path:
    """Where explanations are written, each method in a folder of its own; those of other options stay."""
    name = f"image-{Path(config.image[0]).stem}" if config.image else config.split
    return beside(run.root / "explanations", name, _identity(config), _recorded)


def _identity(config: ExplainConfig) -> dict:
    """What decides a folder's content; each method has a folder in it."""
    neutral = ("image", "split", "method", "data", "max_megapixels", "masks")
    options = {key: value for key, value in config.given().items() if key not in neutral}
    return {"images": list(config.image), "split": config.split, "options": options}


def _recorded(folder: Path) -> dict | None:
    if (folder / _OPTIONS).is_file():
        return read_json(folder / _OPTIONS)
    return {} if (folder / "explanations.json").is_file() else None


def _files(config: ExplainConfig, look: Look) -> list[dict]:
    images: list[Image] = []
    for are_dicom, group in groupby(map(Path, config.image), holds_dicom):
        if are_dicom:
            images += dicom_images([file for path in group for file in find(path)[0]], look)
        else:
            images += [Image(str(path), path) for path in group]
    for image in images:
        if image.why:
            raise InputError(f"{image.name}: {image.why}")
    return [{"path": Path(image.name), "label": "", "row": None, "read": image} for image in images]


def _rows(run: Run, dataset: Dataset, config: ExplainConfig) -> list[dict]:
    rows = split_rows(dataset, config.split)
    explained = classes_in_turn(rows, config.count, config.seed)
    wrong = mistaken(run, rows.drop(explained.index), config.mistakes)
    explained = rows.loc[[*explained.index, *wrong.index]]
    paths = dataset.paths(explained)
    return [
        {"path": path, "label": row["label"], "row": row, "read": Image(str(path), path, True)}
        for path, (_, row) in zip(paths, explained.iterrows(), strict=True)
    ]


def _update(path: Path, content: dict) -> None:
    """Replace the methods in `content`, keep the others'."""
    entries = read_json(path) if path.is_file() else {}
    atomic.write_json(path, {**entries, **content})
