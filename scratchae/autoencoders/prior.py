"""Deterministic autoencoders whose codes, taken together, are distributed like N(0, 1): what their kinds share."""

from typing import Any

import numpy as np

from scratchae import functional as F
from scratchae import nn
from scratchae.autoencoders.base import Autoencoder, Loss
from scratchae.checks import check_count, check_fits
from scratchae.random import generator


class NormalCodeAutoencoder(Autoencoder):
    """An autoencoder with codes (N, code_size) whose distribution a penalty pulls to N(0, 1)."""

    def __init__(
        self, encoder: nn.Module, decoder: nn.Module, loss: Loss = F.mse_loss, *, code_size: int, **others: Any
    ):
        super().__init__(encoder, decoder, loss, **others)
        self.code_size = check_count("code_size", code_size)

    @classmethod
    def default_code_activation(cls, activation: str | None, options: dict[str, Any]) -> str | None:
        """None: the codes are normally distributed."""
        return None

    @classmethod
    def dense_encoder(cls, sizes: list[int], hidden: list, code_activation: str | None) -> tuple[list, dict[str, Any]]:
        layers, told = super().dense_encoder(sizes, hidden, code_activation)
        return layers, {**told, "code_size": sizes[-1]}

    def penalties(self, x: Any, code: Any) -> dict[str, Any]:
        if code.shape[1:] != (self.code_size,):
            found = f"the encoder gives codes of shape {code.shape}; expected (N, {self.code_size})"
            raise ValueError(f"{type(self).__name__}: {found}, as code_size says")
        return super().penalties(x, code)

    def sample(self, n: int) -> np.ndarray:
        """`n` new inputs, decoded from codes drawn from N(0, 1)."""
        n = check_count("n", n)
        check_fits(f"n={n}: the codes", (n, self.code_size))
        codes = generator().standard_normal((n, self.code_size), dtype=np.float32)
        return self.inverse_transform(codes.astype(next(self.parameters()).dtype, copy=False))
