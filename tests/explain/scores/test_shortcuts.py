"""Where maps lie: regions of drawn films against what was drawn, and what is told of maps that were put somewhere."""

import cv2
import numpy as np
import pytest

from explain.config import ExplainConfig
from explain.explain import explain
from explain.scores import regions, shortcuts
from medimg.config import PrepareConfig, TrainConfig
from medimg.errors import InputError
from medimg.phantom.cohort import cohort, draw
from medimg.phantom.config import PhantomConfig
from medimg.preparation.prepare import prepare
from medimg.training.train import train

S = 32


@pytest.mark.parametrize("size", [64, 96, 224])
def test_markers_are_found_where_they_were_drawn_and_nowhere_else(size):
    config = PhantomConfig(patients=24, phantom_size=size, shortcut=1.0, opacity_size=0.11)
    found = []
    for person in cohort(config):
        film = draw(config, person.number, 0)
        text = regions.text(film.image)
        found.append(text.any())
        assert text.any() == bool(film.marker), person
        if film.marker:
            rows, columns = np.nonzero(text)
            assert max(rows.max(), columns.max()) < 0.2 * size
            assert text[round(8 * size / 96), round(4 * size / 96)]
    assert 0 < sum(found) < len(found)


def test_what_is_outside_the_body_is_black_and_joined_to_the_border():
    image = np.zeros((40, 40), np.uint8)
    image[5:36, 8:30] = 120
    image[15:20, 12:17] = 0
    expected = np.ones((40, 40), bool)
    expected[5:36, 8:30] = False
    outside = regions.outside_body(image)
    assert not outside[15:20, 12:17].any()
    # A pixel of blur at the body's edge.
    assert (outside != expected).sum() <= 2 * (31 + 22) + 4
    assert not regions.outside_body(np.full((40, 40), 99, np.uint8)).any()


def lying(maps, **where) -> shortcuts.Lying:
    """Maps of as many patients, in turn ill and well."""
    n = len(maps)
    stacked = {name: np.repeat(region[None], n, axis=0) for name, region in where.items()}
    return shortcuts.Lying(maps, stacked, np.array(["ill", "well"] * n)[:n], np.arange(n))


def moving(n: int = 16) -> np.ndarray:
    """A spot somewhere else in each map."""
    draw_place, maps = np.random.default_rng(0), np.zeros((n, S, S), np.float32)
    for m in maps:
        y, x = draw_place.integers(6, S - 10, 2)
        m[y : y + 4, x : x + 4] = 1
    return maps


def test_maps_on_findings_raise_nothing():
    found = shortcuts.measure(lying(moving(), **regions.at_sides(S)), "evidence for ill")
    assert found["findings"] == []
    assert found["n"] == 16
    assert found["mean_map_similarity"]["value"] < 0.5
    assert found["regions"]["border"]["area"] == pytest.approx(regions.at_sides(S)["border"].mean())


def test_an_even_map_has_the_areas_share():
    draw_noise = np.random.default_rng(0)
    maps = draw_noise.uniform(0.9, 1.1, (16, S, S)).astype(np.float32)
    found = shortcuts.measure(lying(maps, **regions.at_sides(S)), "evidence for ill")
    assert found["regions"]["top"]["ratio"]["value"] == pytest.approx(1.0, abs=0.02)
    assert found["findings"] == []


@pytest.mark.parametrize("side", ["top", "left", "border"])
def test_maps_at_a_side_are_told_of_with_their_class(side):
    maps = moving()
    maps[1::2] *= 0.01
    maps[1::2, regions.at_sides(S)[side]] = np.random.default_rng(1).uniform(
        0, 1, maps[1::2, regions.at_sides(S)[side]].shape
    )
    found = shortcuts.measure(lying(maps, **regions.at_sides(S)), "evidence for ill")
    (first, *_) = [text for text in found["findings"] if shortcuts.WORDS[side] in text]
    assert "labelled well" in first
    assert found["regions"][side]["by_class"]["well"]["value"] > 0.9
    assert found["regions"][side]["by_class"]["ill"]["value"] < 0.1


