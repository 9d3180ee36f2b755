"""Residual networks for 8×8 digits, and the same networks without their shortcuts.

Those of He et al. 2015 (arXiv:1512.03385, section 4.2) at half their width; shortcuts are the parameter-free option A.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lrscape.cli.digits import digits

STEPS, BATCH, PEAK = 600, 64, 0.05


class Block(nn.Module):
    """Two convolutions, and a shortcut around them or none."""

    def __init__(self, before: int, after: int, stride: int, shortcut: bool) -> None:
        super().__init__()
        self.first = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.first_norm = nn.BatchNorm2d(after)
        self.second = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.second_norm = nn.BatchNorm2d(after)
        self.stride, self.added, self.shortcut = stride, after - before, shortcut

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block to x of shape (batch, channels, height, width)."""
        y = self.second_norm(self.second(F.relu(self.first_norm(self.first(x)))))
        if self.shortcut:
            y = y + F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.added))
        return F.relu(y)


def network(depth: int, shortcut: bool) -> nn.Sequential:
    """Make a network of 6n + 2 layers with 8, 16 and 32 channels."""
    layers: list[nn.Module] = [nn.Conv2d(1, 8, 3, 1, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU()]
    before = 8
    for width in (8, 16, 32):
        for number in range((depth - 2) // 6):
            stride = 2 if number == 0 and width > 8 else 1
            layers.append(Block(before, width, stride, shortcut))
            before = width
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10))
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return model


def train(depth: int, shortcut: bool, seed: int) -> nn.Sequential:
    """Train on the digits by SGD with momentum, weight decay and a cosine; both kinds get the same batches."""
    data = digits()
    torch.manual_seed(seed)
    model = network(depth, shortcut)
    optimizer = torch.optim.SGD(model.parameters(), PEAK, momentum=0.9, nesterov=True, weight_decay=5e-4)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    stream = torch.Generator().manual_seed(seed)
    for _ in range(STEPS):
        chosen = torch.randint(len(data.y), (BATCH,), generator=stream)
        loss = F.cross_entropy(model(data.x[chosen]), data.y[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
    return model.eval()
