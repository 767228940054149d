"""What was measured, as the report's sections: all of it is in metrics.json."""

from medimg.data.positive import positive_class
from medimg.evaluation import floor
from medimg.evaluation.clinical_use import useful
from medimg.evaluation.metrics import METRIC_NAMES, METRICS
from medimg.evaluation.operating_point import threshold_statement
from medimg.evaluation.own_threshold import RULE
from medimg.evaluation.pixel_floors import SEEN
from medimg.evaluation.recalibration import calibration_words
from medimg.evaluation.thresholds import parse_rule
from medimg.report.missing import missing

_AGAIN = "measured by an earlier version; 'medimg evaluate RUN' measures it"
# Parts whose rows a threshold is chosen on.
_CHOOSING = ("val", "all")
_LIES_IN = {"thumbnails": "brightness, colour or coarse shape", "borders": "what lies at the edge"}
_MULTICLASS_BALANCED = ("Balanced accuracy", "mean sensitivity over classes")


def metric_names(task: str) -> dict[str, tuple[str, str]]:
    """Title and meaning of each metric, in their order."""
    names = dict(METRIC_NAMES)
    if task == "multiclass":
        names["balanced_accuracy"] = _MULTICLASS_BALANCED
    return {name: names[name] for name in METRICS}


def discrimination(metrics: dict) -> dict:
    """`discrimination` of report.json."""
    keys = ("metrics", "per_class", "support", "confusion_matrix", "majority_accuracy", "bootstrap")
    return {name: metrics[name] for name in keys}


def threshold(metrics: dict, own_data: bool) -> dict:
    """`threshold` of report.json: how it was settled, and what the decisions are worth, by class.

    Args:
        metrics: content of metrics.json.
        own_data: the rows are of the Run's own Dataset.
    """
    task, chosen = metrics["task"], metrics["threshold"]
    names = [positive_class(task, metrics["classes"])] if task == "binary" else metrics["classes"]
    npv = metrics.get("npv", {})
    of = {name: metrics["per_class"][name] for name in names}
    return {
        **chosen,
        "statement": threshold_statement(metrics, metrics),
        "settled": _settled(task, chosen, own_data and metrics["split"] in _CHOOSING),
        "classes": {
            name: {
                "sensitivity": one["sensitivity"],
                "specificity": one["specificity"],
                "ppv": one["precision"],
                "npv": npv.get(name),
                "prevalence": metrics["support"][name] / metrics["n"],
            }
            for name, one in of.items()
        },
        "at_prevalence": metrics.get("at_prevalence"),
    }


def _settled(task: str, chosen: dict, had_a_say: bool) -> str:
    """Whether the rows that are measured had a say."""
    if task == "multiclass":
        return "There is no threshold to choose: the most probable class is called."
    applied = "and applied unchanged: the rows measured here had no part in it."
    if had_a_say:
        applied = "which are among the rows measured here: its sensitivity, specificity and the like are flattered."
    if chosen["chosen_on"] == "val":
        return f"Chosen by the rule '{chosen['rule']}' on the rows of the validation part, {applied}"
    if chosen["rule"] == RULE:
        return f"Chosen with the model, before any evaluation, on {chosen['chosen_on']}, {applied}"
    if parse_rule(chosen["rule"]).fixed is None:
        return f"The rule '{chosen['rule']}' found nothing to choose by, so that a usual value stands in its place."
    return (
        f"Given as a number ({chosen['rule']}). That it was settled before these rows were looked at is the word of "
        "whoever gave it; the software can't know."
    )


def calibration(metrics: dict) -> dict:
    """`calibration` of report.json."""
    content = metrics.get("calibration")
    return missing(_AGAIN) if not content else {**content, "statement": calibration_words(content)}


def decision_curve(metrics: dict) -> dict:
    """`decision_curve` of report.json: net benefit by class, and where it leads, in words."""
    curves = metrics.get("decision_curve")
    if curves is None:
        return missing(_AGAIN)
    if not curves:
        return missing("a curve needs rows with and without the class")
    return {"classes": curves, "sentences": [useful(name, curve) for name, curve in curves.items()]}


def subgroups(metrics: dict) -> dict:
    """`subgroups` of report.json: sites, and the groups of `--by`."""
    groups = {
        column: {**one, "measured": one["groups"], "groups": list(one["groups"])}
        for column, one in metrics.get("subgroups", {}).items()
    }
    sites = metrics.get("sites") or {}
    if sites and "site" not in groups:
        groups["site"] = {"measured": sites, "groups": list(sites), "missing": 0, "gap": {}}
    if not groups:
        return missing("no groups were asked for and there is one site; 'medimg evaluate RUN --by sex,age:10' has them")
    return {"columns": groups}


def floors(metrics: dict, is_table: bool) -> dict:
    """`floors` of report.json: what models reach that see next to nothing, beside the model's own AUROC."""
    if is_table:
        return missing("floors are of models of images; 'medimg compare RUN' has scikit-learn baselines of tables")
    names = {"floor": "metadata", "pixels_alone": "pixels alone", **SEEN}
    baselines = {name: {"sees": seen, **metrics[name]} for name, seen in names.items() if name in metrics}
    if not baselines:
        return missing(f"no training part to fit them on, or {_AGAIN}")
    return {"model": metrics["metrics"]["auroc"], "of": baselines, "sentences": _reached(metrics, baselines)}


def _reached(metrics: dict, baselines: dict) -> list[str]:
    sentences = floor.words(metrics)
    for name, one in baselines.items():
        low = one["auroc"]["low"]
        if name in SEEN and low is not None and low > 0.5:
            sentences.append(
                f"{one['sees']} alone tell the classes apart better than chance: {_LIES_IN[name]} tells part of the "
                "label"
            )
    return [sentence[0].upper() + sentence[1:] + "." for sentence in sentences]
