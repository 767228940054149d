"""Mistakes, explanations, their scores and shortcuts: what `explain` has left in the Run, beside the images."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from medimg.comparison.reading import Evaluated
from medimg.data.dataset import Dataset
from medimg.errors import InputError
from medimg.report import pictures
from medimg.report.missing import is_missing, missing
from medimg.run import Run
from medimg.style.pages import inlined
from medimg.untrusted.arrays import read_arrays
from medimg.untrusted.inside import Folder, lies_in
from medimg.untrusted.json_file import parse_json, text_of
from medimg.untrusted.printable import printable

_MOST_EXAMPLES = 8
_NOTHING = {"picture": None, "overlay": None}
# Rows of scores.json, in the order of a table, and what is better.
SCORES = {
    "pointing_game": ("Pointing game", "share of maps whose maximum hits the finding; higher is better"),
    "energy_in_box": ("Energy in the finding", "share of the map that lies in it; higher is better"),
    "iou": ("Overlap (IoU)", "with the finding, at a threshold of validation; higher is better"),
    "deletion": ("Deletion AUC", "probability as the strongest pixels go; lower is better"),
    "insertion": ("Insertion AUC", "probability as the strongest pixels come; higher is better"),
    "faithfulness": ("Faithfulness", "correlation of map and effect of removal; higher is better"),
    "randomisation": ("Randomisation", "likeness to the map of a model of random weights; lower is better"),
    "stability": ("Stability", "likeness of maps under small noise; higher is better"),
    "agreement": ("Agreement", "likeness to the other methods' maps"),
}


def mistakes(evaluated: Evaluated, measured: Dataset | None, maps: dict[str, tuple[str, Path]]) -> dict:
    """`mistakes` of report.json: how many of each kind, and the worst ones.

    Args:
        evaluated: the rows and what the model said of them.
        measured: the Dataset that was evaluated; None: it is not here.
        maps: of `maps_of`.
    """
    predictions = evaluated.predictions
    wrong = int((predictions.truth != predictions.decisions).any(axis=1).sum())
    if not wrong:
        return {"wrong": 0, "n": len(predictions), "worst": []}
    worst = []
    for one in evaluated.worst():
        name = evaluated.rows[evaluated.unit].iloc[one.row]
        path = str(measured.root / name) if measured is not None and evaluated.unit == "image" else ""
        entry = {key: getattr(one, key) for key in ("label", "predicted", "probability", "truth_probability")}
        worst.append(
            {"name": str(name), **entry, "kind": _kind(one.label, predictions), "map": maps.get(path, [None])[0]}
        )
    return {"wrong": wrong, "n": len(predictions), "worst": worst}


def _kind(label: str, predictions) -> str:
    if predictions.task != "binary":
        return "wrong class" if predictions.task == "multiclass" else "wrong label"
    return "false negative" if label == predictions.positive else "false positive"


def mistake_pictures(content: dict, measured: Dataset | None, maps: dict[str, tuple[str, Path]]) -> list[dict]:
    """`picture` and `overlay` (None without a map) of each of the worst mistakes; empty where there are no images."""
    if measured is None or measured.is_table:
        return []
    folder = Folder(measured.root)
    # By a table that may be a stranger's.
    named = [(measured.root / one["name"], folder.outside(one["name"])) for one in content["worst"]]
    return [_NOTHING if why else _pair(path, maps) for path, why in named]


def _pair(path: Path, maps: dict[str, tuple[str, Path]]) -> dict:
    try:
        picture = pictures.shrunk(path)
    except InputError:
        return _NOTHING
    heat = maps.get(str(path))
    over = None if heat is None else pictures.encoded(pictures.overlaid(picture, _heat(heat[1])))
    return {"picture": pictures.encoded(picture), "overlay": over}


def _heat(path: Path) -> np.ndarray:
    try:
        return read_arrays(path, ["heatmap"])["heatmap"]
    except ValueError as error:
        raise InputError(f"{path}: not readable as a heat map ({printable(error)}); explain the Run again") from error


def maps_of(run: Run) -> dict[str, tuple[str, Path]]:
    """Image file -> what its map is and its npz, of every image that was explained; of several methods the first."""
    maps: dict[str, tuple[str, Path]] = {}
    for path, listed in _read(run, "explanations.json"):
        for method, images in listed.items():
            for one in images:
                heat = _beside(path, one, "heatmap")
                if heat is not None:
                    maps.setdefault(str(one["file"]), (_words(method, one), heat))
    return maps


def _words(method: str, one: dict) -> str:
    """Which method, and of which class: as `explain` chooses it, the positive one, without one the predicted."""
    of = one.get("positive_class") or one.get("predicted")
    return f"{method}, evidence for {of}" if of else method


def _beside(path: Path, one: dict, name: str) -> Path | None:
    """The file of a name in an explanation's own folder; None where there is none, or it is said to be elsewhere."""
    file = str(one.get(name, ""))
    return None if Folder(path.parent).outside(file) or not (path.parent / file).is_file() else path.parent / file


