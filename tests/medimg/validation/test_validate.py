"""A Run with a model in closed form on hospitals that differ in one known way each."""

import json
import shutil
from dataclasses import replace

import cv2
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from medimg.config import PrepareConfig, TrainConfig
from medimg.data.dataset import Dataset
from medimg.errors import InputError
from medimg.evaluation.config import EvaluateConfig
from medimg.evaluation.evaluate import evaluate
from medimg.evaluation.intervals import cluster_bootstrap
from medimg.evaluation.metrics import OneVsRest
from medimg.preparation.prepare import prepare
from medimg.run import Run
from medimg.training.train import train
from medimg.validation.config import ValidateConfig
from medimg.validation.validate import validate
from medimg.validation.verdict import verdict
from tests.medimg.evaluation.test_evaluate import write_data, write_run

# Right log-odds of `write_data`'s classes: 0.0375 x level - 4.125.
RIGHT = (0.0375 * 255, -4.125)
CONFIG = ValidateConfig(bootstrap=200)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """An evaluated Run that is calibrated at home, and its Dataset with ages and sexes."""
    root = tmp_path_factory.mktemp("home")
    data = replace(grained(with_people(write_data(root / "data", n=800))), modality="chest X-ray")
    run = write_run(root / "run", data, [0.0, RIGHT[0]], [0.0, RIGHT[1]])
    evaluate(run, EvaluateConfig(bootstrap=50))
    return run


def with_people(dataset, older=0.0):
    draw = np.random.default_rng(1)
    n = len(dataset.manifest)
    people = {"age": draw.normal(50 + older, 12, n).round(), "sex": draw.choice(["F", "M"], n)}
    return replace(dataset, manifest=dataset.manifest.assign(**people))


def grained(dataset, change=lambda level: level, seed=0):
    """With grain, by which no two images are the same, and changed grey levels."""
    draw = np.random.default_rng(seed)
    for path in dataset.paths(dataset.manifest):
        level = int(cv2.imread(str(path), cv2.IMREAD_UNCHANGED)[0, 0])
        pixels = np.clip(round(change(level)) + draw.integers(-9, 10, (16, 16)), 0, 255)
        cv2.imwrite(str(path), pixels.astype(np.uint8))
    return dataset


def hospital(root, change=lambda level: level, n=400, older=0.0):
    """Other patients, whose grey levels are changed."""
    grained(with_people(write_data(root, n=n, seed=7), older), change, seed=7).save()
    return root


def shifted(result):
    return {one["name"] for one in result["shift"] if one["shifted"]}


def test_on_its_own_test_part_no_shift_is_shown(home):
    result, folder = validate(home, home.dataset().root, CONFIG)
    assert result["verdict"] == "no shift shown; but these are the Run's own test patients, no other hospital's"
    assert result["n"] == 400
    assert result["drop"]["auroc"]["value"] == 0
    assert shifted(result) == set()
    assert any("400 images that the model was trained or tuned on are left out" in note for note in result["notes"])
    assert any("own test part" in note for note in result["notes"])
    assert folder == home.root / "validations" / "data"
    assert json.loads((folder / "validation.json").read_text()) == result
    page = (folder / "validation.html").read_text()
    assert "No shift shown" in page
    assert ("after it, on these same rows" in page) == (result["calibration"]["proposal"]["update"] != "none")
    assert page.count("data:image/png") == 2
    assert "http" not in page.replace("http://www.w3.org", "")


def test_like_patients_elsewhere_show_no_shift(home, tmp_path):
    result, _ = validate(home, hospital(tmp_path / "like"), CONFIG)
    assert result["verdict"].startswith("no shift shown")
    assert result["calibration"]["proposal"]["update"] == "none"
    table = pd.read_csv(home.root / "validations" / "like" / "predictions.csv")
    here = roc_auc_score(table["label"] == "ill", table["p_ill"])
    own = pd.read_csv(home.root / "predictions.csv")
    there = roc_auc_score(own["label"] == "ill", own["p_ill"])
    assert result["auroc"]["here"]["value"] == pytest.approx(here)
    assert result["drop"]["auroc"]["value"] == pytest.approx(there - here)
    # As resampling both sides, each by itself, has it.
    draws = [
        cluster_bootstrap(
            lambda w, t=t: OneVsRest((t["label"] == "ill").to_numpy(), t["p_ill"].to_numpy(), t["p_ill"] > 0.5).measure(
                w
            ),
            t["patient"],
            1000,
            seed,
        )[:, 0]
        for seed, t in enumerate((own, table))
    ]
    low, high = np.quantile(draws[0] - draws[1], [0.025, 0.975])
    assert result["drop"]["auroc"]["low"] == pytest.approx(low, abs=0.012)
    assert result["drop"]["auroc"]["high"] == pytest.approx(high, abs=0.012)


