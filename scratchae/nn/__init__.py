"""Layers, losses and initialisation, under PyTorch's names and with its defaults and weight layouts."""

from scratchae.images.layers import (
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    ConvTranspose2d,
    Dropout2d,
    MaxPool2d,
    Upsample,
)
from scratchae.nn import init
from scratchae.nn.linear import Flatten, Identity, Linear, Sequential, Unflatten
from scratchae.nn.losses import BCELoss, L1Loss, MSELoss
from scratchae.nn.module import Module, Parameter
from scratchae.nn.normalisation import BatchNorm1d, LayerNorm
from scratchae.nn.pointwise import ELU, GELU, Dropout, LeakyReLU, ReLU, Sigmoid, Softmax, Softplus, Tanh

__all__ = [
    "init", "Module", "Parameter", "Sequential", "Linear", "Flatten", "Unflatten", "Identity",
    "ReLU", "LeakyReLU", "ELU", "GELU", "Sigmoid", "Tanh", "Softplus", "Softmax",
    "Conv2d", "ConvTranspose2d", "MaxPool2d", "AvgPool2d", "Upsample",
    "Dropout", "Dropout2d", "LayerNorm", "BatchNorm1d", "BatchNorm2d",
    "MSELoss", "L1Loss", "BCELoss",
]  # fmt: skip


def __getattr__(name):  # type checkers read here that rooms add names, such as those of more/
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
