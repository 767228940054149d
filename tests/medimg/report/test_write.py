"""The report of every kind of Run: whole, valid, reachable by keyboard, and of nobody whom a Run protects."""

import json
import os
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from explain.config import ExplainConfig
from explain.explain import explain
from medimg import atomic
from medimg.config import TrainConfig
from medimg.evaluation.config import EvaluateConfig
from medimg.evaluation.evaluate import evaluate
from medimg.privacy.statement import WITHHELD
from medimg.report.answers import parts
from medimg.report.measured import _settled
from medimg.report.missing import is_missing
from medimg.report.page import SECTIONS
from medimg.report.write import write
from medimg.run import Run
from medimg.training.cross_validation import cross_validate
from medimg.training.train import train
from tests.command import medimg
from tests.datasets import write_table

VOID = ("meta", "img", "br", "link", "hr", "source", "input")
QUICK = TrainConfig(model="logistic", epochs=2, batch_size=8)


class Page(HTMLParser):
    """What a reader, a screen reader and a printer find: elements, headings, identifiers, images, tables, text."""

    def __init__(self, html: str):
        super().__init__()
        self.open, self.ids, self.headings, self.images, self.links, self.text = [], [], [], [], [], ""
        self.tables, self.unscoped, self.lang, self.tags = 0, 0, None, []
        self.sections: dict[str, str] = {}
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        known = dict(attrs)
        self.tags.append(tag)
        self.ids += [known["id"]] if "id" in known else []
        self.links += [known[name] for name in ("href", "src") if name in known]
        if tag == "html":
            self.lang = known.get("lang")
        if tag == "img":
            self.images.append(known.get("alt"))
        if tag == "th" and known.get("scope") not in ("row", "col"):
            self.unscoped += 1
        self.tables += tag == "table"
        if re.fullmatch(r"h\d", tag):
            self.headings.append(int(tag[1]))
            if tag == "h2":
                self.sections[known.get("id", "")] = ""
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data
        if self.sections and "h2" not in self.open:
            self.sections[list(self.sections)[-1]] += data


@pytest.fixture(scope="module")
def images(phantom_run, tmp_path_factory) -> Run:
    root = shutil.copytree(phantom_run.root, tmp_path_factory.mktemp("report") / "images")
    run = Run.load(root)
    evaluate(run, EvaluateConfig(bootstrap=100, calibrate="temperature", by="site"))
    return run


@pytest.fixture(scope="module")
def runs(images, small_table, tmp_path_factory) -> dict[str, Run]:
    """An evaluated Run of each kind; those of federation are tried in tests/federated."""
    folder = tmp_path_factory.mktemp("report-tables")
    private = write_table(folder / "protected", n=100)
    made = {
        "images": images,
        "table": train(small_table.root, folder / "table", QUICK),
        "private": train(private.root, folder / "private", replace(QUICK, dp_epsilon=2.0, dp_delta=1e-3)),
    }
    for name in ("table", "private"):
        evaluate(made[name], EvaluateConfig(bootstrap=50))
    cross_validate(small_table.root, folder / "folds", replace(QUICK, folds=2))
    return made | {"folds": Run.load(folder / "folds")}


KINDS = ("images", "table", "private", "folds")


@pytest.mark.parametrize("kind", KINDS)
def test_the_page_is_valid_reachable_and_needs_nothing_else(runs, kind):
    html = write(runs[kind]).read_text(encoding="utf-8")
    page = Page(html)
    assert page.lang == "en"
    assert len(set(page.ids)) == len(page.ids)
    assert set(SECTIONS) <= set(page.ids)
    assert page.headings[0] == 1
    assert page.headings.count(1) == 1
    assert all(later <= before + 1 for before, later in zip(page.headings, page.headings[1:], strict=False))
    assert page.images
    assert all(page.images)
    assert page.tables > 8
    assert page.unscoped == 0
    assert "main" in page.tags
    assert all(link.startswith(("data:image/", "#")) for link in page.links)
    assert {link[1:] for link in page.links if link.startswith("#")} == set(SECTIONS)
    assert not re.search(r"https?://|url\(|@import|<script", html)
    assert len(html) < 5_000_000
    assert "not a medical device" in page.text
    # No empty section: there is data, or a line that says why not.
    for anchor, text in page.sections.items():
        assert len(text.split()) > 4, anchor