def test_another_modality_is_said_in_words(home, tmp_path):
    data = Dataset.load(hospital(tmp_path / "there"))
    replace(data, modality="CT").save()
    result, folder = validate(home, data.root, CONFIG)
    told = "another modality: CT here, chest X-ray in the Run's own data"
    assert told in result["reasons"]
    assert told in (folder / "validation.html").read_text().replace("&#39;", "'")
    # The images are alike, and another machine's all the same.
    assert result["verdict"].startswith("the data differ")
    for modality, is_another in (("breast ultrasound", True), ("DX, CR", False), ("CT, CR", False), ("", False)):
        words, reasons = verdict({**result, "modality": {**result["modality"], "here": modality}})
        assert any("another modality" in reason for reason in reasons) == is_another
        assert words.startswith("the data differ" if is_another else "no shift shown")


@pytest.mark.slow
def test_from_radiographs_to_ultrasound(medical_data, tmp_path):
    """PneumoniaMNIST's model on BreastMNIST: the drop of AUROC, its interval, and that the modality is another."""
    small = {"image_size": 28, "model_arg": {"width": "8", "stages": "2"}, "epochs": 3, "learning_rate": 3e-3}
    drop = PrepareConfig(on_duplicates="drop")
    chest, breast = (
        prepare("medmnist", medical_data / "medmnist" / f"{name}.npz", tmp_path / name, drop)
        for name in ("pneumoniamnist", "breastmnist")
    )
    run = train(chest.root, tmp_path / "run", TrainConfig(**small))
    names = {"malignant": "pneumonia", "normal, benign": "normal"}
    assert set(breast.classes) == set(names)
    result, _ = validate(run, breast.root, ValidateConfig(bootstrap=200, map_class=names))
    own, here, fall = result["auroc"]["own"], result["auroc"]["here"], result["drop"]["auroc"]
    assert own["value"] > 0.9
    assert fall["value"] == pytest.approx(own["value"] - here["value"])
    assert 0 < fall["low"] < fall["value"] < fall["high"]
    assert "another modality: breast ultrasound here, chest X-ray in the Run's own data" in result["reasons"]
    assert result["verdict"].startswith(("performs worse here", "not shown to rank"))


def test_another_exposure_is_found_and_an_update_proposed(home, tmp_path):
    result, _ = validate(home, hospital(tmp_path / "bright", lambda level: level + 40), CONFIG)
    assert result["verdict"].startswith("ranks patients as well here")
    assert "mean grey level" in shifted(result)
    assert not {"age", "sex"} & shifted(result)
    # 40 levels are 1.5 in log-odds.
    proposal = result["calibration"]["proposal"]
    assert proposal["update"] == "intercept"
    assert proposal["intercept"] == pytest.approx(-1.5, abs=0.4)
    assert proposal["after"]["intercept"]["value"] == pytest.approx(0, abs=1e-6)
    assert result["drop"]["specificity"]["low"] > 0
    transported, chosen = result["threshold"]["transported"], result["threshold"]["rechosen"]
    assert chosen["specificity"]["value"] > transported["specificity"]["value"] + 0.1
    table = pd.read_csv(home.root / "validations" / "bright" / "predictions.csv")
    threshold = json.loads((home.root / "metrics.json").read_text())["threshold"]["value"]
    called = table["p_ill"] >= threshold
    assert transported["sensitivity"]["value"] == pytest.approx(called[table["label"] == "ill"].mean())
    assert transported["specificity"]["value"] == pytest.approx((~called)[table["label"] == "normal"].mean())


def test_halved_contrast_needs_a_slope(home, tmp_path):
    result, _ = validate(home, hospital(tmp_path / "flat", lambda level: 110 + (level - 110) / 2), CONFIG)
    proposal = result["calibration"]["proposal"]
    assert proposal["update"] == "slope and intercept"
    assert proposal["slope"] == pytest.approx(2, rel=0.25)
    assert proposal["after"]["slope"]["value"] == pytest.approx(1)


def test_noise_for_images_performs_worse(home, tmp_path):
    draw = np.random.default_rng(0)
    result, _ = validate(home, hospital(tmp_path / "noise", lambda _: draw.integers(256)), CONFIG)
    assert result["verdict"].startswith("performs worse here")
    assert result["drop"]["auroc"]["low"] > 0
    assert "mends" in result["calibration"]["proposal"]["words"] or result["calibration"]["slope"]["value"] > 0


