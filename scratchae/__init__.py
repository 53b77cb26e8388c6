"""scratchae: neural networks and autoencoders from scratch, on NumPy and CuPy."""

import scratchae.debug.attach
import scratchae.distributed.attach
import scratchae.fast.attach
import scratchae.files.attach
import scratchae.interop.attach  # noqa: F401
from scratchae import autoencoders, data, distributed, functional, nn, optim
from scratchae.autoencoders import (
    Autoencoder,
    ContractiveAutoencoder,
    ConvAutoencoder,
    DenoisingAutoencoder,
    SparseAutoencoder,
    VariationalAutoencoder,
)
from scratchae.autograd import (
    Tensor,
    enable_grad,
    grad,
    is_grad_enabled,
    no_grad,
    primitive,
    tensor,
)
from scratchae.backend import gpu_available, rooms
from scratchae.callbacks import Callback, EarlyStopping, LivePlot, SaveHistory, Schedule, Snapshots
from scratchae.data import DataLoader
from scratchae.debug.anomaly import detect_anomaly
from scratchae.debug.gradcheck import gradcheck, gradgradcheck
from scratchae.files.checkpoint import load_checkpoint, save_checkpoint
from scratchae.gpu.cublas import allow_tf32
from scratchae.history import History
from scratchae.random import generator, manual_seed
from scratchae.training import Trainer

rooms.append("scratchae.gpu.attach")  # imported with the first array on a GPU

__version__ = "0.1.0"

__all__ = [
    "Autoencoder", "Callback", "ContractiveAutoencoder", "ConvAutoencoder", "DataLoader", "DenoisingAutoencoder",
    "EarlyStopping", "History", "LivePlot", "SaveHistory", "Schedule", "Snapshots", "SparseAutoencoder", "Tensor",
    "Trainer", "VariationalAutoencoder", "allow_tf32", "autoencoders", "data", "detect_anomaly", "distributed",
    "enable_grad", "functional", "generator", "gpu_available", "grad", "gradcheck", "gradgradcheck",
    "is_grad_enabled", "load_checkpoint", "manual_seed", "nn", "no_grad", "optim", "primitive", "save_checkpoint",
    "tensor",
]  # fmt: skip
