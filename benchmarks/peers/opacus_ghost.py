"""Opacus' ghost clipping on the architecture of baseline_cnn, in PyTorch, one line of a table.

Same sizes as benchmarks/dp_speed.py: 64 examples of 64 px, GroupNorm, Adam, clip 1, noise 1. Needs torch and opacus
(the extra `benchmarks` of setup.cfg, which script/setup leaves out) and nothing else, so in an environment of its own:

    python -m venv /tmp/opacus && /tmp/opacus/bin/pip install torch opacus
    /tmp/opacus/bin/python benchmarks/peers/opacus_ghost.py
"""

import statistics
import time
import warnings

import torch
from opacus import PrivacyEngine
from torch import nn

SIZE, BATCH, CLIP, NOISE, ROUNDS = 64, 64, 1.0, 1.0, 7
WIDTH, STAGES, CLASSES = 32, 4, 2
MOST_GROUPS, FEWEST_CHANNELS = 32, 4


def groups(channels: int) -> int:
    """As medimg.models.group_norm counts them."""
    fitting = (g for g in range(1, MOST_GROUPS + 1) if channels % g == 0)
    return max((g for g in fitting if channels // g >= FEWEST_CHANNELS), default=1)


def baseline_cnn() -> nn.Module:
    """Stages of two 3 x 3 convolutions with GroupNorm and ReLU."""
    layers, channels = [], 3
    for stage in range(STAGES):
        if stage:
            layers.append(nn.MaxPool2d(2))
        width = WIDTH * 2**stage
        for _ in range(2):
            layers += [
                nn.Conv2d(channels, width, 3, padding="same", bias=False),
                nn.GroupNorm(groups(width), width, eps=1e-3),
                nn.ReLU(),
            ]
            channels = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(channels, CLASSES))


def seconds(model, optimizer, criterion, x, y) -> float:
    """Median of the steps, after two to warm up."""
    times = []
    for number in range(ROUNDS + 2):
        started = time.perf_counter()
        optimizer.zero_grad()
        criterion(model(x), y).backward()
        optimizer.step()
        if number > 1:
            times.append(time.perf_counter() - started)
    return statistics.median(times)


def private(x, y):
    """Model, optimizer and loss of Opacus with ghost clipping."""
    model = baseline_cnn()
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=BATCH)
    model, optimizer, criterion, _ = PrivacyEngine().make_private(
        module=model,
        optimizer=torch.optim.Adam(model.parameters()),
        data_loader=loader,
        criterion=nn.CrossEntropyLoss(),
        noise_multiplier=NOISE,
        max_grad_norm=CLIP,
        poisson_sampling=False,
        grad_sample_mode="ghost",
    )
    return model, optimizer, criterion


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    torch.manual_seed(0)
    x, y = torch.rand(BATCH, 3, SIZE, SIZE), torch.randint(0, CLASSES, (BATCH,))
    plain = baseline_cnn()
    usual = seconds(plain, torch.optim.Adam(plain.parameters()), nn.CrossEntropyLoss(), x, y)
    ghost = seconds(*private(x, y), x, y)
    print("| model | torch non-private examples/s | Opacus ghost examples/s | over non-private |")
    print("|---|---|---|---|")
    print(f"| baseline_cnn | {BATCH / usual:.3g} | {BATCH / ghost:.3g} | {usual / ghost:.3g} |")