def examples(run: Run, datasets: Iterable[Dataset | None]) -> list[dict]:
    """Explained images of the first method, as pictures with label, prediction and map.

    Args:
        run: the Run, which a stranger may have made, and have named any image of this machine in it.
        datasets: whose images are shown; of others there is the sheet that was drawn as they were explained.
    """
    shown, folders = [], [run.root, *(dataset.root for dataset in datasets if dataset)]
    for path, listed in _read(run, "explanations.json"):
        for method, images in list(listed.items())[:1]:
            for one in images[: _MOST_EXAMPLES - len(shown)]:
                heat, drawn = _beside(path, one, "heatmap"), _beside(path, one, "overlay")
                if heat is not None:
                    if lies_in(Path(one["file"]), folders):
                        pair = _pair(Path(one["file"]), {str(one["file"]): (method, heat)})
                    else:
                        pair = {**_NOTHING, "picture": drawn and inlined(drawn)}
                    shown.append(
                        {**pair, "map": _words(method, one), "name": Path(one["file"]).name, **_answer_of(one)}
                    )
    return [one for one in shown if one["picture"]]


def _answer_of(one: dict) -> dict:
    return {key: one.get(key) for key in ("label", "predicted", "probability")}


def explanations(run: Run, is_table: bool) -> dict:
    """`explanations` of report.json: methods, and their scores beside the controls'."""
    scores: dict[str, dict] = {}
    for name in ("scores.json", "localisation.json"):
        for path, content in _read(run, name):
            for method, measured in content.items():
                one = _scores(measured) if name == "scores.json" else _pointing(measured)
                scores.setdefault(method, {"where": path.parent.relative_to(run.root).as_posix(), **one})
    methods = list(dict.fromkeys(method for _, listed in _read(run, "explanations.json") for method in listed))
    if not methods and not scores:
        return missing("nothing was explained; 'medimg explain RUN' draws maps and scores them")
    why = "explanations of tables are not scored" if is_table else "no scores; 'medimg explain RUN' makes them"
    result = {"methods": methods, "scores": scores or missing(why)}
    return result if is_table else {**result, "appearance": appearance(run)}


def appearance(run: Run) -> dict:
    """What of the answers goes with brightness, texture and shape, of each split that was explained."""
    shared = [content for _, content in _read(run, "appearance.json")]
    return {"of": shared} if shared else missing("nobody has asked; 'medimg explain RUN' does")


def _scores(measured: dict) -> dict:
    controls = measured.get("controls") or {}
    return {
        "scores": {name: one for name, one in measured.items() if name != "controls" and _has_value(one)},
        "controls": {name: {k: v for k, v in one.items() if _has_value(v)} for name, one in controls.items()},
        "warnings": measured.get("warnings", []),
    }


def _has_value(one: object) -> bool:
    return isinstance(one, dict) and one.get("value") is not None


def _pointing(measured: dict) -> dict:
    """Of before there were scores: the pointing game alone, its controls without intervals."""
    controls = {name: {"pointing_game": {"value": measured[name]}} for name in ("random", "centre") if name in measured}
    return {"scores": {"pointing_game": measured["hit_rate"]}, "controls": controls, "warnings": []}


def shortcuts(run: Run, is_table: bool) -> dict:
    """`shortcuts` of report.json: where maps lie, and what speaks for a shortcut."""
    reports = [{**content, "regions": _regions(content)} for _, content in _read(run, "shortcuts.json")]
    if is_table:
        return missing("shortcuts are looked for in maps of images")
    if not reports:
        return missing("nobody has looked where the maps lie; 'medimg explain RUN' does")
    return {"of": reports}


def _regions(content: dict) -> dict:
    """Regions that an image has, their mass over their area with an interval where there is one."""
    regions = {name.replace("_", " "): one for name, one in content.get("regions", {}).items() if one}
    ratios = {
        name: one["ratio"] if isinstance(one["ratio"], dict) else {"value": one["ratio"]}
        for name, one in regions.items()
    }
    return {name: {**one, "ratio": ratios[name]} for name, one in regions.items()}


def class_means(run: Run) -> list[Path]:
    """Figures of the mean image and mean map of each class."""
    return sorted((run.root / "explanations").rglob("class_means.png"))[:1]


def _read(run: Run, name: str) -> Iterator[tuple[Path, dict]]:
    """Files of a name in the Run's explanations, the default ones first; what can't be read is no result."""
    for path in sorted((run.root / "explanations").rglob(name), key=lambda path: (len(path.parts), path)):
        try:
            content = parse_json(text_of(path))
        except ValueError:
            continue
        if isinstance(content, dict) and not is_missing(content):
            yield path, content
