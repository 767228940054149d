"""Figures of judged images: brightness, and samples beside their nearest real neighbour."""

import numpy as np
from matplotlib.figure import Figure

from medimg.style.figures import styled
from medimg.style.words import shortened
from synthetic.judge.figures import REAL, SYNTHETIC, draw_shares, grid
from synthetic.judge.neighbours import nearest
from synthetic.judge.pictures import Pictures, grey
from synthetic.judge.rows import Subject
from synthetic.judge.vectors import Vectors

SAMPLES = 16


def brightness_figure(pictures: Pictures) -> Figure:
    """Histograms of pixels, of images' means and of their contrasts, real train against synthetic."""
    parts = {"real train": grey(pictures.train), "synthetic": grey(pictures.made)}
    colours = {"real train": REAL, "synthetic": SYNTHETIC}
    measures = (
        ("pixels", lambda images: images[:, ::2, ::2].ravel()),
        ("mean of an image", lambda images: images.mean(axis=(1, 2))),
        ("standard deviation of an image", lambda images: images.std(axis=(1, 2))),
    )
    with styled():
        figure, panels = grid(3, 3, (3.6, 3.0))
        for panel, (title, measure) in zip(panels, measures, strict=True):
            values = {name: measure(images) for name, images in parts.items()}
            top = max(float(sample.max()) for sample in values.values())
            for name, sample in values.items():
                draw_shares(panel, sample, np.linspace(0, max(top, 1.0), 41), colours[name], name)
            panel.set(xlabel=f"{title} (0 to 255)")
        panels[0].set_ylabel("share")
        panels[0].legend(fontsize=8)
    return figure


def samples_figure(subject: Subject, pictures: Pictures, vectors: Vectors, seed: int) -> Figure:
    """Random synthetic images, each with the training image nearest in the features on its right."""
    count = min(SAMPLES, len(pictures.made))
    drawn = np.random.default_rng([seed, 4]).choice(len(pictures.made), count, replace=False)
    distances, closest = nearest(vectors.made[drawn], vectors.train)
    labels = subject.made["label"].to_numpy(), subject.train["label"].to_numpy()
    with styled():
        figure, panels = grid(2 * count, 8, (1.5, 1.75))
        for place, (i, distance, j) in enumerate(zip(drawn, distances[:, 0], closest[:, 0], strict=True)):
            left, right = panels[2 * place], panels[2 * place + 1]
            _picture(left, pictures.made[i], shortened(labels[0][i], 14), SYNTHETIC)
            _picture(right, pictures.train[j], f"{shortened(labels[1][j], 14)}, {distance:.3g}", REAL)
    return figure


def _picture(panel, image: np.ndarray, title: str, colour: str) -> None:
    pixels = image[..., 0] if image.shape[2] == 1 else np.clip(image, 0, 255).astype(np.uint8)
    panel.imshow(pixels, cmap="gray", vmin=0, vmax=255)
    panel.set_title(title, fontsize=8, color=colour)
    panel.set_xticks([])
    panel.set_yticks([])
    panel.grid(False)
    for side in panel.spines.values():
        side.set(visible=True, color=colour, linewidth=1.5)
