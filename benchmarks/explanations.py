"""Explanations: 64 images at once against one by one, the pictures, and SHAP of 8 images of 160 px.

`python -m benchmarks.explanations [MODEL [SIZE [METHOD...]]]`; weights are random, which costs the same. All is
compiled before.
"""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np

IMAGES = 64


def seconds(work) -> float:
    """Of a second call: the first one compiles."""
    work()
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def maps(name: str, size: int, methods: list[str]) -> list[tuple[str, float, float]]:
    """(method, seconds an image of all at once, of an eighth of them one by one)."""
    from explain.methods.catalogue import METHODS, Effort, heat_maps
    from explain.methods.evidence import Evidence
    from medimg.models.build import build

    model = build(name, size, 3, 2, model_arg={"alpha": "0.25"} if name == "mobilenet" else {})
    draw = np.random.default_rng(0)
    x = draw.uniform(0, 255, (IMAGES, size, size, 3)).astype(np.float32)
    ones, effort, evidence = np.ones(IMAGES, int), Effort(background=x[:4]), Evidence(model, "binary")
    rows = []
    for method in methods or METHODS:
        n = IMAGES if METHODS[method].of_layer and method != "scorecam" else 8
        batched = seconds(lambda n=n, m=method: heat_maps(evidence, [x[:n]], ones[:n], m, effort))

        def one_by_one(n=n, m=method):
            for i in range(max(1, n // 8)):
                heat_maps(evidence, [x[i : i + 1]], ones[:1], m, effort)

        rows.append((method, batched / n, seconds(one_by_one) / max(1, n // 8)))
    return rows


def pictures(size: int) -> float:
    """Seconds of 64 overlays."""
    from explain.figures.overlay import Panel, draw

    rng = np.random.default_rng(0)
    panels = [
        Panel(f"{i}.png", rng.uniform(0, 255, (size, size, 3)), rng.uniform(0, 1, (size, size)), "opacity 0.9")
        for i in range(IMAGES)
    ]
    with tempfile.TemporaryDirectory() as folder:
        return seconds(lambda: [draw([panel], Path(folder) / panel.name, "gradcam") for panel in panels])


def main() -> None:
    """Print one table."""
    name = sys.argv[1] if len(sys.argv) > 1 else "mobilenet"
    size = int(sys.argv[2]) if len(sys.argv) > 2 else 160
    print(f"{name}, {size} px, seconds an image")
    print(f"{'method':22} {'batched':>10} {'one by one':>11} {'times':>7}")
    for method, batched, one_by_one in maps(name, size, sys.argv[3:]):
        print(f"{method:22} {batched:10.4f} {one_by_one:11.4f} {one_by_one / batched:7.1f}", flush=True)
    print(f"{IMAGES} overlays written: {pictures(size):.1f} s")


if __name__ == "__main__":
    main()
