"""Answers to items of checklists: functions from a report's data to `{"answer": ...}` or `{"not_available": why}`."""

from collections.abc import Callable

from medimg.report.missing import is_missing, missing
from medimg.style.words import interval, listed

Answer = Callable[[dict], dict]


def unknown(why: str) -> Answer:
    """Of what no Run can know, and why."""
    return lambda report: missing(why)


def says(words: Callable[[dict], str], why: str = "the Run does not say") -> Answer:
    """Of what a Run knows.

    Args:
        words: from the report to the answer, '' where it has none.
        why: of that.
    """

    def answer(report: dict) -> dict:
        text = words(report)
        return {"answer": text} if text else missing(why)

    return answer


def _of(section: str, words: Callable[[dict], str], why: str = "the Run does not say") -> Answer:
    """Of one section, whose own reason is given where it is missing."""

    def answer(report: dict) -> dict:
        content = report[section]
        return missing(content["not_available"]) if is_missing(content) else says(words, why)(report)

    return answer


def both(*answers: Answer) -> Answer:
    """Several answers to one item; missing where all of them are."""

    def answer(report: dict) -> dict:
        each = [one(report) for one in answers]
        sentences = [one["answer"] for one in each if "answer" in one]
        return {"answer": " ".join(sentences)} if sentences else each[0]

    return answer


def _title(r: dict) -> str:
    a = r["about"]
    positive = f" (positive: {a['positive_class']})" if a["positive_class"] else ""
    kinds = f"{a['task']} classification of {a['what']} into {listed(a['classes'], 12)}{positive}"
    return f"Development and evaluation of a prediction model ({a['model']}): {kinds}, on {a['dataset']}."


def _result(r: dict) -> str:
    a, m = r["about"], r["discrimination"]["metrics"]
    metrics = ", ".join(f"{name} {interval(m[key])}" for key, name in _HEADLINE.items())
    return f"On {a['n']} {a['unit']}s of {a['patients']} patients ({a['split']}): {metrics}; 95% intervals."


_HEADLINE = {"auroc": "AUROC", "sensitivity": "sensitivity", "specificity": "specificity"}


def _source(r: dict) -> str:
    a = r["about"]
    clauses = [f"{a['dataset']}, read as source '{a['source']}'" if a.get("source") else a["dataset"]]
    clauses += [f"licence {a['licence']}"] if a.get("licence") else []
    clauses += [a["citation"].rstrip(".")] if a.get("citation") else []
    return "; ".join(clauses) + "."


def _parts(r: dict) -> str:
    each = [f"{p['name']} {p['rows']} {r['flow']['unit']}s of {p['patients']} patients" for p in r["flow"]["parts"]]
    synthetic = r["synthetic"]
    drawn = ""
    if "rows" in synthetic:
        drawn = f" {synthetic['rows']} synthetic rows of {synthetic['dataset']} joined the training part."
    return "; ".join(each) + f".{drawn}"


def _separated(r: dict) -> str:
    s = r["separation"]
    return f"Parts: {s['how']}; patients in more than one part: {s['patients_in_two_parts']}, counted for this report."


def _excluded(r: dict) -> str:
    left_out = r["flow"].get("left_out") or []
    if r["flow"].get("withheld"):
        return r["flow"]["withheld"][0].upper() + r["flow"]["withheld"][1:] + "."
    people = "Criteria for people are the source's to say."
    if not left_out:
        return f"{people} Nothing that it has was left out."
    return f"{people} Left out: " + "; ".join(f"{one['count']}: {one['reason']}" for one in left_out) + "."


def _unlabelled(r: dict) -> str:
    count = r["flow"]["evaluated"]["unlabelled"]
    options = r["training"]["options"]
    filled = [f"{name} {options[name]}" for name in ("missing", "impute", "missing_indicators") if name in options]
    columns = f" Missing values of columns: {', '.join(filled)}." if filled else ""
    unit = r["about"]["unit"]
    text = f"{count} {unit}s without a label are not measured." if count else f"No {unit} of the part lacks a label."
    return f"{text}{columns}"


def _prevalences(r: dict) -> str:
    clauses = []
    for part in r["flow"]["parts"]:
        shares = ", ".join(f"{name} {one['count']}" for name, one in part["classes"].items())
        clauses.append(f"{part['name']}: {shares}")
    return "; ".join(clauses) + "."


def _preparation(r: dict) -> str:
    options = r["training"]["options"]
    names = ("image_size", "channels", "normalize", "augment", "scale", "encode", "impute", "select")
    # 0: as the images have them.
    settings = {name: options[name] for name in names if name in options and (name, options[name]) != ("channels", 0)}
    return ", ".join(f"{name} {value}" for name, value in settings.items()) + "."


def _inputs(r: dict) -> str:
    names = listed(r["about"]["inputs"], 30)
    if r["about"]["unit"] == "row":
        return f"Columns: {names}." if names else ""
    return "Pixels" + (f", and the columns {names}." if names else ".")


def _model(r: dict) -> str:
    return f"{r['about']['model']}; every option is listed under 'Training and environment'."


def _characteristics(r: dict) -> str:
    names = list(dict.fromkeys(one["name"].partition(":")[0] for one in r["flow"]["characteristics"]))
    return f"By part, under 'Population and flow': {listed(names, 12)}." if names else ""


def _start(r: dict) -> str:
    weights = r["training"]["options"].get("weights")
    return f"Initial weights: {str(weights).rpartition('/')[2]}." if weights else ""