@pytest.mark.slow
def test_what_ranks_no_better_than_chance_at_home_and_here_does_not_hold(tmp_path):
    data = grained(with_people(write_data(tmp_path / "data", n=400)))
    run = write_run(tmp_path / "run", data, [0.0, 0.0], [0.0, 0.0])
    evaluate(run, EvaluateConfig(bootstrap=50))
    result, _ = validate(run, hospital(tmp_path / "elsewhere"), CONFIG)
    assert result["drop"]["auroc"]["value"] == 0
    assert result["verdict"] == "not shown to rank patients better than chance here: not to be used"


def test_older_patients_alone_differ_without_harm(home, tmp_path):
    result, _ = validate(home, hospital(tmp_path / "older", older=15), CONFIG)
    assert result["verdict"].startswith("the data differ, the performance holds")
    assert shifted(result) == {"age"}
    assert set(result["subgroups"]) == {"site", "sex", "age"}
    assert sum(one["n"] for one in result["subgroups"]["sex"].values()) == 400


def folder_of(root, source, classes):
    """Class folders of a hospital's images; under None they lie outside of folders."""
    data = Dataset.load(source)
    for label, name in classes.items():
        place = root / name if name else root
        place.mkdir(parents=True, exist_ok=True)
        for path in data.paths(data.manifest[data.manifest["label"] == label]):
            shutil.copy(path, place / path.name)
    return root


def test_one_class_alone_gives_its_sensitivity(home, tmp_path):
    source = hospital(tmp_path / "source")
    result, folder = validate(home, folder_of(tmp_path / "covid", source, {"ill": "ILL"}), CONFIG)
    assert result["kinds"] == ["ill"]
    assert result["verdict"].startswith(
        "patients of ill alone: neither ranking nor calibration can be judged; no fall of sensitivity shown"
    )
    assert result["auroc"]["here"]["value"] is None
    assert result["calibration"] is None
    assert result["threshold"]["transported"]["specificity"]["value"] is None
    table = pd.read_csv(folder / "predictions.csv")
    threshold = json.loads((home.root / "metrics.json").read_text())["threshold"]["value"]
    sensitivity = (table["p_ill"] >= threshold).mean()
    assert result["threshold"]["transported"]["sensitivity"]["value"] == pytest.approx(sensitivity)
    assert table["image"].str.startswith("ILL/").all()


@pytest.mark.slow
def test_of_a_few_patients_of_a_kind_neither_ranking_nor_calibration_is_judged(home, tmp_path):
    source = folder_of(tmp_path / "few", hospital(tmp_path / "source"), {"ill": "ill", "normal": "normal"})
    normal = sorted((source / "normal").iterdir())
    for path in normal[10:]:
        path.unlink()
    assert validate(home, source, CONFIG)[0]["few"] == []
    for path in normal[1:10]:
        path.unlink()
    result, folder = validate(home, source, CONFIG)
    assert result["patients_of"]["normal"] == 1
    assert result["verdict"].startswith("too few patients of normal (1) to judge ranking or calibration; no fall of")
    assert "AUROC" not in " ".join(result["reasons"])
    assert result["auroc"]["here"]["value"] is result["drop"]["auroc"]["value"] is None
    assert result["calibration"] is result["threshold"]["rechosen"] is None
    assert "Too few patients of normal (1)" in (folder / "validation.html").read_text()


@pytest.mark.slow
def test_images_without_labels_tell_of_shift_alone(home, tmp_path):
    like = folder_of(tmp_path / "like", hospital(tmp_path / "a"), {"ill": "", "normal": ""})
    assert validate(home, like, CONFIG)[0]["verdict"] == "unlabelled: no shift shown"
    dark = folder_of(tmp_path / "dark", hospital(tmp_path / "b", lambda level: level / 2), {"ill": "", "normal": ""})
    result, _ = validate(home, dark, CONFIG)
    assert result["verdict"] == "unlabelled: the data differ, the performance is not known"
    assert {"mean grey level", "predicted probability of ill"} <= shifted(result)


def test_an_unknown_class_is_one_line_with_its_remedy(home, tmp_path):
    folder = folder_of(tmp_path / "other", hospital(tmp_path / "source"), {"ill": "COVID-19", "normal": "Normal"})
    with pytest.raises(InputError, match=r"class 'COVID-19' is none of the model's.*--map-class 'COVID-19=ill'"):
        validate(home, folder, CONFIG)
    mapped = replace(CONFIG, map_class={"covid-19": "ill"})
    assert validate(home, folder, mapped)[0]["kinds"] == ["normal", "ill"]
    with pytest.raises(InputError, match=r"^--map-class flu="):
        validate(home, folder, replace(CONFIG, map_class={"COVID-19": "ill", "flu": "ill"}))


