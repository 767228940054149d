"""torchvision's ImageFolder and DataLoader with the operations of medimg's standard augmentation, one line of a table.

Flip, one affine resampling (rotation, zoom), contrast, Gaussian noise; batches of 32, two workers, as images and as
tensors (v2), of which the faster counts. Needs torch and torchvision and nothing else, so in an environment of its own:

    python -m venv /tmp/torchvision && /tmp/torchvision/bin/pip install torch torchvision
    /tmp/torchvision/bin/python benchmarks/peers/torchvision_augmentation.py FOLDER-OF-CLASS-FOLDERS
"""

import sys
import time

import torch

try:
    torch.ops.torchvision.nms  # noqa: B018  it is there
except AttributeError:
    # A wheel for CUDA beside torch for processors: its detection operators are missing, and are not used here.
    _LIBRARY = torch.library.Library("torchvision", "DEF")
    for _name in ("nms", "qnms"):
        _LIBRARY.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

from torchvision.datasets import ImageFolder
from torchvision.transforms import InterpolationMode, v2

BATCH, WORKERS, EPOCHS = 32, 2, 3


def noisy(image: torch.Tensor) -> torch.Tensor:
    """Gaussian noise of up to 5 grey levels."""
    return (image + torch.randn_like(image) * (torch.rand(()) * 5.0)).clamp(0.0, 255.0)


def changes() -> list:
    return [
        v2.RandomHorizontalFlip(),
        v2.RandomAffine(10, scale=(0.9, 1.1), interpolation=InterpolationMode.BILINEAR),
        v2.ColorJitter(contrast=0.2),
    ]


def as_float(image: torch.Tensor) -> torch.Tensor:
    return image.to(torch.float32)


WAYS = {
    "images": v2.Compose([*changes(), v2.PILToTensor(), as_float, noisy]),
    "tensors": v2.Compose([v2.PILToTensor(), *changes(), as_float, noisy]),
}


def rate(folder: str, way: str) -> float:
    """Images/s of the median epoch after the first."""
    data = ImageFolder(folder, WAYS[way])
    loader = torch.utils.data.DataLoader(
        data, batch_size=BATCH, shuffle=True, num_workers=WORKERS, persistent_workers=True
    )
    seconds = []
    for _ in range(EPOCHS + 1):
        started = time.perf_counter()
        for pixels, _ in loader:
            pixels.shape  # noqa: B018  the batch is there
        seconds.append(time.perf_counter() - started)
    return len(data) / sorted(seconds[1:])[EPOCHS // 2]


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(max(rate(sys.argv[1], way) for way in WAYS))
