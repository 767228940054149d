"""`medimg explain` as a whole command beside a plain script of tf-keras-vis or shap that leaves the same files.

Processes from start to end, TensorFlow's import on both sides, in turn; the same model, images and evaluations. What
the script does not do is left out of the command: scores, shortcuts, appearance, mistakes. MobileNet of a quarter of
the width, random weights, 160 px; 64 images by Grad-CAM and 8 by SHAP's Partition.
"""

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from benchmarks.material import phantom, table
from medimg.config import TrainConfig
from medimg.training.train import train

SIZE, TRIALS = 160, 2
ALONE = ("--mistakes", "0", "--score-count", "0", "--appearance-count", "0")
COUNTS, PROMISES = {"gradcam": 64, "shap": 8}, {"gradcam": 1.2, "shap": 1.05}


def seconds(words: list) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", *map(str, words)], check=True, capture_output=True)
    return time.perf_counter() - started


def main() -> None:
    rows = []
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        data = phantom(root / "data", 560, SIZE)
        config = TrainConfig(model="mobilenet", model_arg={"alpha": "0.25"}, weights="none", image_size=SIZE, epochs=1)
        run = train(data.root, root / "run", config)
        paths = data.paths(data.rows("test"))
        for method, count in COUNTS.items():
            plain, ours = [], []
            for trial in range(TRIALS):
                shutil.rmtree(root / "run/explanations", ignore_errors=True)
                out = root / f"{method}-{trial}"
                script = ["benchmarks.peers.plain_explanations", root / "run/model.keras", method, out, *paths[:count]]
                plain.append(seconds(script))
                ours.append(seconds(["cli", "explain", run.root, "--method", method, "--count", count, *ALONE]))
                left = [len(list(folder.rglob("*.npz"))) for folder in (out, root / "run/explanations")]
                assert left == [count, count], left
            both = median(plain), median(ours)
            rows.append([method, count, *both, both[1] / both[0], f"<= {PROMISES[method]}"])
    table(["method", "images", "plain script s", "medimg explain s", "ratio", "promise"], rows)


if __name__ == "__main__":
    main()