def _fitting(r: dict) -> str:
    options = r["training"]["options"]
    names = (
        "optimizer",
        "learning_rate",
        "batch_size",
        "epochs",
        "patience",
        "augment",
        "balance",
        "strategy",
        "rounds",
    )
    settings = ", ".join(f"{name} {options[name]}" for name in names if name in options)
    return f"{settings}. The command: {r['training']['commands'][0]}"


def _balance(r: dict) -> str:
    how = r["training"]["options"].get("balance", "none")
    return "No method against class imbalance was used." if how == "none" else f"Class imbalance: {how}."


def _voters(r: dict) -> str:
    options = r["training"]["options"]
    if options.get("seeds") or options.get("member"):
        return f"An ensemble; vote: {options.get('vote', 'mean')}."
    if options.get("folds"):
        return f"One model in each of {options['folds']} folds, no ensemble."
    return "One model, no ensemble."


def _measures(r: dict) -> str:
    boot = r["discrimination"]["bootstrap"]
    how = f"{boot['resamples']} bootstrap resamples of {boot['units']} patients, percentile method"
    return (
        "AUROC, AUPRC, accuracy, sensitivity, specificity, predictive values, F1, Brier score; calibration slope, "
        f"intercept and ECE; net benefit. Intervals: {how if boot['resamples'] else 'none'}."
    )


def _groups(r: dict) -> str:
    columns = r["subgroups"]["columns"]
    return f"Measured apart by {listed(columns)}: see 'Subgroups and sites'."


def _sites(r: dict) -> str:
    site = r["subgroups"].get("columns", {}).get("site")
    return f"{len(site['groups'])} sites: {listed(site['groups'], 8)}." if site else ""


def _accuracy(r: dict) -> str:
    sentences = []
    for name, one in list(r["threshold"]["classes"].items())[:1]:
        names = (("sensitivity", "sensitivity"), ("specificity", "specificity"), ("PPV", "ppv"), ("NPV", "npv"))
        sentences.append(f"{name}: " + ", ".join(f"{title} {interval(one[key])}" for title, key in names) + ".")
    return " ".join(sentences)


def _robust(r: dict) -> str:
    return " ".join(r["floors"]["sentences"])


def _elsewhere(r: dict) -> str:
    return "; ".join(f"{one['dataset']}: {one['verdict']}" for one in r["validations"]["of"]) + "."


def _explained(r: dict) -> str:
    return f"Methods: {listed(r['explanations']['methods'], 8)}; see 'Explanations'."


def _software(r: dict) -> str:
    environment = r["training"]["environment"]
    names = ("python", "tensorflow", "numpy", "scikit-learn")
    return f"{r['about']['software']} (Apache-2.0); " + ", ".join(
        f"{name} {environment[name]}" for name in names if name in environment
    )


# Of the Run's own Dataset: what the labels of the rows of a part were for.
_SEEN = {
    "train": "its training was given the labels of these rows",
    "val": "how long it was trained, and its threshold, were chosen by the labels of these rows",
    "all": "its training was given the labels of some of these rows",
}


def _blinded(r: dict) -> str:
    seen = _SEEN.get(r["about"]["split"]) if r["about"]["own"] else None
    return f"The model reads its input alone and answers by itself; {seen or 'it was given no label of these rows'}."


title = says(_title)
blinded = says(_blinded)
abstract = both(says(_title), says(_result))
result = says(_result)
source = says(_source)
parts = _of("flow", _parts)
separated = _of("separation", _separated)
excluded = _of("flow", _excluded)
unlabelled = says(_unlabelled)
prevalences = _of("flow", _prevalences)
preparation = says(_preparation)
inputs = says(_inputs)
outcome = says(lambda r: f"Classes: {listed(r['about']['classes'], 12)}, as the source labels them.")
model = says(_model)
start = says(_start, "the Run does not say which weights it began with")
fitting = says(_fitting)
balance = says(_balance)
voters = says(_voters)
measures = says(_measures)
groups = _of("subgroups", _groups)
sites = says(_sites, "the Dataset names one site or none")
decision = says(lambda r: f"{r['threshold']['statement']} {r['threshold']['settled']}")
accuracy = says(_accuracy)
calibrated = _of("calibration", lambda r: r["calibration"]["statement"])
robust = _of("floors", _robust)
elsewhere = _of("validations", _elsewhere)
explained = _of("explanations", _explained)
mistaken = says(
    lambda r: f"{r['mistakes']['wrong']} of {r['mistakes']['n']} are wrong; the worst are under 'Mistakes'."
)
tabulated = says(lambda r: "The confusion matrix is under 'Discrimination'.")
characteristics = _of("flow", _characteristics, "the Dataset has no column that describes patients")
software = says(_software)
specified = says(
    lambda r: "model.keras and model.json of the Run; 'medimg export' makes a served model that answers new patients."
)
limits = says(lambda r: " ".join(r["use"]["limits"]))
use = says(lambda r: " ".join(r["use"]["intended"]))
updated = _of(
    "calibration",
    lambda r: (
        "The model was not updated."
        if r["calibration"]["method"] == "none"
        else f"{r['calibration']['method']} calibration, fitted on validation. {r['calibration']['statement']}"
    ),
)
broken_inputs = says(
    lambda r: "'medimg predict' lists what can't be read, and has a column of warnings for what is unlike the training."
)
retrospective = says(
    lambda r: "The data were there before the model was; whether they were collected for it, the source must say."
)
stored = says(
    lambda r: (
        "Every prediction is in predictions.csv, every number in metrics.json and report.json, and the environment in "
        "environment.json of the Run."
    )
)
shared = says(lambda r: f"{_source(r)} The code: {r['about']['software']}, Apache-2.0.")
test_size = says(
    lambda r: f"{r['about']['n']} {r['about']['unit']}s of {r['about']['patients']} patients were measured."
)