def test_the_same_map_for_everyone_is_told_of():
    maps = np.repeat(moving(1), 16, axis=0)
    found = shortcuts.measure(lying(maps), "evidence for ill")
    assert len([text for text in found["findings"] if "nearly the same" in text]) == 2
    assert found["mean_map_similarity"]["value"] == pytest.approx(1.0)
    # Without the finding, evidence for it is always the same nothing.
    (only,) = shortcuts.measure(lying(maps), "evidence for ill", "ill")["findings"]
    assert "labelled ill" in only


def test_maps_without_evidence_are_counted_and_left_out():
    maps = moving()
    maps[:3] = 0
    found = shortcuts.measure(lying(maps, **regions.at_sides(S)), "evidence for ill")
    assert (found["n"], found["flat_maps"]) == (13, 3)
    assert shortcuts.measure(lying(0 * maps, **regions.at_sides(S)), "x")["findings"] == []


@pytest.fixture(scope="module")
def marked_run(tmp_path_factory):
    """A small CNN trained on phantom films whose corner marker goes with the label."""
    folder = tmp_path_factory.mktemp("marked")
    drawing = PhantomConfig(
        patients=160, images_per_patient=1, phantom_size=64, opacity_size=0.11, opacity_contrast=0.1, shortcut=1.0
    )
    data = prepare("phantom", None, folder / "data", PrepareConfig(), drawing)
    config = TrainConfig(image_size=64, model_arg={"width": "8", "stages": "3"}, epochs=6, learning_rate=3e-3)
    return train(data.root, folder / "run", config)


@pytest.mark.slow
def test_a_site_marker_is_named_by_the_findings(marked_run, tmp_path):
    """Its twin without a marker, `phantom_run`, has no findings: see test_explain."""
    found = explain(marked_run, ExplainConfig(count=1, score_count=24))["shortcuts"]
    assert any("text or markers" in text for text in found["findings"]), found
    assert found["regions"]["text"]["by_class"].keys() == {"opacity"}
    # Outside given masks, of which each image needs one.
    dataset = marked_run.dataset()
    rows = dataset.rows("test")
    (tmp_path / "masks").mkdir()
    for name in rows["image"].iloc[1:]:
        mask = np.zeros((64, 64), np.uint8)
        mask[16:48, 16:48] = 255
        cv2.imwrite(str(tmp_path / "masks" / name.rsplit("/", 1)[-1]), mask)
    config = ExplainConfig(count=1, score_count=len(rows), masks=str(tmp_path / "masks"), localisation_count=0)
    with pytest.raises(InputError, match="--masks"):
        explain(marked_run, config)
    cv2.imwrite(str(tmp_path / "masks" / rows["image"].iloc[0].rsplit("/", 1)[-1]), mask)
    found = explain(marked_run, config)["shortcuts"]
    assert any("outside the given masks" in text for text in found["findings"])
    assert found["regions"]["outside_mask"]["area"] == pytest.approx(0.75, abs=0.02)


@pytest.mark.parametrize(("level", "around"), [(230, 20), (130, 30), (120, 10)])
def test_faint_letters_are_found_and_ribs_are_not(level, around):
    film = np.full((224, 224), around, np.uint8)
    cv2.ellipse(film, (112, 130), (70, 110), 0, 0, 360, 150, -1)
    for at in range(40, 200, 22):
        cv2.ellipse(film, (112, at), (62, 20), 0, 180, 360, 235, 4)
    assert not regions.text(film).any()
    cv2.putText(film, "R", (12, 24), cv2.FONT_HERSHEY_SIMPLEX, 0.45, level, 1, cv2.LINE_AA)
    rows, columns = np.nonzero(regions.text(film))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == pytest.approx((14, 24, 12, 21), abs=4)
