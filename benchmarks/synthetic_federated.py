"""A DCGAN across five phantom sites beside one trained on all their images in one place, judged alike.

`STEPS=N` shortens both trainings (default 2000); `OUT=FOLDER` keeps what was made; `SEEDS=N` repeats with other seeds.
"""

import contextlib
import math
import os
import tempfile
import time
from pathlib import Path

from benchmarks.material import table
from medimg.config import PrepareConfig
from medimg.data.dataset import Dataset
from medimg.phantom.config import PhantomConfig
from medimg.preparation.prepare import prepare
from synthetic.config import SynthesizeConfig
from synthetic.judge.config import JudgeConfig
from synthetic.judge.judge import judge
from synthetic.synthesize import synthesize

SITES, SIZE, FILTERS, BATCH = 5, 32, 32, 64
LOCAL_STEPS = 20
STEPS = int(os.environ.get("STEPS", "2000"))
SEEDS = int(os.environ.get("SEEDS", "1"))


def told(measure: dict) -> str:
    return f"{measure['value']:.3f} [{measure['low']:.3f}, {measure['high']:.3f}]"


def row(name: str, data: Dataset, out: Path, seed: int, **options) -> list:
    """Train, make images and judge them."""
    started = time.monotonic()
    size = {"image_size": SIZE, "filters": FILTERS}
    config = SynthesizeConfig(model="dcgan", seed=seed, sample_every=20, **size, **options)
    synthesize(data.root, out, config)
    seconds = time.monotonic() - started
    judgement = judge(out, data.root, JudgeConfig(classifier="small-cnn", seed=seed))
    utility, attacks = judgement["utility"], judgement["privacy"]["membership"]
    return [
        f"{name}, seed {seed}",
        f"{seconds:.0f}",
        told(utility["real"]["small-cnn"]["auroc"]),
        told(utility["synthetic"]["small-cnn"]["auroc"]),
        *(told(attacks[attack]["auc"]) for attack in ("distance", "calibrated")),
        judgement["verdict"],
    ]


def main() -> None:
    folder_kept = os.environ.get("OUT")
    with contextlib.nullcontext(folder_kept) if folder_kept else tempfile.TemporaryDirectory() as name:
        root = Path(name)
        phantom = PhantomConfig(phantom_size=SIZE, opacity_size=0.12, patients=800, sites=SITES)
        data = prepare("phantom", None, root / "data", PrepareConfig(), phantom)
        # As many steps, and as many images in each, as all clients take together.
        batch = round(BATCH / SITES)
        images = len(data.rows("train", labelled=True))
        epochs = math.ceil(STEPS / (images // (batch * SITES)))
        rows = []
        for seed in range(SEEDS):
            central = {"batch_size": batch * SITES, "epochs": epochs}
            rows.append(row("in one place", data, root / f"central-{seed}", seed, **central))
            across = {
                "partition": "site",
                "batch_size": batch,
                "local_steps": LOCAL_STEPS,
                "rounds": math.ceil(STEPS / LOCAL_STEPS),
            }
            rows.append(row("across 5 sites", data, root / f"across-{seed}", seed, **across))
    table(
        [
            "trained",
            "seconds",
            "CNN on real: AUROC",
            "CNN on synthetic: AUROC",
            "membership by distance: AUC",
            "calibrated: AUC",
            "verdict",
        ],
        rows,
    )


if __name__ == "__main__":
    main()
