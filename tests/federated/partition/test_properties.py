"""Whatever the patients: every row is at one client, with its whole patient, and no client is left without training."""

from pathlib import Path
from types import SimpleNamespace

import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from federated.clients.client import pooled
from federated.option_groups import PARTITIONS
from federated.partition import partition
from medimg.data.dataset import SPLITS, Dataset
from medimg.errors import InputError

# Of each patient: class, images, site, part.
PATIENTS = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(1, 3), st.sampled_from("xyz"), st.sampled_from(SPLITS)),
    min_size=3,
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(PATIENTS, st.sampled_from(PARTITIONS), st.integers(1, 5), st.sampled_from([0.1, 1.0, 50.0]), st.booleans())
def test_every_row_is_at_one_client(patients, kind, clients, alpha, private):
    rows = [
        (f"images/{i}-{j}.png", label, f"p{i}", site, part)
        for i, (label, images, site, part) in enumerate(patients)
        for j in range(images)
    ]
    manifest = pd.DataFrame(rows, columns=["image", "label", "patient", "site", "split"])
    dataset = Dataset(Path("none"), "made", "multiclass", tuple("abc"), manifest)
    options = SimpleNamespace(
        partition=kind, clients=clients, alpha=alpha, min_size=1, shards=2, seed=3, is_private=private
    )
    try:
        divided = partition(dataset, options)
    except InputError:
        # More clients than patients, or one of them with nothing to learn from.
        return
    whole = pd.concat([client.dataset.manifest.assign(client=client.name) for client in divided])
    assert sorted(whole["image"]) == sorted(manifest["image"])
    assert whole.groupby("patient")["client"].nunique().max() == 1
    for client in divided:
        assert len(client.dataset.rows("train", labelled=True))
        # Whole patients change their part, and from train alone.
        parts = client.dataset.manifest.groupby("patient")["split"]
        assert parts.nunique().max() == 1
    given_parts = manifest.set_index("image")["split"]
    moved = whole[whole["split"] != given_parts.loc[whole["image"]].to_numpy()]
    assert set(given_parts.loc[moved["image"]]) <= {"train"}
    assert not (private and len(moved))
    pd.testing.assert_series_equal(pooled(dataset, divided).manifest["image"], manifest["image"])
    assert [c.dataset.fingerprint() for c in partition(dataset, options)] == [c.dataset.fingerprint() for c in divided]
