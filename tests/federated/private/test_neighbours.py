"""Two Datasets that differ in one patient, the same secret keys, through `federate()` as a whole.

One step of everybody at every client, hardly any noise: the mean of the clients' sums can be read off the weights. It
moves by one contribution, at most the clip: nobody else is drawn otherwise, clipped otherwise or at another client.
"""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from federated.config import FederateConfig
from federated.federate import federate
from medimg.data.dataset import Dataset
from medimg.data.schema import Feature
from tests.medimg.privacy.test_neighbours import PATIENTS, draw_of, rows_of

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("sparing")]

CLIP, CLIENTS, BATCH = 0.5, 2, 30
CONFIG = FederateConfig(
    model="mlp",
    model_arg={"width": "16"},
    dropout=0.5,
    client_optimizer="sgd",
    learning_rate=1.0,
    rounds=1,
    local_steps=1,
    batch_size=BATCH,
    dp="patient",
    dp_clip=CLIP,
    dp_noise_multiplier=1e-7,
    dp_delta=1e-3,
    dp_seed=3,
)
PARTITIONS = {
    "site": {},
    "iid": {"partition": "iid", "clients": CLIENTS},
    "dirichlet": {"partition": "dirichlet", "alpha": 5.0, "clients": CLIENTS},
    "masking": {"partition": "iid", "secure": "masking", "clients": CLIENTS},
}


def table(root, patients) -> Dataset:
    """Of every patient's own numbers; every second is at the other site."""
    rows = rows_of(patients)
    held_out = rows[rows.split == "val"]
    tested = held_out.assign(patient=held_out.patient.str.replace("v", "t"), split="test")
    rows = pd.concat([rows, tested], ignore_index=True)
    values = np.stack([draw_of(*row).normal(size=6) for row in zip(rows.patient, rows.place, strict=True)])
    rows.insert(0, "row", rows.patient + "-" + rows.place.astype(str))
    rows["site"] = [("north", "south")[int(name[1:]) // 2 % 2] for name in rows.patient]
    for j in range(6):
        rows[f"x{j}"] = values[:, j]
    features = tuple(Feature(f"x{j}", "continuous", bound=(-3.0, 3.0)) for j in range(6))
    root.mkdir(parents=True)
    made = rows.drop(columns="place").reset_index(drop=True)
    Dataset(root, "t", "binary", ("dark", "bright"), made, features=features).save()
    return Dataset.load(root)


@pytest.mark.parametrize("kind", PARTITIONS)
def test_a_patient_moves_the_mean_by_one_contribution_at_one_client(kind, tmp_path, execution):
    config = replace(CONFIG, **PARTITIONS[kind])

    def weights(patients):
        place = tmp_path / f"{len(patients)}-{patients[0]}"
        data = table(place / "data", patients)
        run = federate(data.root, place / "run", config, execution=execution)
        return np.concatenate([np.ravel(w) for w in run.model().get_weights()]).astype(float)

    everyone = weights(PATIENTS)
    moved = [
        np.linalg.norm(everyone - weights([p for p in PATIENTS if p != name])) * CLIENTS * BATCH
        for name in ("p00", "p13")
    ]
    # A sum that is masked is rounded to a grid of 2^-24 or finer.
    assert max(moved) <= CLIP * (1 + 1e-3), moved
    # They were there, and clipped.
    assert min(moved) > 0.2 * CLIP, moved