@pytest.mark.parametrize("kind", KINDS)
def test_one_structure_is_behind_page_and_card(runs, kind):
    run = runs[kind]
    page = Page(write(run).read_text(encoding="utf-8"))
    report = json.loads((run.root / "report.json").read_text())
    told = {"flow", "discrimination", "threshold", "calibration", "decision_curve", "subgroups", "floors", "shortcuts"}
    assert told | {"explanations", "privacy", "tripod_ai", "claim", "stard_ai"} <= set(report)
    metrics = json.loads((run.root / "metrics.json").read_text())
    assert report["discrimination"]["metrics"] == metrics["metrics"]
    value = f"{metrics['metrics']['auroc']['value']:.3f}"
    assert value in page.text
    assert report["threshold"]["statement"] in page.text
    for name, section in report.items():
        if isinstance(section, dict) and is_missing(section):
            assert section["not_available"].strip(), name
    if kind != "folds":
        card = (run.root / "model_card.md").read_text()
        assert value in card
        # Of two classes nothing is measured over all of them.
        assert "| all" not in card
        assert report["threshold"]["statement"] in card
    # The same files give the same page.
    before = (run.root / "report.html").read_bytes()
    assert write(run).read_bytes() == before


@pytest.mark.parametrize(("key", "items", "rows"), [("tripod_ai", 27, 52), ("claim", 44, 44), ("stard_ai", 40, 48)])
def test_checklists_are_whole_and_each_item_is_answered_or_says_why(runs, key, items, rows):
    write(runs["images"])
    table = json.loads((runs["images"].root / "report.json").read_text())[key]
    assert len(table) == len({one["item"] for one in table}) == rows
    numbers = [int(re.match(r"\d+", one["item"]).group()) for one in table]
    assert numbers == sorted(numbers)
    assert set(numbers) == set(range(1, items + 1))
    assert all(("answer" in one) != ("not_available" in one) for one in table)
    assert sum("answer" in one for one in table) > rows / 3
    told = {one["item"]: one for one in table}
    # What no software can know is never answered.
    for item in {"tripod_ai": ("17", "18a", "19"), "claim": ("11", "44"), "stard_ai": ("6", "38")}[key]:
        assert "not_available" in told[item], item


@pytest.mark.parametrize(
    ("split", "flattered", "saw"), [("test", False, False), ("val", True, True), ("train", False, True)]
)
def test_rows_that_had_a_say_are_told(runs, split, flattered, saw):
    evaluate(runs["table"], EvaluateConfig(bootstrap=0, split=split))
    folder = runs["table"].root
    path = folder if split == "test" else next((folder / "evaluations").glob(f"*-{split}"))
    write(runs["table"], path)
    report = json.loads((path / "report.json").read_text())
    assert report["about"]["split"] == split
    assert ("are flattered" in report["threshold"]["settled"]) == flattered
    assert ("had no part in it" in report["threshold"]["settled"]) != flattered
    blinding = next(one["answer"] for one in report["stard_ai"] if one["item"] == "17a")
    assert ("no label of these rows" in blinding) != saw


@pytest.mark.parametrize("kind", ["table", "folds", "images"])
def test_predictors_are_what_the_model_takes(runs, kind):
    write(runs[kind])
    report = json.loads((runs[kind].root / "report.json").read_text())
    told = next(one["answer"] for one in report["tripod_ai"] if one["item"] == "9a")
    features = [feature.name for feature in runs[kind].dataset().inputs] if kind != "images" else []
    assert told == ("Pixels." if kind == "images" else f"Columns: {', '.join(features)}.")
    # A column that describes patients is none that the model learns from.
    assert "site" not in told


def test_synthetic_rows_are_among_the_parts():
    flow = {"unit": "row", "parts": [{"name": "train", "rows": 9, "patients": 8}]}
    told = parts({"flow": flow, "synthetic": {"rows": 5, "dataset": "made", "fingerprint": "x"}})["answer"]
    assert told == "train 9 rows of 8 patients. 5 synthetic rows of made joined the training part."
    assert "synthetic" not in parts({"flow": flow, "synthetic": {"not_available": "none"}})["answer"]


def test_a_threshold_that_nothing_could_choose_was_given_by_nobody():
    chosen = {"rule": "youden", "value": 0.5, "chosen_on": None, "note": "no validation rows"}
    assert "found nothing to choose by" in _settled("binary", chosen, False)
    assert "Given as a number" in _settled("binary", {**chosen, "rule": "0.5"}, False)


def test_the_flow_counts_what_the_manifest_has(runs):
    write(runs["images"])
    report = json.loads((runs["images"].root / "report.json").read_text())
    dataset = runs["images"].dataset()
    parts = {part["name"]: part for part in report["flow"]["parts"]}
    for split in ("train", "val", "test"):
        rows = dataset.rows(split)
        assert (parts[split]["rows"], parts[split]["patients"]) == (len(rows), rows["patient"].nunique())
        counts = {name: one["count"] for name, one in parts[split]["classes"].items()}
        assert counts == {name: int((rows["label"] == name).sum()) for name in dataset.classes}
    assert report["separation"]["patients_in_two_parts"] == 0
    assert report["separation"]["fingerprint"] == {"trained_on": dataset.fingerprint(), "unchanged": True}
    assert report["calibration"]["method"] == "temperature"
    assert set(report["subgroups"]["columns"]) == {"site"}
    pairs = report["floors"]["of"]
    assert {"thumbnails", "borders"} <= set(pairs)
    for one in pairs.values():
        assert one["auroc"]["low"] <= one["auroc"]["value"] <= one["auroc"]["high"]


