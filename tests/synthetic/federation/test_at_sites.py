"""A DCGAN across sites of their own, over a stand-in for the link: equal to the simulation, and no image leaves."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import cli  # noqa: F401  (names the kinds of models that sites learn)
from federated.audit_log import verify
from federated.config import FederateConfig
from federated.flower.link_folder import LinkFolder
from medimg.data.dataset import Dataset
from medimg.errors import InputError
from synthetic.config import SynthesizeConfig
from synthetic.synthesize import synthesize
from synthetic.tables import synthesis
from tests.datasets import write_table
from tests.federated.flower.conftest import Apart, header
from tests.synthetic.images.conftest import make_set

OPTIONS = {
    "model": "dcgan",
    "image_size": 16,
    "filters": 4,
    "latent_size": 4,
    "local_steps": 2,
    "rounds": 2,
    "batch_size": 8,
    "count": 8,
    "class_mix": "equal",
    "sample_every": 0,
    "keep_generator": True,
}


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Two sites of 20 images in train, 2 in val and 2 in test."""
    splits = (["train"] * 20 + ["val"] * 2 + ["test"] * 2) * 2
    labels = ["bright" if i % 2 else "dark" for i in range(48)]
    root = tmp_path_factory.mktemp("images") / "data"
    dataset = make_set(root, labels, [f"p{i}" for i in range(48)], splits)
    replace(dataset, manifest=dataset.manifest.assign(site=["a"] * 24 + ["b"] * 24)).save()
    return Dataset.load(root)


@pytest.fixture
def apart(images, tmp_path):
    made = []

    def make(secure="none", **policy):
        config = FederateConfig(model="dcgan", rounds=2, batch_size=8, secure=secure)
        made.append(Apart(images, config, tmp_path / f"apart-{len(made)}", **policy))
        return made[-1]

    yield make
    for one in made:
        one.close()


def generated(there, out, **more):
    """What a coordinator makes with the sites."""
    config = SynthesizeConfig(**OPTIONS, engine="flower", link=str(there.place.root), **more)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(LinkFolder, "grid", lambda _: there.link)
        return synthesize(there.data, out, config)


def generator(made):
    return tf.keras.models.load_model(made / "training" / "generator.keras", compile=False).get_weights()


@pytest.mark.slow
def test_masked_rounds_at_sites_are_the_simulation_and_no_image_leaves(apart, images, tmp_path):
    there = apart("masking")
    made = generated(there, tmp_path / "made", secure="masking")
    here = synthesize(images.root, tmp_path / "here", SynthesizeConfig(**OPTIONS, partition="site"))
    pairs = list(zip(generator(made), generator(here), strict=True))
    assert max(np.abs(one - other).max() for one, other in pairs) < 1e-5
    found = Dataset.load(made)
    assert (found.synthetic, len(found.manifest)) == (True, 8)
    for path in (images.root / "images").iterdir():
        assert path.read_bytes()[60:120] not in there.link.bytes
    kinds = [header(raw)["kind"] for _, raw, _ in there.link.carried]
    assert kinds.count("train") == 4
    assert kinds.count("mask") == 20
    assert not {"statistics", "evaluate"} & set(kinds)
    logs = [folder / "audit.jsonl" for folder in there.folders.values()]
    told = verify(made / "training" / "audit.jsonl", site_logs=logs)
    assert told.ok, told.problems
    assert any("countersigned: a (key" in note for note in told.notes)