def test_patients_whom_a_private_run_protects_are_refused(home, tmp_path):
    private = tmp_path / "private"
    shutil.copytree(home.root, private)
    config = {**home.config, "options": {**home.config["options"], "dp_epsilon": 3.0}}
    run = Run(private, config)
    with pytest.raises(InputError, match=r"patients whom the Run protects"):
        validate(run, home.dataset().root, CONFIG)
    assert not (private / "validations" / "data").exists() or (home.root / "validations" / "data").exists()
    result, _ = validate(run, home.dataset().root, replace(CONFIG, split="test"))
    assert result["n"] == 400


def test_same_identifiers_elsewhere_are_other_people(home, tmp_path):
    root = hospital(tmp_path / "same-names")
    manifest = pd.read_csv(root / "manifest.csv", dtype=str)
    manifest["patient"] = manifest["patient"].str.replace("7-", "0-", n=1)
    manifest.to_csv(root / "manifest.csv", index=False)
    result, _ = validate(home, root, CONFIG)
    assert result["n"] == 400
    assert any("taken for other people" in note for note in result["notes"])


@pytest.mark.slow
def test_other_data_of_the_same_name_get_a_folder_of_their_own(home, tmp_path):
    first = validate(home, hospital(tmp_path / "a" / "twin", n=80), CONFIG)[1]
    second = validate(home, hospital(tmp_path / "b" / "twin", n=80), CONFIG)[1]
    assert [first.name, second.name] == ["twin", "twin-bootstrap-200"]
    assert validate(home, tmp_path / "a" / "twin", CONFIG)[1] == first


def test_a_table_is_validated_too(tmp_path):
    import medimg
    from tests.datasets import write_table

    write_table(tmp_path / "table")
    run = medimg.train(tmp_path / "table", tmp_path / "run", model="logistic", epochs=2)
    other = write_table(tmp_path / "other", seed=5)
    moved = replace(other, manifest=other.manifest.assign(age=other.manifest["age"] + 20))
    moved.save()
    result, folder = validate(run, tmp_path / "other", CONFIG)
    assert "age" in shifted(result)
    assert "noise" not in shifted(result)
    assert (folder / "validation.html").is_file()


def test_rows_of_a_table_are_none_for_a_model_of_images(home, small_table):
    data, words = small_table.root, f"{small_table.root}: holds rows of a table; this model needs images"
    with pytest.raises(InputError, match=words):
        validate(home, data, ValidateConfig(map_class={"disease": "a"}))
    with pytest.raises(InputError, match=words):
        evaluate(home, EvaluateConfig(data=str(data)))


@pytest.mark.slow
def test_a_validation_of_other_options_leaves_earlier_ones(home, tmp_path):
    """In the Run each has a folder; a folder that a person names is refused."""
    there = hospital(tmp_path / "kept", n=40)
    first, folder = validate(home, there, ValidateConfig(bootstrap=10))
    swapped = ValidateConfig(bootstrap=10, map_class={"normal": "ill", "ill": "normal"})
    second, other = validate(home, there, swapped)
    assert folder != other
    assert json.loads((folder / "validation.json").read_text()) == first
    assert second["auroc"]["here"]["value"] == pytest.approx(1 - first["auroc"]["here"]["value"])
    assert validate(home, there, swapped)[1] == other
    named = tmp_path / "named"
    validate(home, there, swapped, named)
    validate(home, there, swapped, named)
    before = (named / "validation.json").read_bytes()
    for data, config in ((there, CONFIG), (hospital(tmp_path / "third", n=40), swapped)):
        with pytest.raises(InputError, match=r"^--out .*named: holds the result of other data or options; "):
            validate(home, data, config, named)
    assert (named / "validation.json").read_bytes() == before


def test_what_is_left_out_of_a_folder_is_listed_where_it_is_said(home, tmp_path):
    """Nothing that is said names the copy that is gone."""
    source = folder_of(tmp_path / "some", hospital(tmp_path / "a", n=40), {"ill": "ill", "normal": "normal"})
    (source / "ill" / "torn.png").write_bytes(b"no image")
    result, folder = validate(home, source, ValidateConfig(bootstrap=10))
    assert any("listed in rejected.csv" in note for note in result["notes"])
    assert "ill/torn.png" in pd.read_csv(folder / "rejected.csv")["file"].tolist()
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "torn.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"^no image could be read: torn.png .not an image, or broken"):
        validate(home, broken, CONFIG)
    with pytest.raises(InputError, match=f"^--split test: {source} has no image in it"):
        validate(home, source, replace(CONFIG, split="test"))
