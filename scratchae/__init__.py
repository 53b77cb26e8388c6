"""scratchae: neural networks and autoencoders from scratch, on NumPy and CuPy."""

from scratchae.backend import gpu_available, manual_seed  # isort: skip  (first: it also tunes the allocator)
from scratchae import autoencoders, data, functional, nn, optim
from scratchae.autoencoders import Autoencoder
from scratchae.autograd import Tensor, grad, gradcheck, gradgradcheck, no_grad, primitive, tensor
from scratchae.data import DataLoader
from scratchae.training import Callback, History, Schedule, Trainer

__version__ = "0.1.0"

__all__ = [
    "Autoencoder", "Callback", "DataLoader", "History", "Schedule", "Tensor", "Trainer", "autoencoders", "data",
    "functional", "gpu_available", "grad", "gradcheck", "gradgradcheck", "manual_seed", "nn", "no_grad", "optim",
    "primitive", "tensor",
]  # fmt: skip