@pytest.mark.slow
def test_a_policy_holds_for_generators_too(apart, tmp_path):
    there = apart()
    there.allow("a", models=["logistic"])
    there.start("a")
    with pytest.raises(InputError, match="site a: models: dcgan is not among logistic"):
        generated(there, tmp_path / "made")
    there.allow("a", models=["dcgan"], min_batch=9)
    there.start("a")
    with pytest.raises(InputError, match="site a: min_batch: a step of 8"):
        generated(there, tmp_path / "again")


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"class_mix": "train"}, "--class-mix train: how frequent classes are stays at the sites"),
        ({"image_size": None}, "--image-size: is read off no site's images"),
        ({"partition": "iid"}, "--partition: the clients are those at their sites"),
        ({"dp_epsilon": 3.0, "channels": 1}, "--dp-epsilon: a private generator is not trained across sites apart"),
        ({"rare_classes": "leave-out"}, "--rare-classes leave-out: no site tells"),
        ({"link": None}, "--engine flower: needs --link DIR"),
    ],
)
def test_what_sites_apart_do_not_do_is_refused_before_any_is_asked(images, tmp_path, more, why):
    place = LinkFolder.make(tmp_path / "link", 9092)
    config = SynthesizeConfig(**{**OPTIONS, "engine": "flower", "link": str(place.root), **more})
    with pytest.raises(InputError, match=why):
        synthesize(images.root, tmp_path / "made", config)
    assert not (tmp_path / "made").exists()


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A table of three sites, which are no column of it in either way of training."""
    data = write_table(tmp_path_factory.mktemp("table") / "data", n=160)
    # Names too long to be found in masked bytes by chance.
    named = data.manifest.assign(patient="planted-" + data.manifest["patient"])
    data = replace(data, manifest=named)
    data.save()
    return data


@pytest.mark.slow
def test_tables_at_sites_are_the_simulation_and_no_row_leaves(table, tmp_path):
    options = {"model": "tvae", "rounds": 2, "local_steps": 2, "batch_size": 20, "count": 20}
    there = Apart(table, FederateConfig(model="tvae", rounds=2, batch_size=8, secure="masking"), tmp_path / "apart")
    try:
        config = SynthesizeConfig(**options, engine="flower", link=str(there.place.root), secure="masking")
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(LinkFolder, "grid", lambda _: there.link)
            # Each site's policy lets its statistics and updates leave in sums alone.
            made = synthesize(there.data, tmp_path / "made", config)
    finally:
        there.close()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(synthesis, "features_of", without_site(synthesis.features_of))
        config = SynthesizeConfig(**options, partition="site", secure="masking")
        here = synthesize(table.root, tmp_path / "here", config)
    leaves = [r["leaves"] for r in there.log("s0") if r.get("kind") == "statistics" and "refused" not in r]
    # Of each question five stages: what is known, names, 8 of places (bounds are stated in this table), counts.
    assert set(leaves) == {"in a masked sum"}
    assert len(leaves) % 5 == 0
    one, other = (Dataset.load(path).manifest for path in (made, here))
    pd.testing.assert_frame_equal(one[["label", "age", "pain", "stage"]], other[["label", "age", "pain", "stage"]])
    for mark in table.manifest["patient"]:
        assert mark.encode() not in there.link.bytes
    told = verify(made / "training" / "audit.jsonl")
    assert told.ok, told.problems


def without_site(features_of):
    return lambda dataset, rows, config: features_of(dataset, rows.assign(site=""), config)


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"model": "marginals"}, "--model marginals: is not counted across sites apart"),
        ({"per_site": True}, "--per-site: not with --engine flower"),
        ({"tune": 2}, "--tune: not with --engine flower"),
    ],
)
def test_what_tables_at_sites_do_not_do(table, tmp_path, more, why):
    place = LinkFolder.make(tmp_path / "link", 9092)
    config = SynthesizeConfig(**{"engine": "flower", "link": str(place.root), **more})
    with pytest.raises(InputError, match=why):
        synthesize(table.root, tmp_path / "made", config)


@pytest.mark.slow
def test_a_dcgan_over_flowers_own_link(images, tmp_path):
    """Each site a process of its own."""
    from federated.flower.rehearse import rehearsal

    config = FederateConfig(model="dcgan", rounds=1, batch_size=8, secure="ckks")
    with rehearsal(images.root, config, tmp_path / "kept" / "rehearsal") as (held_out, apart):
        options = {**OPTIONS, "rounds": 1, "engine": "flower", "link": apart.link, "secure": "ckks"}
        made = synthesize(held_out, tmp_path / "made", SynthesizeConfig(**options))
    assert len(Dataset.load(made).manifest) == 8
    assert verify(made / "training" / "audit.jsonl").ok
