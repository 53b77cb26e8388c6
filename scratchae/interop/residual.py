"""`nn.Residual` as a module of PyTorch, in a file of its own, since PyTorch is imported on first use only."""

from typing import Any

import torch


class Residual(torch.nn.Module):
    """x + net(x)."""

    def __init__(self, net: Any):
        super().__init__()
        self.net = net

    def forward(self, x: Any) -> Any:
        return x + self.net(x)
