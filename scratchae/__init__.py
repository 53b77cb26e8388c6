"""scratchae: neural networks and autoencoders from scratch, on NumPy and CuPy."""

from importlib import import_module

from scratchae import autoencoders, data, distributed, functional, measures, nn, optim
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
from scratchae.backend import gpu_available
from scratchae.backend import rooms as _rooms
from scratchae.builds import load_model
from scratchae.callbacks import Callback, EarlyStopping, Schedule
from scratchae.data import DataLoader
from scratchae.debug.anomaly import detect_anomaly
from scratchae.debug.config import show_config
from scratchae.debug.gradcheck import gradcheck, gradgradcheck
from scratchae.explorer import explore
from scratchae.fast.threads import get_num_threads, set_num_threads
from scratchae.files.checkpoint import load_checkpoint, save_checkpoint
from scratchae.files.history import SaveHistory
from scratchae.gpu.cublas import allow_tf32
from scratchae.history import History
from scratchae.interop.dlpack import from_dlpack
from scratchae.more.find_lr import LearningRates, find_lr
from scratchae.more.jacobians import hessian, jacobian
from scratchae.plotting.callbacks import LivePlot, Snapshots
from scratchae.random import generator, manual_seed
from scratchae.training import Trainer

for _room in ("more.attach", "debug.attach", "distributed.attach", "fast.attach", "files.attach", "guards",
              "interop.attach", "more.training", "plotting.attach", "progress", "interop.version_0_1"):  # fmt: skip
    import_module(f"scratchae.{_room}")
_rooms.append("scratchae.gpu.attach")  # imported with the first array on a GPU

__version__ = "0.2.0"

__all__ = [
    "Autoencoder", "Callback", "ContractiveAutoencoder", "ConvAutoencoder", "DataLoader", "DenoisingAutoencoder",
    "EarlyStopping", "History", "LearningRates", "LivePlot", "SaveHistory", "Schedule", "Snapshots",
    "SparseAutoencoder", "Tensor", "Trainer", "VariationalAutoencoder", "allow_tf32", "autoencoders", "data",
    "detect_anomaly", "distributed", "enable_grad", "explore", "find_lr", "from_dlpack", "functional", "generator",
    "get_num_threads", "gpu_available", "grad", "gradcheck", "gradgradcheck", "hessian", "is_grad_enabled",
    "jacobian", "load_checkpoint", "load_model", "manual_seed", "measures", "nn", "no_grad", "optim", "primitive",
    "save_checkpoint", "set_num_threads", "show_config", "tensor",
]  # fmt: skip