def test_what_prepare_left_out_is_counted_by_reason(runs, tmp_path):
    run = runs["table"]
    data = shutil.copytree(run.config["data"], tmp_path / "data")
    reasons = ["row 3: age 'x' is no number", "row 11: age 'y' is no number", "lies outside the class folders"]
    (data / "rejected.csv").write_text("file,reason\n" + "".join(f"{i}.png,{why}\n" for i, why in enumerate(reasons)))
    moved = Run.load(shutil.copytree(run.root, tmp_path / "run"))
    moved.config["data"] = str(data)
    write(moved)
    flow = json.loads((moved.root / "report.json").read_text())["flow"]
    assert {one["count"] for one in flow["left_out"]} == {1, 2}
    assert flow["found"] == flow["kept"]["rows"] + 3


def test_of_a_private_run_nothing_exact_of_its_training_patients_is_told(runs):
    run = runs["private"]
    data = run.dataset()
    html = write(run).read_text(encoding="utf-8")
    report = json.loads((run.root / "report.json").read_text())
    assert [part["name"] for part in report["flow"]["parts"]] == ["val", "test"]
    assert report["flow"]["found"] is None
    assert report["flow"]["kept"] is None
    assert report["flow"]["left_out"] == []
    assert WITHHELD in html
    assert data.fingerprint() not in html + json.dumps(report)
    protected = data.rows("train")
    words = set(re.findall(r"\w+", Page(html).text))
    assert not words & {*protected["patient"], *protected["row"]}
    assert "epsilon" in words
    assert report["privacy"]["events"]


@pytest.mark.slow
def test_mistakes_are_shown_with_their_maps_and_scores_are_read(runs, tmp_path):
    run = Run.load(shutil.copytree(runs["images"].root, tmp_path / "run"))
    write(run)
    report = json.loads((run.root / "report.json").read_text())
    assert report["mistakes"]["wrong"] > 0
    assert is_missing(report["explanations"])
    assert is_missing(report["shortcuts"])
    assert "medimg explain RUN" in report["shortcuts"]["not_available"]
    before = (run.root / "report.html").read_text().count("data:image/jpeg")
    assert before == len(report["mistakes"]["worst"])
    name = report["mistakes"]["worst"][0]["name"]
    folder = run.root / "explanations"
    (folder / "gradcam").mkdir(parents=True)
    np.savez(folder / "gradcam" / "000.npz", heatmap=np.eye(64, dtype=np.float32))
    entry = {"file": str(run.dataset().root / name), "heatmap": "gradcam/000.npz", "predicted": "a", "probability": 0.5}
    atomic.write_json(folder / "explanations.json", {"gradcam": [{**entry, "label": "b"}]})
    score = {"value": 0.71, "low": 0.6, "high": 0.8}
    control = {"random": {"pointing_game": {"value": 0.11, "low": 0.05, "high": 0.2}}}
    atomic.write_json(folder / "scores.json", {"gradcam": {"pointing_game": score, "controls": control}})
    found = {"method": "gradcam", "split": "test", "n": 9, "findings": ["Maps lie on the border."]}
    found |= {"regions": {"border": {"mass": score, "area": 0.2, "ratio": 3.5}}, "mean_map_similarity": 0.3}
    atomic.write_json(folder / "shortcuts.json", found)
    shared = {"r2": score, "shares": dict.fromkeys(("brightness", "texture", "shape"), score), "strongest": {"x": 0.5}}
    of = {"a": shared, "b": {"r2": {"value": 0.1, "low": 0, "high": 0.2}, "not_available": "they foretell too little"}}
    told = {"split": "test", "fitted_on": "val", "n": 50, "patients": 50, "n_fitted": 80, "of": of}
    atomic.write_json(folder / "appearance.json", told)
    page = Page(write(run).read_text())
    report = json.loads((run.root / "report.json").read_text())
    assert page.sections["explanations"].count("0.7100.600–0.800") == 4
    assert "Not available: they foretell too little" in page.sections["explanations"]
    assert report["mistakes"]["worst"][0]["map"] == "gradcam, evidence for a"
    assert len([alt for alt in page.images if alt == "Map of the same image: gradcam, evidence for a"]) == 2
    assert "0.710 [0.600, 0.800]" in page.sections["explanations"]
    assert "0.110 [0.050, 0.200]" in page.sections["explanations"]
    assert "Maps lie on the border." in page.sections["shortcuts"]
    # No finding is no proof, and of flat maps there is none.
    for n, words in ((9, "no proof that there is none"), (0, "nothing can be said of where they lie")):
        atomic.write_json(folder / "shortcuts.json", {**found, "n": n, "findings": []})
        assert words in Page(write(run).read_text()).sections["shortcuts"]


@pytest.mark.slow
def test_explain_draws_the_mistakes_that_the_report_shows(runs, tmp_path):
    run = Run.load(shutil.copytree(runs["images"].root, tmp_path / "run"))
    quick = ExplainConfig(count=2, mistakes=3, score_count=0, appearance_count=0)
    drawn = explain(run, quick)["images"]["gradcam"]
    assert len({one["file"] for one in drawn}) == len(drawn)
    write(run)
    worst = json.loads((run.root / "report.json").read_text())["mistakes"]["worst"]
    assert len(worst) > 2
    assert [one["map"] for one in worst[:3]] == ["gradcam, evidence for opacity"] * 3
    assert len(explain(run, replace(quick, mistakes=0))["images"]["gradcam"]) == 2
    # Of another part nothing was evaluated.
    assert len(explain(run, replace(quick, split="val"))["images"]["gradcam"]) == 2


def test_a_run_whose_dataset_is_gone_still_has_its_report(runs, tmp_path):
    run = Run.load(shutil.copytree(runs["images"].root, tmp_path / "run"))
    run.config["data"] = str(tmp_path / "nowhere")
    atomic.write_json(
        run.root / "metrics.json", _without(run, "data", "decision_curve", "npv", "thumbnails", "borders")
    )
    page = Page(write(run).read_text())
    assert "is not at" in page.sections["separation"]
    assert "earlier version" in page.sections["decision_curve"]
    assert not any(link.startswith("data:image/jpeg") for link in page.links)


def _without(run: Run, *names: str) -> dict:
    metrics = json.loads((run.root / "metrics.json").read_text())
    return {key: value for key, value in metrics.items() if key not in names}


def test_the_command_writes_it_anew_and_refuses_a_run_without_evaluation(runs, tmp_path):
    run = Run.load(shutil.copytree(runs["table"].root, tmp_path / "run"))
    for name in ("report.html", "report.json", "model_card.md"):
        (run.root / name).unlink(missing_ok=True)
    told = medimg("report", run.root)
    assert told.exit_code == 0, told.output
    assert {"report.html", "report.json", "model_card.md"} <= {path.name for path in run.root.iterdir()}
    (run.root / "metrics.json").unlink()
    told = medimg("report", run.root)
    assert told.exit_code == 2
    assert "has not been evaluated" in told.output


def test_pdf_is_printed_or_refused_in_one_line(runs, tmp_path, monkeypatch):
    run = Run.load(shutil.copytree(runs["table"].root, tmp_path / "run"))
    if shutil.which("chromium"):
        assert medimg("report", run.root, "--pdf").exit_code == 0
        assert (run.root / "report.pdf").read_bytes().startswith(b"%PDF")
    monkeypatch.setenv("PATH", str(tmp_path))
    told = medimg("report", run.root, "--pdf")
    assert told.exit_code == 2
    assert "neither Chromium nor WeasyPrint" in told.output


# Run by Node in the folder that MEDIMG_AXE names, where axe-core and playwright-core are.
AXE = """
const { chromium } = require('playwright-core');
const axe = require('fs').readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');
(async () => {
  const browser = await chromium.launch({ executablePath: process.argv[1], args: ['--no-sandbox'] });
  const found = [];
  const looks = [[1280, 'light'], [1280, 'dark'], [390, 'light'], [390, 'dark']];
  for (const file of process.argv.slice(2)) for (const [width, colorScheme] of looks) {
    const page = await (await browser.newContext({ viewport: { width, height: 900 }, colorScheme })).newPage();
    await page.goto('file://' + file);
    const over = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
    if (over > 0) found.push(`${file} ${width}: ${over} px wider than the window`);
    await page.evaluate(axe);
    const { violations } = await page.evaluate(() => axe.run());
    for (const v of violations) if (['serious', 'critical'].includes(v.impact)) found.push(`${file} ${width} ${v.id}`);
  }
  await browser.close();
  console.log(JSON.stringify(found));
})();
"""


@pytest.mark.slow
def test_axe_finds_nothing_serious(runs):
    folder, browser = os.environ.get("MEDIMG_AXE"), shutil.which("chromium")
    if not folder or not browser or not shutil.which("node"):
        pytest.skip("needs Chromium, Node, and MEDIMG_AXE: a folder after 'npm i axe-core playwright-core'")
    pages = [str(write(runs[kind]).resolve()) for kind in KINDS]
    words = ["node", "-e", AXE, browser, *pages]
    done = subprocess.run(words, cwd=Path(folder), capture_output=True, text=True, timeout=300, check=True)
    assert json.loads(done.stdout) == []
